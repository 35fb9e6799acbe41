//! `Idempotency-Key`: a creating request that is sent again gets its first answer again, and creates nothing.

use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use tracing::Instrument;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::error::ApiError;
use crate::domain::problem::{Kind, Problem};
use crate::domain::tenant::TenantId;
use crate::store::{Reply, Store, StoredAnswer};

pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Told to clients that get an answer a second time.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What of an answer's headers is kept; the rest is made anew for every answer.
const KEPT_HEADERS: [HeaderName; 2] = [CONTENT_TYPE, LOCATION];

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
    /// The answer of `make`, or, when the key came before with the same request, the answer it got then.
    ///
    /// `body` stands for the request's body: equal for equal bodies, different for different ones. Only a success is
    /// kept; after a refusal the key is free, for the request as it should have been. What was begun is finished even
    /// when the client hangs up meanwhile: it will ask again.
    pub(super) async fn once(
        self,
        store: &Store,
        tenant: &TenantId,
        body: &str,
        make: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let Some(key) = self.key else { return finish(make).await };
        let fingerprint = fingerprint(&self.request_line, body);
        match store.reserve_key(tenant, &key, &fingerprint).await? {
            Reply::Fresh(reservation) => {
                let make_and_keep = async move {
                    let (response, answer) = stored(make.await?).await?;
                    if let Some(answer) = answer {
                        reservation.complete(answer).await?;
                    }
                    Ok(response)
                };
                finish(make_and_keep).await
            }
            Reply::Replay(answer) => replay(answer),
            Reply::InFlight => {
                let detail = "The first request with this Idempotency-Key is still under way; ask again in a moment.";
                Err(ApiError::new(Kind::Conflict, detail))
            }
            Reply::Mismatch => {
                let detail = "This Idempotency-Key was used for another request; a new request needs a new key.";
                Err(ApiError::new(Kind::IdempotencyMismatch, detail))
            }
        }
    }
}

/// Runs to the end in a task of its own, whatever becomes of the connection.
pub(super) async fn finish(
    make: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    tokio::spawn(make.in_current_span()).await.map_err(Problem::internal)?
}

fn fingerprint(request_line: &str, body: &str) -> String {
    let digest = Sha256::new()
        .chain_update(request_line)
        .chain_update([0])
        .chain_update(body)
        .finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer, and what to keep of it when it is a success.
async fn stored(response: Response) -> Result<(Response, Option<StoredAnswer>), ApiError> {
    if !response.status().is_success() {
        return Ok((response, None));
    }
    let (parts, body) = response.into_parts();
    // The answers of creating requests are a document each, made in memory.
    let body = to_bytes(body, usize::MAX).await.map_err(Problem::internal)?;
    let header = |name: &HeaderName| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.to_owned()));
    let answer = StoredAnswer {
        status: parts.status.as_u16(),
        headers: KEPT_HEADERS.iter().filter_map(header).collect(),
        body: body.to_vec(),
    };
    Ok((Response::from_parts(parts, Body::from(body)), Some(answer)))
}

fn replay(answer: StoredAnswer) -> Result<Response, ApiError> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(Problem::internal)?;
    for (name, value) in answer.headers {
        let name = HeaderName::try_from(name).map_err(Problem::internal)?;
        let value = HeaderValue::try_from(value).map_err(Problem::internal)?;
        response.headers_mut().insert(name, value);
    }
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::response::IntoResponse;

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
    async fn a_replayed_answer_is_the_first_one() {
        let first = (StatusCode::CREATED, [(LOCATION, "/v1/jobs/1")], Json([1, 2])).into_response();
        let (first, answer) = stored(first).await.unwrap();
        let again = replay(answer.unwrap()).unwrap();
        assert_eq!(again.status(), first.status());
        for name in KEPT_HEADERS {
            assert_eq!(again.headers()[&name], first.headers()[&name]);
        }
        let bodies = [first, again].map(|response| to_bytes(response.into_body(), 100));
        let [first, again] = bodies.map(futures_util::FutureExt::now_or_never);
        assert_eq!(first.unwrap().unwrap(), again.unwrap().unwrap());
    }

    #[tokio::test]
    async fn a_refusal_is_not_kept() {
        let refused = (StatusCode::UNPROCESSABLE_ENTITY, "no").into_response();
        assert!(stored(refused).await.unwrap().1.is_none());
    }
}
