//! Sessions: a row says what each was made of, two files what its calls have come to.
//!
//! A session's state is written at every call, far more often than a disk can be made to sync. So it doesn't go through
//! the database: calls write the two files in turn, the even ones the first and the odd ones the second, and a file that
//! was cut short leaves the other. What was written is there after the process is killed at any moment; after a power cut
//! the calls of the last seconds may be gone.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::column::{bigint, from_json, parsed, to_json};
use super::{Keep, Store, StoreError};
use crate::crash_point::crash_point;
use crate::domain::id::SessionId;
use crate::domain::session::{Session, SessionOrigin};
use crate::domain::tenant::TenantId;

/// The folder of sessions' states. All its work blocks.
#[derive(Debug)]
pub struct SessionFiles {
    folder: PathBuf,
}

impl SessionFiles {
    pub(super) fn prepare(directory: &Path) -> Result<Self, StoreError> {
        let folder = directory.join("sessions");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Stores the state after so many changing calls.
    pub fn write(&self, id: SessionId, calls: u64, state: &[u8]) -> Result<(), StoreError> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path(id, calls % 2))?;
        file.write_all(state)?;
        file.set_len(state.len() as u64)?;
        crash_point!("session-written");
        Ok(())
    }

    /// The states that are stored, in no order; one may be cut short.
    pub fn read(&self, id: SessionId) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut states = Vec::new();
        for turn in 0..2 {
            match fs::read(self.path(id, turn)) {
                Ok(state) => states.push(state),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(states)
    }

    /// When a session was last used, as far as [`Self::write`] and [`Self::touch`] were told; `None` without files.
    pub fn used_at(&self, id: SessionId) -> Option<SystemTime> {
        let modified = |turn| {
            fs::metadata(self.path(id, turn))
                .and_then(|found| found.modified())
                .ok()
        };
        modified(0).max(modified(1))
    }

    /// Notes that a session was used, where that wrote nothing.
    pub fn touch(&self, id: SessionId, used_at: SystemTime) -> Result<(), StoreError> {
        let file = File::options().write(true).open(self.path(id, 0))?;
        Ok(file.set_modified(used_at)?)
    }

    fn remove(&self, id: SessionId) -> Result<(), StoreError> {
        for turn in 0..2 {
            match fs::remove_file(self.path(id, turn)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, id: SessionId, turn: u64) -> PathBuf {
        self.folder.join(format!("{id}.{turn}"))
    }

    fn sweep(&self, known: &HashSet<String>) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if !path
                .file_stem()
                .is_some_and(|id| known.contains(&*id.to_string_lossy()))
            {
                tracing::info!(file = ?path.file_name(), "a state that no session names is removed");
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// The states of sessions.
    pub fn session_files(&self) -> &SessionFiles {
        &self.0.sessions
    }

    /// Stores a new session whose first state is written, unless its tenant has `max_sessions`: then false. `keep` is kept
    /// with the session as its client sees it.
    pub async fn insert_session(
        &self,
        tenant: &TenantId,
        origin: &SessionOrigin,
        max_sessions: u64,
        keep: Option<(&Keep<Session>, &Session)>,
    ) -> Result<bool, StoreError> {
        let mut write = self.database().begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO sessions (tenant, id, origin, created_at)
            SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM sessions WHERE tenant = $1) < $5",
        )
        .bind(tenant.as_str())
        .bind(origin.id.to_string())
        .bind(to_json(origin))
        .bind(origin.created_at.to_string())
        .bind(bigint(max_sessions))
        .execute(&mut *write)
        .await?;
        let has_room = inserted.rows_affected() == 1;
        if has_room && let Some((keep, session)) = keep {
            keep.insert(&mut write, session).await?;
        }
        self.database().commit(write).await?;
        if !has_room {
            self.session_files().remove(origin.id)?;
        }
        Ok(has_room)
    }

    pub async fn session_origin(&self, tenant: &TenantId, id: SessionId) -> Result<Option<SessionOrigin>, StoreError> {
        let origin: Option<String> = sqlx::query_scalar("SELECT origin FROM sessions WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id.to_string())
            .fetch_optional(self.database().readers())
            .await?;
        origin.map(|origin| from_json("session", &origin)).transpose()
    }

    /// Forgets a session; false where there was none.
    pub async fn delete_session(&self, tenant: &TenantId, id: SessionId) -> Result<bool, StoreError> {
        let mut write = self.database().begin_freeing().await?;
        let deleted = sqlx::query("DELETE FROM sessions WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id.to_string())
            .execute(&mut *write)
            .await?;
        self.database().commit(write).await?;
        if deleted.rows_affected() == 0 {
            return Ok(false);
        }
        self.session_files().remove(id)?;
        Ok(true)
    }

    /// All sessions of all tenants, for who looks after those that nobody uses.
    pub async fn all_sessions(&self) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT tenant, id FROM sessions")
            .fetch_all(self.database().readers())
            .await?;
        rows.into_iter()
            .map(|(tenant, id)| Ok((TenantId::new(tenant), parsed("session", &id)?)))
            .collect()
    }

    /// Removes states that no row names: of sessions whose making or deleting a crash cut short.
    pub(super) async fn sweep_sessions(&self) -> Result<(), StoreError> {
        let known = self
            .all_sessions()
            .await?
            .into_iter()
            .map(|(_, id)| id.to_string())
            .collect();
        self.session_files().sweep(&known)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::nn::spec::ModelSpec;
    use crate::store::samples;

    fn origin() -> SessionOrigin {
        SessionOrigin {
            id: SessionId::generate(),
            inputs: 3,
            network: ModelSpec::default(),
            seed: 7,
            model: None,
            created_at: Timestamp::now(),
        }
    }

    #[tokio::test]
    async fn a_session_survives_a_crash_with_its_last_two_states() {
        let (directory, store) = samples::open().await;
        let origin = origin();
        for (calls, state) in [&b"zero"[..], b"one", b"a much longer second", b"three", b"four"]
            .iter()
            .enumerate()
        {
            store.session_files().write(origin.id, calls as u64, state).unwrap();
        }
        assert!(
            store
                .insert_session(&samples::tenant(), &origin, 9, None)
                .await
                .unwrap()
        );
        let store = samples::crash(&directory, store).await;
        assert_eq!(
            store.session_origin(&samples::tenant(), origin.id).await.unwrap(),
            Some(origin.clone())
        );
        assert_eq!(
            store.session_origin(&TenantId::new("other"), origin.id).await.unwrap(),
            None
        );
        let mut states = store.session_files().read(origin.id).unwrap();
        states.sort();
        assert_eq!(states, [b"four".to_vec(), b"three".to_vec()]);
    }

    #[tokio::test]
    async fn a_tenant_has_so_many_sessions_and_no_more() {
        let (_directory, store) = samples::open().await;
        for fits in [true, true, false] {
            assert_eq!(
                store
                    .insert_session(&samples::tenant(), &origin(), 2, None)
                    .await
                    .unwrap(),
                fits
            );
        }
        assert!(
            store
                .insert_session(&TenantId::new("other"), &origin(), 2, None)
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn a_deleted_session_leaves_nothing_and_a_start_removes_what_a_crash_left() {
        let (directory, store) = samples::open().await;
        let (kept, deleted, half_made) = (origin(), origin(), origin());
        for origin in [&kept, &deleted, &half_made] {
            store.session_files().write(origin.id, 0, b"state").unwrap();
        }
        for origin in [&kept, &deleted] {
            assert!(store.insert_session(&samples::tenant(), origin, 9, None).await.unwrap());
        }
        assert!(!store.delete_session(&TenantId::new("other"), deleted.id).await.unwrap());
        assert!(store.delete_session(&samples::tenant(), deleted.id).await.unwrap());
        let store = samples::crash(&directory, store).await;
        let stored = |origin: &SessionOrigin| store.session_files().read(origin.id).unwrap().len();
        assert_eq!([stored(&kept), stored(&deleted), stored(&half_made)], [1, 0, 0]);
    }

    #[tokio::test]
    async fn a_use_that_writes_nothing_is_noted_all_the_same() {
        let (_directory, store) = samples::open().await;
        let (files, id) = (store.session_files(), SessionId::generate());
        assert_eq!(files.used_at(id), None);
        files.write(id, 0, b"state").unwrap();
        let later = files.used_at(id).unwrap() + Duration::from_secs(100);
        files.touch(id, later).unwrap();
        assert_eq!(files.used_at(id), Some(later));
    }
}
