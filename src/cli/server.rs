//! A whole server in this process: store, runner, model cache, sessions and HTTP, started and stopped in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::builder::FalseyValueParser;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::limits::LimitArgs;
use super::signals;
use crate::api::{self, AllowedHosts, AppState};
use crate::serving::Serving;
use crate::store::Store;
use crate::training::session::{SessionOptions, Sessions};
use crate::training::{Runner, RunnerOptions};

/// Where everything is kept.
#[derive(clap::Args)]
pub(super) struct DataDirArg {
    /// Folder that holds everything: the database and the uploaded tables; made when it isn't there
    #[arg(
        long,
        env = "TRAINYARD_DATA_DIR",
        value_name = "FOLDER",
        default_value = "./trainyard-data"
    )]
    pub(super) data_dir: PathBuf,
}

/// Who may come in.
#[derive(Default, clap::Args)]
#[command(next_help_heading = "Access")]
pub(super) struct AccessArgs {
    /// A further name that clients call this server by, such as the one in front of a proxy; may be repeated
    ///
    /// Requests for other names are refused, so that no web page gets at the server under a name of its own.
    #[arg(long, env = "TRAINYARD_ALLOW_HOST", value_name = "NAME", value_delimiter = ',', value_parser = AllowedHosts::read_name)]
    allow_host: Vec<String>,
    /// Start without a key on an address that other machines can reach
    ///
    /// Until the first key is made, whoever reaches it can do everything.
    #[arg(long, env = "TRAINYARD_INSECURE_NO_AUTH", value_parser = FalseyValueParser::new())]
    insecure_no_auth: bool,
}

impl AccessArgs {
    /// Errors: without a key, other machines could come in.
    fn check(&self, bind: SocketAddr, store: &Store, folder: &Path) -> Result<()> {
        let allowed = store.has_keys() || bind.ip().to_canonical().is_loopback() || self.insecure_no_auth;
        ensure!(
            allowed,
            "{bind} can be reached from other machines, and there is no key yet to tell who may come in. Make one with \
             `trainyard keys create --name NAME --role admin --data-dir {}`, or listen on a loopback address such as \
             127.0.0.1:{}, or let everybody in with --insecure-no-auth",
            folder.display(),
            bind.port()
        );
        Ok(())
    }
}

/// What a server keeps where, and how much it may take.
#[derive(clap::Args)]
#[command(next_help_heading = "Data and resources")]
pub(super) struct ServerOptions {
    #[command(flatten)]
    pub(super) folder: DataDirArg,
    /// Jobs that train at the same time; more wait in the queue [default: the number of cores]
    #[arg(long, env = "TRAINYARD_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Memory for models that were used lately, in MiB
    #[arg(long, env = "TRAINYARD_MODEL_CACHE_MIB", value_name = "MIB", default_value_t = 256)]
    model_cache_mib: u32,
    /// Seconds after which a session that nobody calls is deleted
    #[arg(
        long,
        env = "TRAINYARD_SESSION_IDLE_S",
        value_name = "SECONDS",
        default_value_t = 3600
    )]
    session_idle_s: u32,
    #[command(flatten)]
    limits: LimitArgs,
}

impl ServerOptions {
    fn sessions(&self) -> SessionOptions {
        SessionOptions {
            idle: Duration::from_secs(self.session_idle_s.into()),
            ..self.limits.sessions()
        }
    }

    fn runner(&self) -> RunnerOptions {
        let mut options = self.limits.runner();
        if let Some(workers) = self.workers {
            options.workers = workers.into();
        }
        options
    }
}

/// Reads what `--bind` is given.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "it takes an address and a port, such as 127.0.0.1:8080".to_owned())
}

pub(super) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    runner: Runner,
    store: Store,
    http: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Returns once the server answers.
    pub(super) async fn start(bind: SocketAddr, options: &ServerOptions, access: &AccessArgs) -> Result<Self> {
        signals::survive_the_file_size_limit()?;
        // The port first: it is what a second server most often stumbles over, and it costs nothing to give back.
        let limits = options.limits.api();
        let listener = api::listen(bind).with_context(|| {
            format!(
                "cannot listen on {bind}; if the port is taken, another --bind or TRAINYARD_BIND chooses another one"
            )
        })?;
        let address = listener.local_addr()?;
        let folder = options.folder.data_dir.display();
        let store = Store::open(&options.folder.data_dir)
            .await
            .with_context(|| format!("cannot use the data folder {folder}"))?;
        access.check(bind, &store, &options.folder.data_dir)?;
        let stop = CancellationToken::new();
        let runner = Runner::start(store.clone(), options.runner(), stop.clone());
        let serving = Serving::new(store.clone(), u64::from(options.model_cache_mib) << 20);
        let sessions = Sessions::start(store.clone(), options.sessions(), stop.clone());
        let state = AppState::new(
            store.clone(),
            runner.clone(),
            serving,
            sessions,
            limits,
            AllowedHosts::new(bind.ip(), access.allow_host.clone()),
            stop.clone(),
        );
        let http = tokio::spawn(api::serve(listener, state, stop.clone()));
        Ok(Self {
            address,
            stop,
            runner,
            store,
            http,
        })
    }

    /// `http://` and the address it listens on.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Refuses new work, ends streams, checkpoints what trains, and returns when all of it is stored.
    pub(super) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        let ((), http) = tokio::join!(self.runner.stopped(), self.http);
        self.store.close().await;
        Ok(http??)
    }
}
