//! Whose rows these are: every stored row belongs to a tenant and every query names one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TenantId(String);

impl TenantId {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is no tenant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant's name has from 1 to 64 ASCII letters, digits, - and _")]
pub struct InvalidTenant;

/// Reads what a person calls a tenant.
impl FromStr for TenantId {
    type Err = InvalidTenant;

    fn from_str(text: &str) -> Result<Self, InvalidTenant> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        match (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            true => Ok(Self::new(text)),
            false => Err(InvalidTenant),
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The tenant of a server that runs open, without keys.
impl Default for TenantId {
    fn default() -> Self {
        Self::new("default")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_name_is_short_and_plain() {
        assert_eq!("default".parse(), Ok(TenantId::default()));
        for wrong in ["", "a b", "a/b", "품종", "a\n", &"x".repeat(65)] {
            assert_eq!(wrong.parse::<TenantId>(), Err(InvalidTenant), "{wrong:?}");
        }
    }
}
