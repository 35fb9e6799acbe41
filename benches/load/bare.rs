//! What trainyard's predictions are compared with: an axum handler that reads the same JSON, has the same model in memory and
//! gives the same answer, and nothing around it.

use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use trainyard::domain::tenant::TenantId;
use trainyard::serving::{Detail, Predictions, Predictor, Serving};
use trainyard::store::Store;

/// Serves the model of a data folder, at the path it has in trainyard, until the process is killed.
pub(crate) fn serve(data_dir: &Path, model: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(data_dir).await.expect("the data folder");
        let id = model.parse().expect("a model's id");
        let serving = Serving::new(store, 1 << 28);
        let predictor = serving.get(&TenantId::default(), id).await.expect("the model");
        let router = Router::new()
            .route("/v1/models/{id}/predict", post(predict))
            .with_state(predictor);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("ready: http://{}", listener.local_addr().expect("an address"));
        axum::serve(listener, router).await.expect("it serves");
    });
}

async fn predict(State(predictor): State<Arc<Predictor>>, Json(body): Json<Value>) -> Json<Predictions> {
    let instances = body["instances"].as_array().expect("instances");
    Json(
        predictor
            .predict(instances, "/instances", Detail::default())
            .expect("a prediction"),
    )
}
