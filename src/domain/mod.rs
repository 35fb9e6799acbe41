//! The stored nouns: what a trainyard knows about, free of HTTP, SQL and threads.

pub mod api_key;
pub mod artifact;
pub mod dataset;
pub mod event;
pub mod id;
pub mod job;
pub mod job_request;
pub mod job_spec;
pub mod key_request;
pub mod model;
pub mod page;
pub mod problem;
pub mod session;
pub mod tenant;
