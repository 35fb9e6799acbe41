//! The numeric core: networks, their gradients and their training, free of clocks, threads' owners, files and HTTP.

pub mod activation;
pub mod init;
pub mod layer;
pub mod loss;
pub mod metric;
pub mod optimizer;
pub mod schedule;
pub mod spec;
pub mod summary;
pub mod weights;
