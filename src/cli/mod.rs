//! The command line: the server, the demo, and client verbs that speak HTTP only.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod client;
mod demo;
mod health;
mod logging;
mod openapi;
mod serve;
mod server;
mod stop_signal;
mod views;
mod watch;

/// Training as a service: a table in, a trained network out, over HTTP.
#[derive(Parser)]
#[command(name = "trainyard", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Demo(demo::DemoArgs),
    Health(health::HealthArgs),
    Openapi,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Health(args) => health::run(args).await,
            Command::Openapi => openapi::run(),
        }
    })
}
