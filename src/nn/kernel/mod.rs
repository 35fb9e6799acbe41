//! The arithmetic everything else in `nn` is made of: matrix products, elementary functions, sums in a fixed order.
//!
//! The only `unsafe` of the crate is here. Every result has the same bits at every SIMD [`Level`] and any number of
//! threads: sums have a fixed order, fused multiply-adds are asked for by name, `exp` and its kin are our own polynomials.

mod buffer;
pub mod curve;
mod elementary;
mod float;
mod level;
mod prefetch;
pub mod product;
pub mod reduce;
mod stop;
mod team;

pub use buffer::Buffer;
pub use curve::Curve;
pub use float::Float;
#[cfg(test)]
pub(super) use level::at_every_level;
pub use level::{Kernel, Level, dispatch};
pub use prefetch::prefetch;
pub use product::Workspace;
pub use stop::Stop;
#[cfg(test)]
pub(super) use team::tests::with_helpers;
pub use team::{Helper, Team};
