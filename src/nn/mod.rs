//! The numeric core: networks, their gradients and their training, free of clocks, threads' owners, files and HTTP.

pub mod kernel;
pub mod spec;
pub mod weights;
