//! `trainyard health`: what a container's health check runs, since a slim image has no curl.

use std::time::Duration;

use anyhow::Result;

use super::client::{Client, ServerArgs};

/// Ask whether a server is ready: exit status 0 when it is
#[derive(clap::Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 3)]
    timeout: u64,
}

pub(super) async fn run(args: HealthArgs) -> Result<()> {
    let client = Client::of(&args.server);
    tokio::time::timeout(Duration::from_secs(args.timeout), client.get_text("/readyz")).await??;
    println!("ready");
    Ok(())
}
