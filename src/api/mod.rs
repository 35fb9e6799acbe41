//! The HTTP API, one file a resource. axum is known here and nowhere else.

mod access;
mod auth;
mod blocking;
mod connection;
mod contract;
mod curve;
mod datasets;
mod entrance;
mod error;
mod event_streams;
mod events;
mod extract;
mod gate;
mod history;
mod idempotency;
mod jobs;
mod keys;
mod last_use;
mod limits;
mod metrics;
mod models;
mod openapi;
mod openapi_3_0;
mod operations;
mod origin;
mod pace;
mod pagination;
mod predictions;
mod rate;
mod remainder;
mod request;
mod serve;
mod session_calls;
mod session_tensors;
mod sessions;
mod system;
mod upload;
mod usage;
mod whole;
mod written;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::access::AccessTable;
use self::auth::Authenticator;
use self::contract::Contract;
use self::entrance::Entrance;
use self::event_streams::EventStreams;
use self::extract::{BodyLimits, JsonBodies, TensorBodies};
use self::gate::Gate;
use self::last_use::LastUses;
pub use self::limits::{Limits, TableLimits};
use self::metrics::Metrics;
pub use self::origin::AllowedHosts;
use self::rate::RateLimit;
use self::request::Surroundings;
pub use self::serve::{listen, serve};
use crate::domain::problem::Problem;
use crate::serving::Serving;
use crate::store::Store;
use crate::training::Runner;
use crate::training::session::Sessions;

/// What handlers work with. It is cloned several times a request, so that is one count.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

pub struct Parts {
    store: Store,
    runner: Runner,
    serving: Serving,
    sessions: Sessions,
    limits: Arc<Limits>,
    hosts: Arc<AllowedHosts>,
    metrics: Arc<Metrics>,
    /// Places for tables that are being received to be kept.
    uploads: Arc<Semaphore>,
    /// The same for predict/csv.
    predicted_tables: Arc<Semaphore>,
    event_streams: EventStreams,
    /// For the one event stream that reads the store.
    event_readers: Arc<Semaphore>,
    /// For work that reads a whole table, or writes an answer as large as one.
    table_readers: Gate,
    /// For predictions that keep a core busy for a while.
    predictions: Gate,
    json_bodies: JsonBodies,
    tensor_bodies: TensorBodies,
    /// Cancelled when the server is to stop: it isn't ready any more, and event streams end.
    stop: CancellationToken,
}

impl AppState {
    pub fn new(
        store: Store,
        runner: Runner,
        serving: Serving,
        sessions: Sessions,
        limits: Limits,
        hosts: AllowedHosts,
        stop: CancellationToken,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Parts {
            store,
            runner,
            serving,
            sessions,
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            predicted_tables: Arc::new(Semaphore::new(limits.predicted_tables)),
            event_streams: EventStreams::new(&limits),
            event_readers: Arc::new(Semaphore::new(1)),
            table_readers: Gate::new(cores, limits.waiting_table_readers),
            predictions: Gate::new(cores, limits.waiting_predictions),
            json_bodies: JsonBodies(BodyLimits::new(limits.json_body_bytes, limits.json_memory_bytes)),
            tensor_bodies: TensorBodies(BodyLimits::new(limits.tensor_body_bytes, limits.tensor_memory_bytes)),
            limits: Arc::new(limits),
            hosts: Arc::new(hosts),
            metrics: Arc::default(),
            stop,
        }))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<AppState> for Arc<Limits> {
    fn from_ref(state: &AppState) -> Self {
        state.limits.clone()
    }
}

impl FromRef<AppState> for JsonBodies {
    fn from_ref(state: &AppState) -> Self {
        state.json_bodies.clone()
    }
}

impl FromRef<AppState> for TensorBodies {
    fn from_ref(state: &AppState) -> Self {
        state.tensor_bodies.clone()
    }
}

/// The whole API as one service.
pub fn router(state: AppState) -> Router {
    let around = Surroundings {
        limits: state.limits.clone(),
        metrics: state.metrics.clone(),
    };
    let document = openapi::document();
    let entrance = Entrance {
        hosts: state.hosts.clone(),
        authenticator: Authenticator {
            store: state.store.clone(),
            access: AccessTable::of(&document),
            last_uses: LastUses::new(state.store.clone()),
            rate: RateLimit::new(state.limits.requests_per_second),
        },
        contract: Contract::of(&document),
        runner: state.runner.clone(),
    };
    // A layer reaches the routes that stand before it.
    Router::from(openapi::routes())
        .route("/", get(system::redirect_to_docs))
        .route("/docs", get(system::redirect_to_docs))
        .route("/docs/", get(system::get_docs))
        .route("/docs/{*file}", get(system::get_docs))
        .fallback(request::no_such_route)
        .method_not_allowed_fallback(request::no_such_method)
        .with_state(state)
        .layer(from_fn_with_state(Arc::new((around, entrance)), pass))
}

/// What answers in its place on a connection that is one too many.
fn refusals(state: &AppState) -> Router {
    let around = Surroundings {
        limits: state.limits.clone(),
        metrics: state.metrics.clone(),
    };
    let surround = async |State(around): State<Arc<Surroundings>>, request, next: Next| {
        request::surround(&around, request, |request| next.run(request)).await
    };
    Router::new()
        .fallback(request::no_connection_left)
        .layer(from_fn_with_state(Arc::new(around), surround))
}

/// One layer for all that every request passes: each layer costs it several allocations.
async fn pass(State(passed): State<Arc<(Surroundings, Entrance)>>, request: Request, next: Next) -> Response {
    let (around, entrance) = &*passed;
    request::surround(around, request, |request| entrance.enter(request, next)).await
}

/// The document in a body, as handlers get it. Here for the fuzz targets.
#[doc(hidden)]
pub fn parse_json(bytes: &[u8]) -> Result<serde_json::Value, Problem> {
    extract::parse(bytes)
}

/// The OpenAPI document as `openapi/openapi.json` holds it and `/openapi.json` serves it.
pub fn document_json() -> String {
    openapi::DOCUMENT.clone()
}
