//! Holds every request against the document before its handler sees it: the `accept` header can be met, and an operation
//! that takes no query is sent none.

use std::collections::BTreeSet;

use axum::extract::Request;
use http::{HeaderMap, header};
use serde_json::Value;

use super::error::ApiError;
use super::extract::QueryReader;
use super::operations::Operations;
use crate::domain::problem::Kind;

/// What the document says of each operation, by method and path.
pub(super) struct Contract(Operations<Terms>);

struct Terms {
    takes_query: bool,
    /// The media types of its answers; none where a success has no body. Those of refusals count: generated clients ask
    /// for the JSON in the list, whatever it is there for.
    answers: BTreeSet<String>,
}

impl Contract {
    pub(super) fn of(document: &Value) -> Self {
        Self(Operations::of(document, Terms::of))
    }

    pub(super) fn check(&self, request: &Request) -> Result<(), ApiError> {
        let Some(terms) = self.0.find(request) else {
            return Ok(());
        };
        if !terms.takes_query {
            QueryReader::new(request.uri().query().unwrap_or_default(), &[]).finish()?;
        }
        let met = |answer: &String| accepts(request.headers(), answer);
        if !terms.answers.is_empty() && !terms.answers.iter().any(met) {
            let answers = Vec::from_iter(terms.answers.iter().map(String::as_str)).join(" or ");
            let detail = format!("This call answers with {answers}; the accept header must allow it.");
            return Err(ApiError::new(Kind::NotAcceptable, detail));
        }
        Ok(())
    }
}

impl Terms {
    fn of(operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let types = |beginning| {
            let responses = operation["responses"].as_object().into_iter().flatten();
            let responses = responses.filter(move |(status, _)| status.starts_with(beginning));
            let contents = responses.filter_map(|(_, response)| response["content"].as_object());
            contents
                .flat_map(|content| content.keys().cloned())
                .collect::<BTreeSet<String>>()
        };
        let mut answers = types(['2', '2']);
        if !answers.is_empty() {
            answers.append(&mut types(['4', '5']));
        }
        Self {
            takes_query: parameters.into_iter().any(|parameter| parameter["in"] == "query"),
            answers,
        }
    }
}

/// Whether the client takes a media type: the most specific range that matches it decides (RFC 9110, 12.5.1). A header
/// that can't be read allows everything.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut best: Option<(usize, bool)> = None;
    let mut ranges = 0;
    for value in headers.get_all(header::ACCEPT) {
        let Ok(text) = value.to_str() else { return true };
        for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            ranges += 1;
            let (range, parameters) = range.split_once(';').unwrap_or((range, ""));
            let Some(specificity) = specificity(range.trim(), media_type) else {
                continue;
            };
            let wanted = !parameters.split(';').any(is_zero_quality);
            if best.is_none_or(|(known, _)| specificity >= known) {
                best = Some((specificity, wanted));
            }
        }
    }
    match best {
        Some((_, wanted)) => wanted,
        None => ranges == 0,
    }
}

/// How closely a range names a media type: `*/*`, `type/*`, `type/subtype`; `None` when it doesn't.
fn specificity(range: &str, media_type: &str) -> Option<usize> {
    let prefix = media_type.split_once('/').map_or(media_type, |(kind, _)| kind);
    match range.to_ascii_lowercase().split_once('/') {
        Some(("*", "*")) => Some(0),
        Some((kind, "*")) if kind == prefix => Some(1),
        Some((kind, subtype)) if format!("{kind}/{subtype}") == media_type => Some(2),
        _ => None,
    }
}

fn is_zero_quality(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::{Next, from_fn};
    use axum::response::IntoResponse;
    use axum::routing::get;
    use http::{HeaderValue, Method};
    use serde_json::json;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn what_the_document_does_not_allow_is_refused_before_the_handler() {
        let problem = json!({"content": {"application/problem+json": {}}});
        let answers = json!({"200": {"content": {"text/csv": {}}}, "4XX": problem});
        let document = json!({"paths": {
            "/plain/{id}": {"get": {"responses": answers}},
            "/empty": {"get": {"responses": {"204": {}, "4XX": problem}}},
            "/query": {"get": {"responses": answers, "parameters": [{"name": "limit", "in": "query"}]}},
        }});
        let contract = Arc::new(Contract::of(&document));
        let routes = Router::new()
            .route("/plain/{id}", get(async || ""))
            .route("/query", get(async || ""));
        let router = routes
            .route("/empty", get(async || ""))
            .route("/other", get(async || ""))
            .layer(from_fn(move |request: Request, next: Next| {
                let held = contract.check(&request);
                async {
                    match held {
                        Ok(()) => next.run(request).await,
                        Err(error) => error.into_response(),
                    }
                }
            }));
        let status = async |method: Method, path: &str, accept: &str| {
            let request = Request::builder().method(method).uri(path).header("accept", accept);
            let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await;
            response.unwrap().status().as_u16()
        };
        assert_eq!(status(Method::GET, "/plain/1", "text/*").await, 200);
        assert_eq!(status(Method::GET, "/plain/1?", "text/csv").await, 200);
        assert_eq!(status(Method::GET, "/plain/1?limit=1", "text/csv").await, 400);
        assert_eq!(status(Method::GET, "/plain/1?%zz", "text/csv").await, 400);
        assert_eq!(status(Method::GET, "/query?limit=1", "text/csv").await, 200);
        assert_eq!(status(Method::GET, "/plain/1", "application/problem+json").await, 200);
        assert_eq!(status(Method::GET, "/empty", "application/json").await, 200);
        assert_eq!(status(Method::GET, "/plain/1", "application/json").await, 406);
        assert_eq!(status(Method::HEAD, "/plain/1", "application/json").await, 406);
        assert_eq!(status(Method::GET, "/other?limit=1", "application/json").await, 200);
    }

    #[test]
    fn the_most_specific_range_decides_what_is_accepted() {
        let accepted = |accept: &'static str, media_type: &str| {
            accepts(
                &HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]),
                media_type,
            )
        };
        for accept in [
            "application/json",
            "*/*",
            "application/*",
            "text/html, application/JSON;q=0.5",
            "text/html,*/*;q=0.1",
            "",
        ] {
            assert!(accepted(accept, "application/json"), "{accept}");
        }
        for accept in [
            "text/html",
            "image/*",
            "application/json;q=0, */*",
            "*/*;q=0",
            "application/problem+json",
            "json",
        ] {
            assert!(!accepted(accept, "application/json"), "{accept}");
        }
        assert!(accepts(&HeaderMap::new(), "application/json"));
    }
}
