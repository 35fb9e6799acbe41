//! The sessions in use, each by one call at a time; those that nobody uses leave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Call, Outputs};
use super::open_session::OpenSession;
use super::options::SessionOptions;
use super::state::{Setting, State};
use crate::domain::id::SessionId;
use crate::domain::model::TaskKind;
use crate::domain::problem::Problem;
use crate::domain::session::{Session, SessionOrigin};
use crate::domain::tenant::TenantId;
use crate::nn::spec::{Fault, Plan, Target};
use crate::nn::weights::{LayerWeights, Tensor};
use crate::store::Store;

/// How often sessions that nobody uses are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// About a millisecond's worth.
const QUICK_MULTIPLY_ADDS: u128 = 20_000_000;

/// All sessions; cloning it is cheap.
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) options: SessionOptions,
    open: Mutex<HashMap<SessionId, Arc<OpenSession>>>,
    /// One load at a time, so that no session is open twice.
    loading: tokio::sync::Mutex<()>,
    workers: Arc<Semaphore>,
}

/// A call that changed its session, or did so before.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub answer: Answer,
    /// What the arithmetic took.
    pub computed: Duration,
    /// What it took to write the state into its file.
    pub saved: Duration,
}

impl Sessions {
    /// Starts to look after the sessions of the store, until `shutdown`.
    pub fn start(store: Store, options: SessionOptions, shutdown: CancellationToken) -> Self {
        let sessions = Self(Arc::new(Shared {
            store,
            workers: Arc::new(Semaphore::new(options.workers)),
            options,
            open: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        }));
        tokio::spawn(sessions.clone().delete_idle_ones(shutdown));
        sessions
    }

    pub fn options(&self) -> &SessionOptions {
        &self.0.options
    }

    pub async fn get(&self, tenant: &TenantId, id: SessionId) -> Result<Session, Problem> {
        let session = self.0.open(tenant, id).await?;
        let state = session.state().await?;
        Ok(self.0.shown(&session, &state))
    }

    pub async fn weights(&self, tenant: &TenantId, id: SessionId) -> Result<Vec<LayerWeights>, Problem> {
        Ok(self.0.open(tenant, id).await?.state().await?.network.weights())
    }

    /// Outputs in inference mode; changes nothing.
    pub async fn predict(&self, tenant: &TenantId, id: SessionId, x: Tensor) -> Result<Outputs, Problem> {
        let session = self.0.open(tenant, id).await?;
        let state = session.state().await?;
        let work = session
            .setting
            .plan
            .multiply_adds(x.shape.first().map_or(0, |&rows| rows as u64));
        self.0.compute(work, move || state.predict(&session.setting, x)).await
    }

    /// Applies a call that changes the session, or gives its first answer again.
    ///
    /// `seq`: the number of the call, 1 for the first; without it the call is the next. Errors: `conflict` for a number
    /// out of turn; then, and on every other error, nothing has changed.
    pub async fn change(
        &self,
        tenant: &TenantId,
        id: SessionId,
        seq: Option<u64>,
        call: Call,
    ) -> Result<Applied, Problem> {
        let session = self.0.open(tenant, id).await?;
        let mut state = session.state().await?;
        let (store, work) = (self.0.store.clone(), call.multiply_adds(&session.setting.plan));
        let change = move || {
            let started = Instant::now();
            let (answer, next) = state.after(&session.setting, seq, call)?;
            let computed = started.elapsed();
            if let Some(next) = next {
                store.session_files().write(id, next.sequence.applied(), &next.seal())?;
                *state = next;
            }
            let saved = started.elapsed() - computed;
            Ok(Applied {
                answer,
                computed,
                saved,
            })
        };
        self.0.compute(work, change).await
    }

    /// How many layers its network has.
    pub async fn layers(&self, tenant: &TenantId, id: SessionId) -> Result<usize, Problem> {
        Ok(self.0.open(tenant, id).await?.setting.plan.layers.len())
    }

    pub async fn delete(&self, tenant: &TenantId, id: SessionId) -> Result<(), Problem> {
        let session = self.0.open(tenant, id).await?;
        self.0.delete(&session).await
    }

    async fn delete_idle_ones(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = sleep(SWEEP_EVERY) => {}
                () = shutdown.cancelled() => return,
            }
            if let Err(problem) = self.0.delete_idle(SystemTime::now()).await {
                tracing::warn!(error = ?problem.source, "sessions that nobody uses could not be deleted");
            }
        }
    }
}

