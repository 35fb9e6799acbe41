//! Places in the code where a test has the process die, as kill -9 or a power cut would have it: without cleaning up.
//!
//! Built with the feature `failpoints`, `FAILPOINTS=job-committed=2*off->return` ends the process when that place is
//! reached for the third time. Without the feature there is nothing here.

macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        fail::fail_point!($name, |_| std::process::abort());
    };
}
pub(crate) use crash_point;
