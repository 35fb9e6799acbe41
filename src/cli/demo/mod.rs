//! `trainyard demo`: a real server, and a client that goes through the tutorial's exercises over HTTP.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use super::client::{Client, KeyArg, Table};
use super::follow::Follower;
use super::logging::LogArgs;
use super::server::{self, AccessArgs, Server, ServerOptions};
use super::signals::StopSignal;
use super::views::{Dataset, Job};

mod by_hand;
mod comparison;
mod housing;
mod iris;

/// Start a server and go through the tutorial's exercises with it
///
/// Uploads two tables (iris, with Korean headers, and housing), trains networks on them with the progress
/// shown, prints what came out and the calls to try next. The server then stays up until Ctrl-C.
#[derive(clap::Args)]
pub(super) struct DemoArgs {
    /// End after the exercises instead of staying up
    #[arg(long)]
    exit: bool,
    /// Loopback address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = loopback)]
    bind: SocketAddr,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    options: ServerOptions,
    #[command(flatten)]
    log: LogArgs,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = server::address(text)?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("the demo only listens on a loopback address, such as 127.0.0.1:8080".to_owned()),
    }
}

pub(super) async fn run(args: DemoArgs) -> Result<()> {
    let _lines = args.log.start("warn")?;
    let stop_signal = StopSignal::listen()?;
    let server = Server::start(args.bind, &args.options, &AccessArgs::default()).await?;
    let folder = args.options.folder.data_dir.display();
    println!(
        "A server is up at {}, with its data in {folder}. All below goes over HTTP.",
        server.url()
    );
    let exercises = tokio::spawn(exercises(Client::new(&server.url(), &args.key)));
    let interrupted = stop_signal.received();
    tokio::pin!(interrupted);
    tokio::select! {
        () = &mut interrupted => {}
        result = exercises => {
            result??;
            if !args.exit {
                println!("\nThe server stays up: {} in a browser documents its API. Ctrl-C ends it.", server.url());
                interrupted.await;
            }
        }
    }
    server.stop().await
}

/// What every exercise needs.
struct Guide {
    client: Client,
}

async fn exercises(client: Client) -> Result<()> {
    let started = Instant::now();
    let guide = Guide { client };
    let iris = guide
        .upload("iris", include_bytes!("../../../examples/data/iris.csv"))
        .await?;
    let housing = guide
        .upload("housing", include_bytes!("../../../examples/data/housing.csv"))
        .await?;
    let iris_model = iris::classify(&guide, &iris).await?;
    let housing_model = housing::regress(&guide, &housing).await?;
    comparison::optimizers(&guide, &housing).await?;
    comparison::batch_sizes(&guide, &housing).await?;
    println!("\nAll of it took {:.1} s.", started.elapsed().as_secs_f64());
    print_calls(guide.client.server(), &iris.id, &iris_model, &housing_model);
    Ok(())
}

impl Guide {
    async fn upload(&self, name: &str, content: &'static [u8]) -> Result<Dataset> {
        let started = Instant::now();
        let dataset = self
            .client
            .upload(name, Table::csv(content))
            .await
            .context("the upload failed")?;
        let took = started.elapsed().as_secs_f64() * 1e3;
        println!(
            "\nUploaded {} as {}: {} rows, in {took:.0} ms",
            dataset.name, dataset.id, dataset.rows
        );
        let columns: Vec<_> = dataset.columns.iter().map(|column| column.to_string()).collect();
        println!("  {}", columns.join(" · "));
        Ok(dataset)
    }

    async fn train(&self, job: &Value) -> Result<Job> {
        let job = self.client.submit(job).await.context("the job was refused")?;
        Follower::on_stderr().follow(&self.client, job).await
    }

    async fn print_summary(&self, model: &str) -> Result<()> {
        let table = self.client.get_text(&format!("/v1/models/{model}/summary.txt")).await?;
        println!("\n{}", table.trim_end());
        Ok(())
    }
}

fn heading(text: &str) {
    println!("\n━━ {text}");
}

/// Calls that work as they are printed, as long as the server is up.
fn print_calls(server: &str, iris: &str, iris_model: &str, housing_model: &str) {
    heading("Try it yourself");
    println!(
        r#"
curl -s {server}/v1/models/{iris_model}/predict \
     --json '{{"instances": [{{"꽃잎길이": 6.3, "꽃잎폭": 3.3, "꽃받침길이": 6.0, "꽃받침폭": 2.5}}]}}'
curl -s {server}/v1/models/{housing_model}/summary.txt
curl -s {server}/v1/jobs \
     --json '{{"dataset": "{iris}", "target": "품종"}}'
curl -s '{server}/v1/jobs?limit=1'"#
    );
}
