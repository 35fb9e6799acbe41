//! The life of a job: admitted, queued, claimed, trained, recorded, ended; paused, recovered and continued in between.

pub mod admission;
pub mod runner;

pub use admission::DryRun;
pub use runner::{Changes, Runner, RunnerOptions};
