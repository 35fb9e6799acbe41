//! The numeric core: networks, their gradients and their training, free of clocks, threads' owners, files and HTTP.

pub mod activation;
pub mod attribution;
mod clip;
pub mod gradients;
pub mod init;
pub mod kernel;
pub mod layer;
mod layout;
pub mod loss;
pub mod metric;
pub mod network;
pub mod optimizer;
mod pass;
mod penalty;
pub mod rng;
pub mod schedule;
pub mod spec;
pub mod summary;
pub mod trainer;
pub mod weights;
