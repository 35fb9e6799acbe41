//! The one way from a [`Problem`] to an answer: `application/problem+json` (RFC 9457).
//!
//! Handlers and extractors return [`ApiError`]; [`crate::api::request`] renders it, because only there the id of the
//! request is known. What a problem's `source` says goes to the log and never to the client.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::problem::{Kind, Problem};

/// A problem on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError(Problem);

impl ApiError {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Problem::new(kind, detail))
    }
}

impl<E: Into<Problem>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = status(self.0.kind).into_response();
        response.extensions_mut().insert(Arc::new(self.0));
        response
    }
}

/// An error answer (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDetails<'a> {
    /// What kind of problem this is; stable, so that programs can tell problems apart by it.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/problems/invalid-spec")]
    kind: String,
    #[schema(example = "Invalid specification")]
    title: &'static str,
    /// The HTTP status, repeated.
    #[schema(minimum = 400, maximum = 599, example = 422)]
    status: u16,
    /// One sentence that says what to change.
    detail: &'a str,
    /// The `x-request-id` of this answer; the server's log has the same.
    request_id: &'a str,
    /// Every fault that was found, each with its place.
    errors: Vec<ProblemFault<'a>>,
}

/// One fault of a request. A fault of a JSON document has a pointer, one of a table or of JSON syntax a line and a column.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProblemFault)]
struct ProblemFault<'a> {
    /// JSON pointer (RFC 6901) into the request body; for a query parameter its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/model/layers/1/units")]
    pointer: Option<&'a str>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    line: Option<u64>,
    /// From 1: the field of a table's row, the character of a JSON document's line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    column: Option<u64>,
    /// What was wrong there and what to send instead.
    detail: &'a str,
}

/// Writes the answer to `problem`; at most `listed_faults` of its faults are listed.
pub(crate) fn render(problem: &Problem, request_id: &str, listed_faults: usize) -> Response {
    let status = status(problem.kind);
    let mut detail = problem.detail.clone();
    if problem.faults.len() > listed_faults {
        detail.push_str(&format!(
            " (The first {listed_faults} of {} are listed.)",
            problem.faults.len()
        ));
    }
    let place = problem.place.map(|place| ProblemFault {
        pointer: None,
        line: Some(place.line),
        column: Some(place.column),
        detail: &problem.detail,
    });
    let faults = problem.faults.iter().take(listed_faults).map(|fault| ProblemFault {
        pointer: Some(&fault.pointer),
        line: None,
        column: None,
        detail: &fault.detail,
    });
    let details = ProblemDetails {
        kind: format!("/problems/{}", slug(problem.kind)),
        title: title(problem.kind),
        status: status.as_u16(),
        detail: &detail,
        request_id,
        errors: place.into_iter().chain(faults).collect(),
    };
    let body = serde_json::to_vec(&details).expect("strings and integers are always JSON");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = retry_after(problem.kind) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if problem.kind == Kind::Unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The kebab-case name in the type URI, the title and the status of each kind.
const fn row(kind: Kind) -> (&'static str, &'static str, StatusCode) {
    use StatusCode as S;
    match kind {
        Kind::MalformedJson => ("malformed-json", "Malformed JSON", S::BAD_REQUEST),
        Kind::MalformedRequest => ("malformed-request", "Malformed request", S::BAD_REQUEST),
        Kind::Unauthorized => ("unauthorized", "Unauthorized", S::UNAUTHORIZED),
        Kind::Forbidden => ("forbidden", "Forbidden", S::FORBIDDEN),
        Kind::NotFound => ("not-found", "Not found", S::NOT_FOUND),
        Kind::MethodNotAllowed => ("method-not-allowed", "Method not allowed", S::METHOD_NOT_ALLOWED),
        Kind::NotAcceptable => ("not-acceptable", "Not acceptable", S::NOT_ACCEPTABLE),
        Kind::RequestTimeout => ("request-timeout", "Request timeout", S::REQUEST_TIMEOUT),
        Kind::Conflict => ("conflict", "Conflict", S::CONFLICT),
        Kind::BodyTooLarge => ("body-too-large", "Body too large", S::PAYLOAD_TOO_LARGE),
        Kind::UriTooLong => ("uri-too-long", "URI too long", S::URI_TOO_LONG),
        Kind::HeadersTooLarge => (
            "headers-too-large",
            "Headers too large",
            S::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ),
        Kind::UnsupportedMediaType => (
            "unsupported-media-type",
            "Unsupported media type",
            S::UNSUPPORTED_MEDIA_TYPE,
        ),
        Kind::Misdirected => ("misdirected", "Misdirected request", S::MISDIRECTED_REQUEST),
        Kind::InvalidDataset => ("invalid-dataset", "Invalid dataset", S::UNPROCESSABLE_ENTITY),
        Kind::InvalidSpec => ("invalid-spec", "Invalid specification", S::UNPROCESSABLE_ENTITY),
        Kind::InvalidFeatures => ("invalid-features", "Invalid features", S::UNPROCESSABLE_ENTITY),
        Kind::JobTooLarge => ("job-too-large", "Job too large", S::UNPROCESSABLE_ENTITY),
        Kind::IdempotencyMismatch => ("idempotency-mismatch", "Idempotency mismatch", S::UNPROCESSABLE_ENTITY),
        Kind::TooManyRequests => ("too-many-requests", "Too many requests", S::TOO_MANY_REQUESTS),
        Kind::Internal => ("internal", "Internal error", S::INTERNAL_SERVER_ERROR),
        Kind::Unavailable => ("unavailable", "Unavailable", S::SERVICE_UNAVAILABLE),
        Kind::InsufficientStorage => ("insufficient-storage", "Insufficient storage", S::INSUFFICIENT_STORAGE),
    }
}

pub(crate) const fn slug(kind: Kind) -> &'static str {
    row(kind).0
}

