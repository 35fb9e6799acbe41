//! `trainyard serve`: the server, until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::Result;

use super::logging::LogArgs;
use super::server::{self, AccessArgs, Server, ServerOptions};
use super::signals::StopSignal;

/// Start the server
///
/// Once it is ready, one line with its address goes to standard output; the log goes to standard error.
/// SIGTERM or Ctrl-C stops it in good order: running jobs are stored as they are and go on after the
/// next start. A second Ctrl-C ends it at once, which loses nothing that was acknowledged.
#[derive(clap::Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(
        long,
        env = "TRAINYARD_BIND",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = server::address
    )]
    bind: SocketAddr,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    options: ServerOptions,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) async fn run(args: ServeArgs) -> Result<()> {
    let _lines = args.log.start("info")?;
    let stop_signal = StopSignal::listen()?;
    let server = Server::start(args.bind, &args.options, &args.access).await?;
    announce(&server.url())?;
    stop_signal.received().await;
    tracing::info!("stopping");
    server.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

/// The one line that programs which start the server wait for.
fn announce(url: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "trainyard is ready: {url}")?;
    out.flush()?;
    tracing::info!(url, "ready");
    Ok(())
}
