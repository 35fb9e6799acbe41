//! What sessions may take.

use std::time::Duration;

use crate::training::NetworkLimits;

#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Sessions of one tenant.
    pub max_sessions: u64,
    pub network: NetworkLimits,
    /// A call whose estimate is over this is refused.
    pub max_memory_bytes: u64,
    /// All sessions together keep about so much in memory; beyond it those used longest ago are read anew when needed.
    pub cache_bytes: u64,
    /// A session is deleted when nobody used it for so long.
    pub idle: Duration,
    /// Calls that compute at the same time.
    pub workers: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            max_sessions: 100,
            network: NetworkLimits::default(),
            max_memory_bytes: 1 << 30,
            cache_bytes: 256 << 20,
            idle: Duration::from_secs(3600),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}
