//! The command line: the server, its keys, the demo, and client verbs that speak HTTP only.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

mod client;
mod demo;
mod follow;
mod health;
mod keys;
mod limits;
mod log_lines;
mod logging;
mod serve;
mod server;
mod signals;
mod verbs;
mod views;

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
    Upload(verbs::UploadArgs),
    Train(verbs::TrainArgs),
    Watch(verbs::WatchArgs),
    Predict(verbs::PredictArgs),
    Health(health::HealthArgs),
    Keys(keys::KeysArgs),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
    /// Print what makes a shell complete this command
    ///
    /// For bash: source <(trainyard completions bash)
    Completions {
        shell: Shell,
    },
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _crash_points = fail::FailScenario::setup();
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
    let done = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Upload(args) => verbs::upload(args).await,
            Command::Train(args) => verbs::train(args).await,
            Command::Watch(args) => verbs::watch(args).await,
            Command::Predict(args) => verbs::predict(args).await,
            Command::Health(args) => health::run(args).await,
            Command::Keys(args) => keys::run(args).await,
            Command::Openapi => print(&crate::api::document_json()),
            Command::Completions { shell } => print(&completions(shell)),
        }
    });
    // What still computes on a thread of its own has nobody left to answer.
    runtime.shutdown_background();
    done
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "trainyard", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Prints a document; a reader that has seen enough (`trainyard openapi | head`) is no error.
fn print(document: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", document.trim_end()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_declared_without_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_that_shapes_the_server_has_a_variable() {
        let commands = Cli::command();
        let serve = commands.find_subcommand("serve").unwrap();
        for option in serve
            .get_arguments()
            .filter(|option| !["help", "version"].contains(&option.get_id().as_str()))
        {
            let variable = format!("TRAINYARD_{}", option.get_id().as_str().to_uppercase());
            assert_eq!(option.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        }
    }
}
