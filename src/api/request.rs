//! What surrounds every request: its id, its line in the log, the limits of its head, and the headers of its answer.

use std::any::Any;
use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Version};
use tracing::Instrument;
use uuid::Uuid;

use super::error::{ApiError, render, slug};
use super::limits::Limits;
use super::metrics::Metrics;
use super::pace::paced;
use super::remainder::Remainder;
use crate::domain::problem::{Kind, Problem};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What the surroundings of requests have in common.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Has `run` answer a request and finishes the answer. Problems are rendered here, whoever raised them.
pub(crate) async fn surround<F: Future<Output = Response>>(
    around: &Surroundings,
    request: Request,
    run: impl FnOnce(Request) -> F,
) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let key = tracing::field::Empty;
    let span = tracing::info_span!("request", request_id = %id, %method, route, key);
    finish(around, request, run, &id, (&method, route))
        .instrument(span)
        .await
}

async fn finish<F: Future<Output = Response>>(
    around: &Surroundings,
    request: Request,
    run: impl FnOnce(Request) -> F,
    id: &str,
    (method, route): (&Method, &str),
) -> Response {
    let Surroundings { limits, metrics } = around;
    let started = Instant::now();
    let framing = Framing::of(request.headers());
    let remainder = Remainder::default();
    let request = request.map(|body| remainder.lend(paced(body, limits)));
    let mut response = match check_head(&request, limits) {
        Ok(()) => AssertUnwindSafe(run(request))
            .catch_unwind()
            .await
            .unwrap_or_else(panicked),
        Err(error) => {
            drop(request);
            error.into_response()
        }
    };
    let is_settled = remainder.settle(!framing.awaits_leave).await;
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        log(&problem);
        let rendered = render(&problem, id, limits.listed_faults);
        let mut headers = std::mem::take(response.headers_mut());
        headers.extend(rendered.headers().clone());
        response = rendered;
        *response.headers_mut() = headers;
    }
    if !is_settled || framing.is_ambiguous {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    finish_headers(response.headers_mut(), id);
    let (status, latency) = (response.status().as_u16(), started.elapsed());
    metrics.note(route, method, status, latency);
    tracing::info!(status, latency_ms = latency.as_millis() as u64, "answered");
    response
}

/// What the head says of how the body comes.
struct Framing {
    /// The client sends nothing before it is told to.
    awaits_leave: bool,
    /// Something between client and server may have seen the body end elsewhere: hyper hides the length that a body in
    /// chunks came with, so that any may have had one (RFC 9112, 6.1).
    is_ambiguous: bool,
}

impl Framing {
    fn of(headers: &HeaderMap) -> Self {
        Self {
            awaits_leave: headers.contains_key(header::EXPECT),
            is_ambiguous: headers.contains_key(header::TRANSFER_ENCODING),
        }
    }
}

/// The client's own id where it is one that can stand in a log, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let given = headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let given = given.filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(fits));
    given.map_or_else(new_id, str::to_owned)
}

/// Random digits of this process, then a count: asking the kernel for random bits at every request takes longer than a
/// small prediction.
fn new_id() -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| Uuid::now_v7().as_u64_pair().1);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}{:016x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
}

fn check_head(request: &Request, limits: &Limits) -> Result<(), ApiError> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if request.version() == Version::HTTP_11 && hosts != 1 {
        return Err(ApiError::new(
            Kind::MalformedRequest,
            "An HTTP/1.1 request has one host header.",
        ));
    }
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, str::len) > limits.uri_bytes {
        let detail = format!("Path and query are longer than {} bytes together.", limits.uri_bytes);
        return Err(ApiError::new(Kind::UriTooLong, detail));
    }
    let header_bytes: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if header_bytes > limits.header_bytes {
        let detail = format!("The headers are longer than {} bytes together.", limits.header_bytes);
        return Err(ApiError::new(Kind::HeadersTooLarge, detail));
    }
    Ok(())
}

