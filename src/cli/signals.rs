//! The signals a server lives with.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and Ctrl-C ask the process to end in good order; a second one ends it at once.
pub(super) struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// From here on the signals no longer kill the process.
    pub(super) fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the first signal. The next one ends the process with the status a shell expects of a killed one.
    pub(super) async fn received(mut self) {
        self.next().await;
        tokio::spawn(async move {
            let number = self.next().await;
            std::process::exit(128 + number);
        });
    }

    async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        kind.as_raw_value()
    }
}

/// From here on a write beyond the process's file size limit is an error like that of a full disk, which the API answers
/// with 507, and no longer the end of the process.
pub(super) fn survive_the_file_size_limit() -> Result<()> {
    const SIGXFSZ: i32 = 25;
    // The handler stays when what would receive its signals is dropped.
    drop(signal(SignalKind::from_raw(SIGXFSZ))?);
    Ok(())
}
