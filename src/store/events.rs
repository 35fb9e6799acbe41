//! What happened to a job, for its event stream and its history.

use super::{Store, StoreError};
use crate::domain::event::{EpochRow, Event};
use crate::domain::id::JobId;
use crate::domain::tenant::TenantId;

impl Store {
    /// At most `limit` events after the one numbered `after` (0: from the first); none for an unknown job.
    pub async fn events_after(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        unimplemented!()
    }

    /// At most `limit` epochs after the epoch `after` (0: from the first), in order. Read long histories in pages.
    pub async fn history(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<EpochRow>, StoreError> {
        unimplemented!()
    }
}