impl Shared {
    /// The session, from memory or from what is stored.
    pub(super) async fn open(&self, tenant: &TenantId, id: SessionId) -> Result<Arc<OpenSession>, Problem> {
        if let Some(session) = self.opened(id) {
            return session.of(tenant);
        }
        let _one_at_a_time = self.loading.lock().await;
        if let Some(session) = self.opened(id) {
            return session.of(tenant);
        }
        let session = self
            .load(tenant, id)
            .await?
            .ok_or_else(|| Problem::not_found("session"))?;
        Ok(self.keep(session))
    }

    async fn load(&self, tenant: &TenantId, id: SessionId) -> Result<Option<OpenSession>, Problem> {
        let Some(origin) = self.store.session_origin(tenant, id).await? else {
            return Ok(None);
        };
        let plan = plan_of(&origin).map_err(|faults| Problem::internal(format!("a stored session: {faults:?}")))?;
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.session_files().read(id)).await;
        let mut states = Vec::new();
        for bytes in read.map_err(Problem::internal)?? {
            match State::open(&plan, &bytes) {
                Ok(state) => states.push(state),
                Err(error) => tracing::warn!(session = %id, %error, "a state can't be used; the one before it is"),
            }
        }
        let newest = states.into_iter().max_by_key(|state| state.sequence.applied());
        Ok(newest.map(|state| self.opening(tenant.clone(), origin, plan, state)))
    }

    /// A session that is about to be used.
    pub(super) fn opening(&self, tenant: TenantId, origin: SessionOrigin, plan: Plan, state: State) -> OpenSession {
        let setting = Setting {
            plan,
            seed: origin.seed,
            max_memory_bytes: self.options.max_memory_bytes,
        };
        OpenSession::new(tenant, origin, setting, state)
    }

    /// Keeps a session in memory, and lets those go that were used longest ago and that no call has now.
    pub(super) fn keep(&self, session: OpenSession) -> Arc<OpenSession> {
        let (id, session) = (session.origin.id, Arc::new(session));
        let mut open = lock(&self.open);
        open.insert(id, session.clone());
        while open.values().map(|session| session.size_bytes()).sum::<u64>() > self.options.cache_bytes {
            let idle = open.iter().filter(|(_, session)| Arc::strong_count(session) == 1);
            let Some(oldest) = idle.min_by_key(|(_, session)| session.used_at()).map(|(id, _)| *id) else {
                break;
            };
            open.remove(&oldest);
        }
        session
    }

    fn opened(&self, id: SessionId) -> Option<Arc<OpenSession>> {
        let session = lock(&self.open).get(&id).cloned()?;
        session.set_used_at(SystemTime::now());
        Some(session)
    }

    /// Runs work of so many multiply-adds, so many calls at a time: a little where it came in, since a call that takes a
    /// millisecond shouldn't wait for two changes of thread; more on a thread that may take its time.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        multiply_adds: u128,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let worker = self.workers.clone().acquire_owned().await.map_err(Problem::internal)?;
        if multiply_adds <= QUICK_MULTIPLY_ADDS {
            return work();
        }
        let work = move || {
            let _worker = worker;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
    }

    pub(super) fn shown(&self, session: &OpenSession, state: &State) -> Session {
        let OpenSession { origin, setting, .. } = session;
        let used_at = session.used_at();
        Session {
            id: origin.id,
            inputs: origin.inputs,
            outputs: setting.plan.outputs,
            network: origin.network.clone(),
            parameters: setting.plan.parameters(),
            seed: origin.seed,
            from_model: origin.model.as_ref().map(|origin| origin.model.id),
            seq: state.sequence.applied(),
            step: state.optimizer.step,
            created_at: origin.created_at,
            expires_at: Timestamp::try_from(used_at + self.options.idle).unwrap_or(Timestamp::MAX),
        }
    }

    async fn delete(&self, session: &OpenSession) -> Result<(), Problem> {
        let (tenant, id) = (&session.tenant, session.origin.id);
        let delete = async || {
            self.store.delete_session(tenant, id).await?;
            Ok(())
        };
        session.end(delete).await?;
        lock(&self.open).remove(&id);
        Ok(())
    }

    /// Deletes the sessions that nobody used for too long.
    async fn delete_idle(&self, now: SystemTime) -> Result<(), Problem> {
        for (tenant, id) in self.store.all_sessions().await? {
            let files = self.store.session_files();
            let in_memory = lock(&self.open).get(&id).map(|session| session.used_at());
            let used_at = in_memory.max(files.used_at(id)).unwrap_or(SystemTime::UNIX_EPOCH);
            if now.duration_since(used_at).is_ok_and(|idle| idle > self.options.idle) {
                match self.open(&tenant, id).await {
                    Ok(session) => self.delete(&session).await?,
                    // Damaged beyond use.
                    Err(_) => drop(self.store.delete_session(&tenant, id).await?),
                }
            } else if in_memory.is_some() {
                // A restart finds out from the file.
                files.touch(id, used_at)?;
            }
        }
        Ok(())
    }
}

