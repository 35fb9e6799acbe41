//! `trainyard serve`: the server, until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Result, bail};
use clap::builder::FalseyValueParser;

use super::logging::LogArgs;
use super::server::{self, Server, ServerOptions};
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
    /// Allow an address that other machines can reach, although whoever reaches it can do everything
    #[arg(long, env = "TRAINYARD_INSECURE_NO_AUTH", value_parser = FalseyValueParser::new())]
    insecure_no_auth: bool,
    #[command(flatten)]
    options: ServerOptions,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) async fn run(args: ServeArgs) -> Result<()> {
    if !args.bind.ip().is_loopback() && !args.insecure_no_auth {
        bail!(
            "{} can be reached from other machines, and this server does not ask who calls: listen on a loopback \
             address such as 127.0.0.1:{}, or allow it with --insecure-no-auth",
            args.bind,
            args.bind.port()
        );
    }
    args.log.start("info")?;
    let stop_signal = StopSignal::listen()?;
    let server = Server::start(args.bind, &args.options).await?;
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
