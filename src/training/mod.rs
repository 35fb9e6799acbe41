//! The life of a job: admitted, queued, claimed, trained, recorded, ended; paused, recovered and continued in between.

mod admission;
mod assignment;
mod base;
mod checkpoint;
mod control;
mod cores;
mod ending;
mod flag;
mod limits;
mod priority;
mod progress;
mod runner;
mod samples;
pub mod session;
mod submission;
mod tables;
mod traffic;
mod trial;
mod worker;

pub use admission::DryRun;
pub use control::Changes;
pub use limits::{JobLimits, NetworkLimits};
pub use runner::{Runner, RunnerOptions};
