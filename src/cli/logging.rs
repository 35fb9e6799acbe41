//! Structured logs on standard error: lines for people or JSON for collectors.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::log_lines::{Lines, LinesKept};

#[derive(Args)]
#[command(next_help_heading = "Logs")]
pub(super) struct LogArgs {
    /// What the log on standard error looks like
    #[arg(long, env = "TRAINYARD_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Which log lines are written: a level (error, warn, info, debug, trace), or one per module, like
    /// `info,trainyard::training=debug` [default: info; for the demo: warn]
    #[arg(long, env = "TRAINYARD_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// One readable line an event
    Text,
    /// One JSON object an event
    Json,
}

impl LogArgs {
    /// Starts the log, with the level `default` unless a filter was given; only once a process. What is returned writes the
    /// last lines when it is dropped.
    pub(super) fn start(&self, default: &str) -> Result<LinesKept> {
        let filter = self.log.as_deref().unwrap_or(default);
        let filter = EnvFilter::builder()
            .parse(filter)
            .with_context(|| format!("{filter:?} is no log filter"))?;
        let (lines, kept) = Lines::to_standard_error().context("standard error can't be written to")?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            // A line that the disk doesn't take would be complained of on the same stream, whose failing is a panic of
            // whoever wrote the line.
            .log_internal_errors(false)
            .with_writer(lines);
        match self.log_format {
            LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
        }
        Ok(kept)
    }
}
