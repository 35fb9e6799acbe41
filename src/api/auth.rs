//! Who calls: every request is admitted or refused here, before any of its body is read.

use axum::extract::{FromRequestParts, Request};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Uri};
use jiff::Timestamp;

use super::access::{Access, AccessTable};
use super::error::ApiError;
use super::last_use::LastUses;
use super::rate::{Peer, RateLimit, Sender};
use crate::domain::api_key::{ApiKey, Role, Token};
use crate::domain::problem::{Kind, Problem};
use crate::domain::tenant::TenantId;
use crate::store::{Store, StoreError};

/// What admits requests.
pub(super) struct Authenticator {
    pub(super) store: Store,
    pub(super) access: AccessTable,
    pub(super) last_uses: LastUses,
    /// `None`: as many as come.
    pub(super) rate: Option<RateLimit>,
}

/// Whom a request was let in for.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    /// How its key begins; none while the server has no key at all.
    key: Option<String>,
}

impl Caller {
    /// Whether it would be let in again, for answers that go on for long.
    pub(super) async fn is_still_let_in(&self, store: &Store) -> Result<bool, StoreError> {
        match &self.key {
            None => Ok(!store.has_keys()),
            Some(prefix) => {
                let found = store.find_key(prefix).await?;
                Ok(found.is_some_and(|found| found.key.is_valid(Timestamp::now())))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        // An operation that everybody may call has nobody to act for.
        caller.ok_or_else(|| Problem::internal("the request was let in for nobody").into())
    }
}

impl Authenticator {
    /// Lets a request in with its [`Caller`] among its extensions, or refuses it.
    pub(super) async fn authenticate(&self, request: &mut Request) -> Result<(), ApiError> {
        if has_key(request.uri()) {
            return Err(unauthorized(
                "A key must not stand in a URL, which ends up in logs: revoke this one, make another and send it in the \
                 header authorization: Bearer ty_….",
            ));
        }
        // What everybody may call isn't counted: whoever looks after the server learns that it lives, whatever others do.
        if let Access::Needs(role) = self.access.asked_of(request) {
            let peer = request.extensions().get().copied();
            let caller = self.admit(request.headers(), peer, role).await?;
            request.extensions_mut().insert(caller);
        }
        Ok(())
    }

    /// The caller, who has a valid key of at least that role; anybody, while the server has no key at all.
    async fn admit(&self, headers: &HeaderMap, peer: Option<Peer>, role: Role) -> Result<Caller, ApiError> {
        let found = self.find(headers).await;
        if let (Some(rate), Some(peer)) = (&self.rate, peer) {
            rate.check(&Sender::of(found.as_ref().ok().and_then(Option::as_ref), peer))?;
        }
        let Some(key) = found? else {
            return Ok(Caller {
                tenant: TenantId::default(),
                key: None,
            });
        };
        self.last_uses.note(&key, Timestamp::now());
        tracing::Span::current().record("key", tracing::field::display(key.id));
        if key.role < role {
            let (has, needed) = (key.role.name(), role.name());
            let detail = format!("The role of this key is {has}; this call needs a key with the role {needed}.");
            return Err(ApiError::new(Kind::Forbidden, detail));
        }
        Ok(Caller {
            tenant: key.tenant,
            key: Some(key.prefix),
        })
    }

    /// The valid key that was sent; none, while the server has no key at all.
    async fn find(&self, headers: &HeaderMap) -> Result<Option<ApiKey>, ApiError> {
        if !self.store.has_keys() {
            return Ok(None);
        }
        let token = bearer(headers)?;
        let found = self.store.find_key(token.prefix()).await?;
        let found = found.filter(|found| found.hash == token.hash());
        let key = found
            .ok_or_else(|| unauthorized("This key is none of this server's."))?
            .key;
        // Only who has the whole key learns what became of it.
        if let Some(time) = key.revoked_at {
            return Err(unauthorized(format!("This key was revoked, at {time}.")));
        }
        if let Some(time) = key.expires_at.filter(|_| !key.is_valid(Timestamp::now())) {
            return Err(unauthorized(format!("This key expired, at {time}.")));
        }
        Ok(Some(key))
    }
}

fn unauthorized(detail: impl Into<String>) -> ApiError {
    ApiError::new(Kind::Unauthorized, detail)
}

/// The key in the `authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Token, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(unauthorized(
            "This server asks for a key: send it in one header, authorization: Bearer ty_….",
        ));
    };
    let text = value.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthorized(
            "The authorization header must be Bearer and a key, as in authorization: Bearer ty_….",
        ));
    }
    let token = token.trim().parse();
    token.map_err(|_| {
        unauthorized("The key was cut short or mistyped: it has ty_ followed by 84 hexadecimal digits, 0-9 and a-f.")
    })
}

/// Whether a whole key stands anywhere in the URL.
fn has_key(uri: &Uri) -> bool {
    let text = uri.path_and_query().map_or("", |target| target.as_str());
    let key_at = |at: usize| {
        text.get(at..at + Token::CHARS)
            .is_some_and(|text| text.parse::<Token>().is_ok())
    };
    text.match_indices(Token::SCHEME).any(|(at, _)| key_at(at))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_read_from_one_bearer_header_only() {
        let token = Token::generate().unwrap();
        let text = token.expose();
        for scheme in ["Bearer", "bearer"] {
            let read = bearer(&headers(&[&format!("{scheme} {text}")])).unwrap();
            assert_eq!(read.hash(), token.hash());
        }
        for wrong in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &[text],
            &[&format!("Basic {text}")],
            &[&format!("Bearer {}", &text[..80])],
            &[&format!("Bearer {text}, Bearer {text}")],
            &[&format!("Bearer {text}"), &format!("Bearer {text}")],
        ] {
            assert!(bearer(&headers(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_seen_wherever_it_stands_in_a_url() {
        let token = Token::generate().unwrap();
        let text = token.expose();
        for target in [format!("/v1/jobs?api_key={text}&limit=1"), format!("/v1/keys/{text}")] {
            assert!(has_key(&target.parse().unwrap()), "{target}");
        }
        for target in ["/v1/jobs", "/v1/datasets?name=ty_iris", &format!("/?k={}", &text[..86])] {
            assert!(!has_key(&target.parse().unwrap()), "{target}");
        }
    }
}
