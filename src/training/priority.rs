//! Training takes what serving leaves: the threads that train have the lowest priority.

/// Lowers the priority of the calling thread, for good.
///
/// On Linux niceness belongs to the thread. Elsewhere it belongs to the process, and serving must not lose its own.
pub(super) fn lower() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(19) {
        tracing::warn!(%error, "a training thread keeps its normal priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    #[test]
    fn only_the_thread_that_asks_gets_a_lower_priority() {
        let before = getpriority_process(None).unwrap();
        let lowered = std::thread::spawn(|| {
            super::lower();
            getpriority_process(None).unwrap()
        });
        assert_eq!(lowered.join().unwrap(), 19);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