/// Logs what the client isn't told. Debug formatting escapes control characters.
fn log(problem: &Problem) {
    match &problem.source {
        Some(source) => tracing::error!(problem = slug(problem.kind), source = ?chain(source.as_ref()), "failed"),
        None => tracing::debug!(problem = slug(problem.kind), detail = ?problem.detail, "refused"),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The id, and what keeps a browser from doing anything with an answer but reading it.
fn finish_headers(headers: &mut HeaderMap, id: &str) {
    let id = HeaderValue::from_str(id).expect("an id is made of letters, digits and -_.");
    headers.reserve(6);
    headers.insert(&X_REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(&RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    let default = |headers: &mut HeaderMap, name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(
        headers,
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    );
    default(headers, header::CACHE_CONTROL, "no-store");
}

/// Answers whatever comes on a connection beyond those that the server takes.
pub(crate) async fn no_connection_left() -> Response {
    let refusal = ApiError::new(
        Kind::Unavailable,
        "As many connections are open as the server takes; send the request again when Retry-After is over.",
    );
    ([(header::CONNECTION, "close")], refusal).into_response()
}

pub(crate) async fn no_such_route() -> ApiError {
    nothing_here()
}

pub(crate) fn nothing_here() -> ApiError {
    ApiError::new(
        Kind::NotFound,
        "There is nothing at this path; /docs lists what there is.",
    )
}

/// axum adds the `allow` header.
pub(crate) async fn no_such_method() -> ApiError {
    ApiError::new(
        Kind::MethodNotAllowed,
        "This path doesn't take that method; the allow header names those it takes.",
    )
}

/// The answer to a request whose handler panicked; the panic hook has already written where it was.
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    let message = message.unwrap_or_else(|| "a panic without a message".to_owned());
    ApiError::from(Problem::internal(message)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware::{Next, from_fn};
    use axum::routing::{get, post};
    use http::StatusCode;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::api::extract::{BodyLimits, Json, JsonBodies};

    async fn echo(Json(value, _): Json) -> String {
        value.to_string()
    }

    async fn panic() {
        panic!("the database password is 1234")
    }

    fn router() -> Router {
        let limits = Arc::new(Limits {
            uri_bytes: 64,
            ..Limits::default()
        });
        let bodies = JsonBodies(BodyLimits::new(16, 1024));
        let around = Surroundings {
            limits,
            metrics: Arc::default(),
        };
        Router::new()
            .route("/echo", post(echo))
            .route("/panic", get(panic))
            .fallback(no_such_route)
            .method_not_allowed_fallback(no_such_method)
            .with_state(bodies)
            .layer(from_fn(move |request: Request, next: Next| {
                let around = around.clone();
                async move { surround(&around, request, |request| next.run(request)).await }
            }))
    }

    async fn send(request: http::request::Builder, body: impl Into<Body>) -> (StatusCode, HeaderMap, Value) {
        let request = request.header("host", "localhost").body(body.into()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (
            parts.status,
            parts.headers,
            serde_json::from_slice(&body).unwrap_or_default(),
        )
    }

    #[tokio::test]
    async fn every_answer_carries_the_clients_id_or_a_new_one() {
        let (_, headers, body) = send(Request::get("/nowhere").header("x-request-id", "abc-1"), "").await;
        assert_eq!(
            (&headers["x-request-id"], &body["request_id"]),
            (&HeaderValue::from_static("abc-1"), &"abc-1".into())
        );
        for wrong in ["", "a b", "a\tb", "\"", &"x".repeat(65)] {
            let (_, headers, _) = send(Request::get("/nowhere").header("x-request-id", wrong), "").await;
            assert_eq!(headers["x-request-id"].len(), 32, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn what_the_framework_refuses_is_problem_json_too() {
        let cases = [
            (Request::get("/nowhere"), 404, "/problems/not-found"),
            (Request::delete("/echo"), 405, "/problems/method-not-allowed"),
            (
                Request::get(format!("/{}", "x".repeat(64))),
                414,
                "/problems/uri-too-long",
            ),
            (
                Request::get("/echo").header("x", "y".repeat(40_000)),
                431,
                "/problems/headers-too-large",
            ),
            (Request::get("/panic"), 500, "/problems/internal"),
            (
                Request::get("/panic").header("host", "second"),
                400,
                "/problems/malformed-request",
            ),
        ];
        for (request, status, kind) in cases {
            let (got, headers, body) = send(request, "").await;
            assert_eq!((got.as_u16(), body["type"].as_str()), (status, Some(kind)));
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert!(!body.to_string().contains("1234"), "{body}");
        }
    }

    #[tokio::test]
    async fn a_refused_method_is_told_which_ones_there_are() {
        let (_, headers, _) = send(Request::delete("/echo"), "").await;
        assert_eq!(headers["allow"], "POST");
    }

    #[tokio::test]
    async fn a_json_body_must_be_declared_small_and_well_formed() {
        let json = || Request::post("/echo").header("content-type", "application/json");
        assert_eq!(send(json(), "[1]").await.0, 200);
        let chunked = Body::from_stream(futures_util::stream::iter(
            ["[1,2,3,", "4,5,6,7,8,9]"].map(Ok::<_, std::io::Error>),
        ));
        let broken = Body::from_stream(futures_util::stream::iter([
            Ok("[1"),
            Err(std::io::Error::other("gone")),
        ]));
        let cases: Vec<(_, Body, u16, &str)> = vec![
            (json(), "[1".into(), 400, "malformed-json"),
            (json(), broken, 400, "malformed-request"),
            (
                json().header("content-length", "17"),
                Body::from(" ".repeat(17)),
                413,
                "body-too-large",
            ),
            (json(), chunked, 413, "body-too-large"),
            (
                json().header("content-encoding", "gzip"),
                "[1]".into(),
                415,
                "unsupported-media-type",
            ),
            (
                Request::post("/echo").header("content-type", "text/plain"),
                "[1]".into(),
                415,
                "unsupported-media-type",
            ),
            (Request::post("/echo"), "[1]".into(), 415, "unsupported-media-type"),
        ];
        for (request, body, status, kind) in cases {
            let (got, _, answer) = send(request, body).await;
            assert_eq!(
                (got.as_u16(), answer["type"].as_str()),
                (status, Some(format!("/problems/{kind}").as_str()))
            );
        }
    }
}
