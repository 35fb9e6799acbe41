//! Training takes what serving leaves: the threads that train have the lowest priority.

/// Lowers the priority of the calling thread, for good: `SCHED_IDLE` and niceness 19.
///
/// Niceness alone decides on shares, but lets a thread that trains finish its slice of some milliseconds while a request
/// waits; an idle thread gives way at once. On Linux both belong to the thread. Elsewhere they belong to the process, and
/// serving must not lose its own.
pub(super) fn lower() {
    #[cfg(target_os = "linux")]
    {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        let thread = thread_priority::thread_native_id();
        if let Err(error) = thread_priority::set_thread_priority_and_policy(thread, ThreadPriority::Min, idle) {
            tracing::warn!(?error, "a training thread doesn't give way at once");
        }
        if let Err(error) = rustix::process::nice(19) {
            tracing::warn!(%error, "a training thread keeps its normal share");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    #[test]
    fn only_the_thread_that_asks_gets_a_lower_priority() {
        use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};
        let before = getpriority_process(None).unwrap();
        let lowered = std::thread::spawn(|| {
            super::lower();
            (getpriority_process(None).unwrap(), thread_schedule_policy().unwrap())
        });
        let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
        assert_eq!(lowered.join().unwrap(), (19, idle));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
