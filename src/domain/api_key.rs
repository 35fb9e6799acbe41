//! API keys: `ty_` + 12 digits to find the key by + 64 secret ones + 8 that catch a typing error, all hexadecimal.
//! Only a hash of a key is stored, so that nobody can read keys from a stolen database; it is shown once, when made.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use super::id::KeyId;
use super::tenant::TenantId;

/// What a key may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look, and predict.
    Read,
    /// Also upload, train and delete.
    Write,
    /// Also make and revoke keys.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What is shown of a key after it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiKey {
    pub id: KeyId,
    /// Whose datasets, jobs, models, sessions and keys it opens.
    #[schema(value_type = String, example = "default")]
    pub tenant: TenantId,
    #[schema(example = "ci")]
    pub name: String,
    pub role: Role,
    /// How the key begins.
    #[schema(example = "ty_3f9c0a1b2d4e")]
    pub prefix: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// To within a minute; null: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// A new key, and what its owner gets of it. Errors: the system has no randomness.
    pub fn issue(
        tenant: TenantId,
        name: String,
        role: Role,
        expires_at: Option<Timestamp>,
    ) -> Result<(Self, Token), getrandom::Error> {
        let token = Token::generate()?;
        let key = Self {
            id: KeyId::generate(),
            tenant,
            name,
            role,
            prefix: token.prefix().to_owned(),
            created_at: Timestamp::now(),
            expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        Ok((key, token))
    }

    /// Whether the key opens anything at that time.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A key itself, as its owner has it. Its `Debug` shows how it begins and no more.
#[derive(Clone)]
pub struct Token(String);

/// SHA-256 of a key: all that is stored of it. The key is 256 random bits, so a faster hash leaves nothing to guess.
#[derive(Clone, Debug)]
pub struct TokenHash(pub [u8; 32]);

/// The text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an API key is ty_ followed by 84 hexadecimal digits; this one was cut short or mistyped")]
pub struct InvalidToken;

const PREFIX_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
const CHECKSUM_DIGITS: usize = 8;
const TOKEN_DIGITS: usize = 2 * (PREFIX_BYTES + SECRET_BYTES) + CHECKSUM_DIGITS;

impl Token {
    /// How every key begins.
    pub const SCHEME: &str = "ty_";

    /// How long every key is.
    pub const CHARS: usize = Self::SCHEME.len() + TOKEN_DIGITS;

    /// A new key. Errors: the system has no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut random = [0; PREFIX_BYTES + SECRET_BYTES];
        getrandom::fill(&mut random)?;
        let body = format!("{}{}", Self::SCHEME, hex(&random));
        Ok(Self(format!("{body}{}", checksum(&body))))
    }

    /// How the key begins: enough to find it, nothing to open it with.
    pub fn prefix(&self) -> &str {
        &self.0[..Self::SCHEME.len() + 2 * PREFIX_BYTES]
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(&self.0).into())
    }

    /// The whole key, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let digits = text.strip_prefix(Self::SCHEME).ok_or(InvalidToken)?;
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != TOKEN_DIGITS || !digits.bytes().all(lower_hex) {
            return Err(InvalidToken);
        }
        let (body, sum) = text.split_at(text.len() - CHECKSUM_DIGITS);
        if checksum(body) == sum {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidToken)
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.prefix())
    }
}

/// In a time that doesn't depend on where the first difference is.
impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

fn checksum(body: &str) -> String {
    hex(&Sha256::digest(body)[..CHECKSUM_DIGITS / 2])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_has_one_hash() {
        let token = Token::generate().unwrap();
        let read: Token = token.expose().parse().unwrap();
        assert_eq!(read.hash(), token.hash());
        assert_eq!(token.prefix().len(), 15);
        assert!(token.expose().starts_with(token.prefix()));
        assert_ne!(Token::generate().unwrap().hash(), token.hash());
    }

    #[test]
    fn a_key_that_was_cut_short_or_mistyped_is_refused() {
        let token = Token::generate().unwrap();
        let text = token.expose();
        for at in 3..text.len() {
            let digit = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
            let mistyped = format!("{}{digit}{}", &text[..at], &text[at + 1..]);
            assert!(mistyped.parse::<Token>().is_err(), "{at}");
        }
        for wrong in [
            "",
            "ty_",
            &text[1..],
            &text[..text.len() - 1],
            &text.to_uppercase(),
            &format!("{text}0"),
        ] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_never_shows_its_secret_in_a_log() {
        let token = Token::generate().unwrap();
        let shown = format!("{token:?}");
        assert_eq!(shown, format!("Token({}…)", token.prefix()));
    }

    #[test]
    fn a_key_is_valid_until_it_expires_or_is_revoked() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (key, _) = ApiKey::issue(TenantId::default(), "ci".to_owned(), Role::Write, None).unwrap();
        assert!(key.is_valid(at(1_000_000)));
        let expiring = ApiKey {
            expires_at: Some(at(20)),
            ..key.clone()
        };
        assert!(expiring.is_valid(at(19)) && !expiring.is_valid(at(20)));
        let revoked = ApiKey {
            revoked_at: Some(at(15)),
            ..key
        };
        assert!(!revoked.is_valid(at(15)));
    }

    #[test]
    fn every_role_may_do_what_the_ones_before_it_may() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
    }
}
