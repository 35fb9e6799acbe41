//! What handlers are given: ids, query parameters and bodies that were read strictly, or a problem that says what to change.

pub(crate) mod body;
mod id;
mod json;
mod octets;
mod query;
mod tenant;

pub(crate) use body::BodyLimits;
pub(crate) use id::Id;
pub(crate) use json::{Json, JsonBodies, JsonText, parse};
pub(crate) use octets::{Octets, TensorBodies};
pub(crate) use query::{FromQuery, Query, QueryReader};
pub(crate) use tenant::Tenant;
