//! A session on its way in.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::registry::{Sessions, plan_of};
use super::state::State;
use crate::domain::id::{ModelId, SessionId};
use crate::domain::problem::{Kind, Problem};
use crate::domain::session::{OriginModel, Session, SessionOrigin};
use crate::domain::tenant::TenantId;
use crate::nn::network::Network;
use crate::nn::spec::{Fault, ModelSpec, Target};
use crate::nn::weights::LayerWeights;
use crate::store::Keep;
use crate::training::base::Base;

/// What a session begins with: a network as its client wrote it, or a trained one.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum NewSession {
    Network(NewNetwork),
    Model(FromModel),
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NewNetwork {
    /// Columns of x.
    #[schema(minimum = 1, maximum = 65536, example = 13)]
    pub inputs: usize,
    pub model: Box<ModelSpec>,
    /// First weights and dropout follow from it.
    #[schema(required = false, default = 0, maximum = 9_007_199_254_740_991u64)]
    pub seed: u64,
    /// One object a layer; left out: random ones.
    pub initial_weights: Option<Vec<LayerWeights>>,
}

/// A trained network with its optimizer's state.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FromModel {
    pub from_model: ModelId,
    /// Dropout follows from it.
    #[schema(required = false, default = 0, maximum = 9_007_199_254_740_991u64)]
    pub seed: u64,
}

impl Sessions {
    /// Errors: `invalid-spec` with every fault; `job-too-large`; `too-many-requests` when the tenant has as many sessions
    /// as it may have.
    pub async fn create(
        &self,
        tenant: &TenantId,
        new: NewSession,
        keep: Option<Keep<Session>>,
    ) -> Result<Session, Problem> {
        let (origin, plan, state) = match new {
            NewSession::Network(NewNetwork {
                inputs,
                model,
                seed,
                initial_weights,
            }) => {
                let plan = model.plan("/model", inputs, Target::Columns(None));
                let given = initial_weights.as_deref();
                let checked =
                    plan.and_then(
                        |plan| match given.map(|given| plan.check_weights(given, "/initial_weights")) {
                            Some(Err(faults)) => Err(faults),
                            _ => Ok(plan),
                        },
                    );
                let mut faults = self.0.options.network.faults(&model, "/model");
                let plan = match checked {
                    Ok(plan) if faults.is_empty() => plan,
                    checked => {
                        faults.extend(checked.err().into_iter().flatten());
                        return Err(refused(faults));
                    }
                };
                self.0.options.network.check_parameters(&plan)?;
                self.check_size(plan.memory_bytes(1, 1))?;
                let network = match given {
                    Some(given) => Network::from_weights(&plan, given, "/initial_weights").map_err(refused)?,
                    None => Network::initialize(&plan, seed),
                };
                let origin = SessionOrigin {
                    id: SessionId::generate(),
                    inputs,
                    network: plan.spec(),
                    seed,
                    model: None,
                    created_at: Timestamp::now(),
                };
                let state = State::new(&plan, network, None);
                (origin, plan, state)
            }
            NewSession::Model(FromModel { from_model: id, seed }) => {
                let base = Base::load(&self.0.store, tenant, id).await?;
                let fault = || Fault::new("/from_model", format!("there is no model {id}"));
                let base = base.ok_or_else(|| refused(vec![fault()]))?;
                let origin = SessionOrigin {
                    id: SessionId::generate(),
                    inputs: base.encoder.width(),
                    network: base.model.network.clone(),
                    seed,
                    model: Some(Box::new(OriginModel {
                        encoder: serde_json::to_string(&base.encoder).map_err(Problem::internal)?,
                        model: base.model,
                    })),
                    created_at: Timestamp::now(),
                };
                let plan = plan_of(&origin).map_err(refused)?;
                self.0.options.network.check_parameters(&plan)?;
                let network = Network::from_weights(&plan, &base.weights, "/from_model").map_err(refused)?;
                let state = State::new(&plan, network, Some(base.optimizer));
                (origin, plan, state)
            }
        };
        let (store, id, sealed) = (self.0.store.clone(), origin.id, state.seal());
        let work = Call::copy_of_state(&plan);
        self.0
            .compute(work, move || Ok(store.session_files().write(id, 0, &sealed)?))
            .await?;
        let session = self.0.opening(tenant.clone(), origin, plan, state.clone());
        let shown = self.0.shown(&session, &state);
        let most = self.0.options.max_sessions;
        let keep = keep.as_ref().map(|keep| (keep, &shown));
        let inserted = self.0.store.insert_session(tenant, &session.origin, most, keep);
        if !inserted.await? {
            let detail = format!(
                "There are {most} sessions already, which is the limit: delete one, or wait until one expires."
            );
            return Err(Problem::new(Kind::TooManyRequests, detail));
        }
        self.0.keep(session);
        Ok(shown)
    }

    fn check_size(&self, memory_bytes: u128) -> Result<(), Problem> {
        if memory_bytes <= u128::from(self.0.options.max_memory_bytes) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::JobTooLarge,
            "The network needs more memory than a session may have: take fewer units.",
        ))
    }
}

pub(super) fn refused(faults: Vec<Fault>) -> Problem {
    Problem::faults(Kind::InvalidSpec, "The session can't begin", faults)
}
