//! What a network is asked to be ([`ModelSpec`], as written) and what it will be ([`Plan`], checked).

mod fault;
pub mod reader;

pub use fault::Fault;
