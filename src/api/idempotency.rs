//! `Idempotency-Key`: a creating request that is sent again gets its first answer again, and creates nothing.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::error::ApiError;
use super::whole::whole;
use crate::domain::problem::{Kind, Problem};
use crate::domain::tenant::TenantId;
use crate::store::{Keep, Reply, Store, StoredAnswer};

pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Told to clients that get an answer a second time.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The request's key, if it has one, and what but the body tells the request from others.
#[derive(Debug)]
pub(super) struct Idempotency {
    key: Option<String>,
    request_line: String,
}

impl<S: Sync> FromRequestParts<S> for Idempotency {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut keys = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let key = keys.next().map(read_key).transpose()?;
        if keys.next().is_some() {
            return Err(ApiError::new(
                Kind::MalformedRequest,
                "Send one Idempotency-Key, not several.",
            ));
        }
        Ok(Self {
            key,
            request_line: format!("{} {}", parts.method, parts.uri),
        })
    }
}

/// The header in the document of every creating operation.
impl IntoParams for Idempotency {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "A text of your own making, best a new UUID for each new request. When the request is sent again \
                           with it within 24 hours, its first answer comes again and nothing is created; while the first is \
                           still under way, the answer is 409, and for another request with the same key 422.";
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(255));
        let header = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .description(Some(description))
            .schema(Some(key));
        vec![header.build()]
    }
}

fn read_key(value: &HeaderValue) -> Result<String, ApiError> {
    let text = value.to_str().ok().map(|text| text.trim_matches('"'));
    let key = text.filter(|text| (1..=255).contains(&text.len()));
    key.map(str::to_owned).ok_or_else(|| {
        let detail =
            "An Idempotency-Key has from 1 to 255 printable ASCII characters; a new UUID for each new request is best.";
        ApiError::new(Kind::MalformedRequest, detail)
    })
}

impl Idempotency {
    /// The answer about the thing that `make` makes, or, when the key came before with the same request, the answer it got
    /// then.
    ///
    /// `body` stands for the request's body: equal for equal bodies, different for different ones. `make` has the answer
    /// kept in the transaction that makes the thing; after a refusal the key is free, for the request as it should have
    /// been. What was begun is finished even when the client hangs up meanwhile: it will ask again.
    pub(super) async fn once<T, F>(
        self,
        store: &Store,
        tenant: &TenantId,
        body: &str,
        answer: fn(&T) -> StoredAnswer,
        make: impl FnOnce(Option<Keep<T>>) -> F,
    ) -> Result<Response, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let mut keep = None;
        if let Some(key) = self.key {
            let fingerprint = fingerprint(&self.request_line, body);
            match store.reserve_key(tenant, &key, &fingerprint).await? {
                Reply::Fresh(reservation) => keep = Some(reservation.keep(answer)),
                Reply::Replay(answer) => return replayed(answer),
                Reply::InFlight => return Ok(in_flight()),
                Reply::Mismatch => {
                    let detail = "This Idempotency-Key was used for another request; a new request needs a new key.";
                    return Err(ApiError::new(Kind::IdempotencyMismatch, detail));
                }
            }
        }
        let made = whole(make(keep)).await?;
        response(answer(&made))
    }
}

fn in_flight() -> Response {
    let detail = "The first request with this Idempotency-Key is still under way; ask again in a moment.";
    ([(RETRY_AFTER, "1")], ApiError::new(Kind::Conflict, detail)).into_response()
}

/// The answer about a new thing and its place.
pub(super) fn created(status: StatusCode, location: String, thing: &impl Serialize) -> StoredAnswer {
    StoredAnswer {
        status: status.as_u16(),
        headers: vec![
            (CONTENT_TYPE.to_string(), "application/json".to_owned()),
            (LOCATION.to_string(), location),
        ],
        body: serde_json::to_vec(thing).expect("the server's own nouns are JSON"),
    }
}

fn fingerprint(request_line: &str, body: &str) -> String {
    let digest = Sha256::new()
        .chain_update(request_line)
        .chain_update([0])
        .chain_update(body)
        .finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn response(answer: StoredAnswer) -> Result<Response, ApiError> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(Problem::internal)?;
    for (name, value) in answer.headers {
        let name = HeaderName::try_from(name).map_err(Problem::internal)?;
        let value = HeaderValue::try_from(value).map_err(Problem::internal)?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

fn replayed(answer: StoredAnswer) -> Result<Response, ApiError> {
    let mut response = response(answer)?;
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[test]
    fn a_key_is_printable_and_short() {
        assert_eq!(read_key(&HeaderValue::from_static("\"abc\"")).unwrap(), "abc");
        for wrong in ["", "\"\"", &"x".repeat(256), "품종"] {
            assert!(
                read_key(&HeaderValue::from_bytes(wrong.as_bytes()).unwrap()).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_fingerprint_tells_path_from_body() {
        assert_eq!(fingerprint("POST /a", "b"), fingerprint("POST /a", "b"));
        assert_ne!(fingerprint("POST /a", "b"), fingerprint("POST /", "ab"));
    }

    #[tokio::test]
    async fn an_answer_is_a_document_with_its_place() {
        let answer = created(StatusCode::CREATED, "/v1/jobs/1".to_owned(), &[1, 2]);
        let again = replayed(answer.clone()).unwrap();
        assert_eq!(again.headers()[&REPLAYED], "true");
        let first = response(answer).unwrap();
        assert_eq!(
            (first.status(), first.headers().get(&REPLAYED)),
            (StatusCode::CREATED, None)
        );
        assert_eq!(first.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(first.headers()[LOCATION], "/v1/jobs/1");
        assert_eq!(to_bytes(first.into_body(), 100).await.unwrap(), "[1,2]");
    }
}
