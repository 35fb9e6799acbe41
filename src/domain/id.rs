//! Ids: a prefix that names the kind, then a UUIDv7 without hyphens, so that ids sort by time of making.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The text is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("an id here is {prefix:?} followed by 32 lower-case hexadecimal digits")]
pub struct InvalidId {
    pub prefix: &'static str,
}

fn parse(prefix: &'static str, text: &str) -> Result<Uuid, InvalidId> {
    let invalid = InvalidId { prefix };
    let digits = text.strip_prefix(prefix).ok_or(invalid)?;
    let lower_hex = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !lower_hex {
        return Err(invalid);
    }
    Uuid::try_parse(digits).map_err(|_| invalid)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $pattern:literal, $example:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, pattern = $pattern, example = $example)]
        pub struct $name(Uuid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later than every id this process made before.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse($prefix, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    )*};
}

ids! {
    /// An uploaded table.
    DatasetId = "ds_", "^ds_[0-9a-f]{32}$", "ds_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    /// A training job.
    JobId = "job_", "^job_[0-9a-f]{32}$", "job_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    /// A trained network.
    ModelId = "mdl_", "^mdl_[0-9a-f]{32}$", "mdl_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    /// A training loop that a client runs.
    SessionId = "ses_", "^ses_[0-9a-f]{32}$", "ses_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    /// An API key.
    KeyId = "key_", "^key_[0-9a-f]{32}$", "key_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_and_nothing_else_parses() {
        let id = DatasetId::generate();
        assert_eq!(id.to_string().parse::<DatasetId>().unwrap(), id);
        for wrong in [
            "",
            "ds_",
            "job_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f",
            "ds_01938F4E5A7C7D2E9B1F3A5C7E9D1B3F",
            "../etc/passwd",
        ] {
            assert!(wrong.parse::<DatasetId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn later_ids_sort_later() {
        let ids: Vec<String> = (0..1000).map(|_| JobId::generate().to_string()).collect();
        assert!(ids.is_sorted());
    }
}