/// The plan of a stored session.
pub(super) fn plan_of(origin: &SessionOrigin) -> Result<Plan, Vec<Fault>> {
    let target = match &origin.model {
        None => Target::Columns(None),
        Some(origin) => match (&origin.model.task, &origin.model.classes) {
            (TaskKind::Classification, Some(classes)) => Target::Classes(classes.len()),
            _ => Target::Regression,
        },
    };
    origin.network.plan("/model", origin.inputs, target)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::open_session::MAX_WAITING;
    use super::super::requests::{NewNetwork, NewSession};
    use super::*;
    use crate::domain::problem::Kind;

    async fn begin(sessions: &Sessions, seed: u64) -> SessionId {
        let new = NewSession::Network(NewNetwork {
            inputs: 2,
            model: serde_json::from_str(r#"{"layers": [{"type": "dense", "units": 1}], "loss": "mse"}"#).unwrap(),
            seed,
            initial_weights: None,
        });
        sessions.create(&TenantId::default(), new, None).await.unwrap().id
    }

    #[tokio::test]
    async fn a_session_that_nobody_used_for_too_long_is_deleted_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let sessions = Sessions::start(store, SessionOptions::default(), CancellationToken::new());
        let tenant = TenantId::default();
        let (idle, used) = (begin(&sessions, 0).await, begin(&sessions, 0).await);
        let idle_for = sessions.0.options.idle;
        let later = SystemTime::now() + idle_for + Duration::from_secs(1);
        sessions.0.opened(used).unwrap().set_used_at(later);
        sessions.0.delete_idle(later).await.unwrap();
        assert!(sessions.get(&tenant, idle).await.is_err());
        assert!(sessions.get(&tenant, used).await.is_ok());
        // That it was used is still known when it is no longer in memory.
        sessions.0.opened(used).unwrap().set_used_at(later);
        sessions.0.delete_idle(later).await.unwrap();
        lock(&sessions.0.open).clear();
        sessions.0.delete_idle(later + idle_for / 2).await.unwrap();
        assert!(sessions.get(&tenant, used).await.is_ok());
        lock(&sessions.0.open).clear();
        sessions.0.delete_idle(later + 2 * idle_for).await.unwrap();
        assert!(sessions.get(&tenant, used).await.is_err());
    }

    #[tokio::test]
    async fn so_many_calls_wait_for_a_session_and_the_next_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let sessions = Sessions::start(store, SessionOptions::default(), CancellationToken::new());
        let session = sessions.0.opened(begin(&sessions, 0).await).unwrap();
        let under_way = session.state().await.unwrap();
        let mut waiting = Vec::from_iter((0..MAX_WAITING).map(|_| Box::pin(session.state())));
        for call in &mut waiting {
            assert!(call.as_mut().now_or_never().is_none());
        }
        let refused = session.state().now_or_never().unwrap().err().unwrap();
        assert_eq!(refused.kind, Kind::Unavailable);
        drop(under_way);
        for call in waiting {
            drop(call.await.unwrap());
        }
        assert!(session.state().now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn sessions_leave_memory_when_there_are_many_and_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let options = SessionOptions {
            cache_bytes: 250_000,
            ..SessionOptions::default()
        };
        let sessions = Sessions::start(store, options, CancellationToken::new());
        let tenant = TenantId::default();
        let mut begun = Vec::new();
        for seed in 0..5 {
            let id = begin(&sessions, seed).await;
            begun.push((id, sessions.weights(&tenant, id).await.unwrap()));
        }
        assert_eq!(lock(&sessions.0.open).len(), 2);
        for (id, weights) in begun {
            assert_eq!(sessions.weights(&tenant, id).await.unwrap(), weights);
        }
    }
}
