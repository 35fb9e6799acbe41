//! A model out of a session.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::open_session::OpenSession;
use super::registry::Sessions;
use super::state::State;
use crate::data::encoder::{Encoder, NumericScaling, TargetEncoding, TargetSpec};
use crate::data::table::{Table, TableColumn, Values};
use crate::domain::artifact::{self, Kind as Artifact};
use crate::domain::id::{ModelId, SessionId};
use crate::domain::job_spec::PreprocessingSpec;
use crate::domain::model::{Model, ModelParts, TaskKind};
use crate::domain::problem::{Kind, Problem};
use crate::domain::session::OriginModel;
use crate::domain::tenant::TenantId;
use crate::nn::spec::Plan;
use crate::store::{Insertion, Keep, NewModel};

impl Sessions {
    /// Stores the session's network as a model, if it fits into the `storage_bytes` that its tenant may have; the session
    /// goes on.
    ///
    /// One that began from a model keeps its preprocessing, columns and classes. Else the columns are named `x1`, `x2`, …
    /// and taken as they are, the target `y`, and classes by their numbers from 0. Errors: `conflict` for a network of
    /// several outputs that are no classes: a model predicts a class or one number.
    pub async fn save(
        &self,
        tenant: &TenantId,
        id: SessionId,
        name: Option<String>,
        storage_bytes: u64,
        keep: Option<Keep<Model>>,
    ) -> Result<Model, Problem> {
        let session = self.0.open(tenant, id).await?;
        let new = {
            let state = session.state().await?;
            new_model(&session, &state, name)?
        };
        let store = &self.0.store;
        match store.insert_model(tenant, &new, storage_bytes, keep.as_ref()).await? {
            Insertion::Inserted => Ok(new.model),
            Insertion::NoRoom { used_bytes } => Err(Problem::no_room(used_bytes, storage_bytes)),
        }
    }
}

fn new_model(session: &OpenSession, state: &State, name: Option<String>) -> Result<NewModel, Problem> {
    let (origin, plan) = (&session.origin, &session.setting.plan);
    let weights = state.network.weights();
    let begun = origin.model.as_deref();
    let encoder = match begun {
        Some(OriginModel { encoder, .. }) => serde_json::from_str(encoder).map_err(Problem::internal)?,
        None => plain_encoder(plan)?,
    };
    let begun = begun.map(|origin| &origin.model);
    let classes = encoder.target().classes().map(<[String]>::to_vec);
    let model = Model {
        id: ModelId::generate(),
        name: name
            .or_else(|| begun.map(|model| model.name.clone()))
            .unwrap_or_else(|| "session".to_owned()),
        task: if classes.is_some() {
            TaskKind::Classification
        } else {
            TaskKind::Regression
        },
        inputs: encoder.inputs(),
        target: encoder.target().column.clone(),
        classes,
        parameters: plan.parameters(),
        metrics: BTreeMap::new(),
        epochs: begun.map_or(0, |model| model.epochs),
        job: None,
        dataset: begun.and_then(|model| model.dataset),
        network: origin.network.clone(),
        preprocessing: begun.map_or(UNCHANGED, |model| model.preprocessing.clone()),
        training: None,
        weights_sha256: artifact::weights_sha256(&weights),
        created_at: Timestamp::now(),
    };
    let parts = ModelParts {
        encoder: serde_json::to_string(&encoder).map_err(Problem::internal)?,
        weights: artifact::seal(Artifact::Weights, &weights),
        optimizer_state: artifact::seal(Artifact::Optimizer, &state.optimizer),
    };
    Ok(NewModel { model, parts })
}

const UNCHANGED: PreprocessingSpec = PreprocessingSpec {
    numeric: NumericScaling::None,
};

/// The preprocessing of a session's rows: none.
fn plain_encoder(plan: &Plan) -> Result<Encoder, Problem> {
    let encoding = match (plan.loss.is_crossentropy(), plan.outputs) {
        (true, 1) => TargetEncoding::Binary { classes: numbered(2) },
        (true, classes) => TargetEncoding::OneHot {
            classes: numbered(classes),
        },
        (false, 1) => TargetEncoding::Number,
        (false, outputs) => {
            let detail = format!("A model predicts a class or one number, and this network has {outputs} outputs.");
            return Err(Problem::new(Kind::Conflict, detail));
        }
    };
    let target = TargetSpec {
        column: "y".to_owned(),
        encoding,
    };
    let features: Vec<String> = (1..=plan.inputs).map(|place| format!("x{place}")).collect();
    let column = |name: &String| TableColumn {
        name: name.clone(),
        values: Values::Number(vec![0.0]),
    };
    let columns = features.iter().chain([&target.column]).map(column);
    let table = Table {
        rows: 1,
        columns: columns.collect(),
    };
    Ok(Encoder::fit(&table, &[0], &features, target, NumericScaling::None)?)
}

fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}