const fn title(kind: Kind) -> &'static str {
    row(kind).1
}

pub(crate) const fn status(kind: Kind) -> StatusCode {
    row(kind).2
}

/// Seconds after which the same request may succeed.
const fn retry_after(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::TooManyRequests => Some("1"),
        Kind::Unavailable => Some("5"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::problem::Place;
    use crate::nn::spec::Fault;

    async fn rendered(problem: &Problem) -> (Response, Value) {
        let (parts, body) = render(problem, "r-1", 2).into_parts();
        let body = serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap();
        (Response::from_parts(parts, Body::empty()), body)
    }

    #[tokio::test]
    async fn a_problem_lists_its_faults_up_to_the_limit_and_counts_the_rest() {
        let faults = (0..3)
            .map(|i| Fault::new(format!("/x/{i}"), "must be a number"))
            .collect();
        let (response, body) = rendered(&Problem::faults(Kind::InvalidSpec, "The job", faults)).await;
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body,
            json!({
                "type": "/problems/invalid-spec", "title": "Invalid specification", "status": 422,
                "detail": "The job: 3 faults, listed in errors. (The first 2 of 3 are listed.)", "request_id": "r-1",
                "errors": [{"pointer": "/x/0", "detail": "must be a number"}, {"pointer": "/x/1", "detail": "must be a number"}],
            })
        );
    }

    #[tokio::test]
    async fn a_fault_of_a_table_carries_line_and_column() {
        let mut problem = Problem::new(Kind::InvalidDataset, "The row has 3 fields, the header 4.");
        problem.place = Some(Place { line: 7, column: 3 });
        let (_, body) = rendered(&problem).await;
        let fault = json!({"line": 7, "column": 3, "detail": "The row has 3 fields, the header 4."});
        assert_eq!(body["errors"], json!([fault]));
    }

    #[tokio::test]
    async fn what_failed_inside_stays_inside() {
        let (response, body) = rendered(&Problem::internal("no such table: jobs")).await;
        assert_eq!(response.status(), 500);
        assert!(!body.to_string().contains("jobs"));
    }

    #[tokio::test]
    async fn refusals_for_lack_of_room_say_when_to_come_back() {
        for kind in [Kind::TooManyRequests, Kind::Unavailable] {
            let (response, _) = rendered(&Problem::new(kind, "Full.")).await;
            assert!(response.headers().contains_key(RETRY_AFTER), "{kind:?}");
        }
    }
}
