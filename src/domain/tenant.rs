//! Whose rows these are: every stored row belongs to a tenant and every query names one.

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

/// The tenant of a server that runs open, without keys.
impl Default for TenantId {
    fn default() -> Self {
        Self::new("default")
    }
}
