//! What kind of table a body is, as its headers say it.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use crate::api::error::ApiError;
use crate::data::source::Format;
use crate::domain::problem::Kind;

/// What the headers tell; where they tell nothing, the content decides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct TableType {
    pub(in crate::api) format: Option<Format>,
    pub(in crate::api) encoding: Option<String>,
}

const SUPPORTED: &str =
    "text/csv, application/jsonl, application/x-ndjson, or application/octet-stream to have it found out";

/// Reads a content type; a type that is no table's is refused.
pub(in crate::api) fn table_type(headers: &HeaderMap) -> Result<TableType, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(TableType::default());
    };
    parse(value).ok_or_else(|| {
        let detail = format!("A table is sent with the content-type {SUPPORTED}, not {value:?}.");
        ApiError::new(Kind::UnsupportedMediaType, detail)
    })
}

fn parse(value: &HeaderValue) -> Option<TableType> {
    let mut parts = value.to_str().ok()?.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "text/csv" | "application/csv" | "text/tab-separated-values" => Some(Format::Csv),
        "application/jsonl" | "application/x-jsonlines" | "application/x-ndjson" | "application/ndjson" => {
            Some(Format::JsonLines)
        }
        "application/octet-stream" => None,
        _ => return None,
    };
    let charset = |part: &str| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("charset")
            .then(|| value.trim_matches('"').to_owned())
    };
    Some(TableType {
        format,
        encoding: parts.find_map(charset),
    })
}

/// Whether the body is packed with gzip; any other packing is refused.
pub(in crate::api) fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiError> {
    let Some(value) = headers.get(CONTENT_ENCODING) else {
        return Ok(false);
    };
    match value.to_str().unwrap_or_default().to_ascii_lowercase().as_str() {
        "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        _ => {
            let detail = format!("The content-encoding of a table is gzip or none, not {value:?}.");
            Err(ApiError::new(Kind::UnsupportedMediaType, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn types_of_tables_are_told_apart_and_others_refused() {
        let read = |value| table_type(&headers(CONTENT_TYPE, value)).ok();
        let table = |format, encoding: Option<&str>| {
            Some(TableType {
                format,
                encoding: encoding.map(str::to_owned),
            })
        };
        assert_eq!(read("text/csv"), table(Some(Format::Csv), None));
        assert_eq!(
            read("Text/CSV; header=present; charset=\"euc-kr\""),
            table(Some(Format::Csv), Some("euc-kr"))
        );
        assert_eq!(read("application/x-ndjson"), table(Some(Format::JsonLines), None));
        assert_eq!(read("application/octet-stream"), table(None, None));
        assert_eq!(table_type(&HeaderMap::new()).ok(), table(None, None));
        for other in [
            "text/plain",
            "application/json",
            "application/zip",
            "application/x-www-form-urlencoded",
            "csv",
            "",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn gzip_is_the_only_packing() {
        let gzip = |value| is_gzip(&headers(CONTENT_ENCODING, value)).ok();
        assert_eq!(
            ["gzip", "GZIP", "identity"].map(gzip),
            [Some(true), Some(true), Some(false)]
        );
        assert_eq!(["zstd", "gzip, gzip", ""].map(gzip), [None; 3]);
    }
}
