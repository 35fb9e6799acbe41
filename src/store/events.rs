//! What happened to a job, for its event stream and its history.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::{QueryBuilder, SqliteConnection};

use super::column::{bigint, damaged, from_json, to_json, unsigned};
use super::{Store, StoreError};
use crate::domain::event::{EpochRow, Event, EventKind};
use crate::domain::id::JobId;
use crate::domain::tenant::TenantId;

/// The data of an epoch's event.
#[derive(Serialize, Deserialize)]
struct EpochData {
    epoch: u32,
    metrics: Map<String, Value>,
}

impl EpochData {
    fn of(row: &EpochRow) -> Self {
        let figures = row.figures.iter();
        Self {
            epoch: row.epoch,
            // A figure that isn't finite becomes null.
            metrics: figures
                .map(|(name, value)| (name.clone(), Value::from(*value)))
                .collect(),
        }
    }

    fn into_row(self) -> EpochRow {
        let figures = self.metrics.into_iter();
        EpochRow {
            epoch: self.epoch,
            figures: figures.map(|(name, value)| (name, value.as_f64())).collect(),
        }
    }
}

impl Store {
    /// At most `limit` events after the one numbered `after` (0: from the first); none for an unknown job.
    pub async fn events_after(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let rows: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT number, kind, data FROM events WHERE tenant = $1 AND job = $2 AND number > $3
            ORDER BY number LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(job.to_string())
        .bind(bigint(after))
        .bind(i64::from(limit))
        .fetch_all(self.database().readers())
        .await?;
        let events = rows.into_iter().map(|(number, kind, data)| {
            Ok(Event {
                number: unsigned("event", number)?,
                kind: read_kind(&kind)?,
                data: from_json("event", &data)?,
            })
        });
        events.collect()
    }

    /// At most `limit` epochs after the epoch `after` (0: from the first), in order. Read long histories in pages.
    pub async fn history(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: u32,
        limit: u32,
    ) -> Result<Vec<EpochRow>, StoreError> {
        // An epoch's event has a greater number than the epoch: the key leads close to the page's first row.
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT data FROM events WHERE tenant = $1 AND job = $2 AND number > $3 AND epoch > $3
            ORDER BY number LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(job.to_string())
        .bind(i64::from(after))
        .bind(i64::from(limit))
        .fetch_all(self.database().readers())
        .await?;
        let epochs = rows
            .iter()
            .map(|data| Ok(from_json::<EpochData>("epoch", data)?.into_row()));
        epochs.collect()
    }
}

fn read_kind(name: &str) -> Result<EventKind, StoreError> {
    let kinds = [EventKind::Epoch, EventKind::Status, EventKind::Done];
    let kind = kinds.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| damaged("event", format!("it is of the kind {name:?}")))
}

/// Appends an event that isn't an epoch's, with the job's next number.
pub(super) async fn append_event(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    job: JobId,
    kind: EventKind,
    data: &str,
) -> Result<(), StoreError> {
    let number = take_numbers(write, tenant, job, 1).await?;
    sqlx::query("INSERT INTO events (tenant, job, number, kind, data) VALUES ($1, $2, $3, $4, $5)")
        .bind(tenant.as_str())
        .bind(job.to_string())
        .bind(number)
        .bind(kind.name())
        .bind(data)
        .execute(write)
        .await?;
    Ok(())
}

/// Epochs of one insert: each statement costs two changes of threads, and a small network has ten thousand epochs a second.
const EPOCHS_AT_ONCE: usize = 1000;

/// Appends the events of epochs.
pub(super) async fn append_epochs(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    job: JobId,
    epochs: &[EpochRow],
) -> Result<(), StoreError> {
    let first = take_numbers(write, tenant, job, epochs.len()).await?;
    let job = job.to_string();
    let numbered: Vec<(i64, &EpochRow)> = (first..).zip(epochs).collect();
    for rows in numbered.chunks(EPOCHS_AT_ONCE) {
        let mut insert = QueryBuilder::new("INSERT INTO events (tenant, job, number, kind, epoch, data) ");
        insert.push_values(rows, |mut values, (number, row)| {
            values
                .push_bind(tenant.as_str())
                .push_bind(&job)
                .push_bind(*number)
                .push("'epoch'")
                .push_bind(i64::from(row.epoch))
                .push_bind(to_json(&EpochData::of(row)));
        });
        insert.build().execute(&mut *write).await?;
    }
    Ok(())
}

/// The figures as the job's progress shows them.
pub(super) fn metrics_json(row: &EpochRow) -> String {
    to_json(&EpochData::of(row).metrics)
}

/// Takes the job's next `count` event numbers; the first of them.
async fn take_numbers(
    write: &mut SqliteConnection,
    tenant: &TenantId,
    job: JobId,
    count: usize,
) -> Result<i64, StoreError> {
    let first = sqlx::query_scalar(
        "UPDATE jobs SET last_event = last_event + $3 WHERE tenant = $1 AND id = $2 RETURNING last_event - $3 + 1",
    )
    .bind(tenant.as_str())
    .bind(job.to_string())
    .bind(bigint(count as u64))
    .fetch_one(write)
    .await?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ProgressUpdate, samples};

    #[tokio::test]
    async fn events_and_history_are_read_in_pages_from_anywhere() {
        let (_directory, store) = samples::open().await;
        let claim = samples::running(&store).await;
        let (tenant, id) = (claim.tenant.clone(), claim.job.id);
        let rows = samples::epochs(1..=500);
        for batch in rows.chunks(120) {
            let update = ProgressUpdate {
                epochs: batch,
                ..ProgressUpdate::default()
            };
            store.record_progress(&claim, update).await.unwrap();
        }
        store.request_cancel(&tenant, id).await.unwrap();
        let more = samples::epochs(501..=510);
        store
            .record_progress(
                &claim,
                ProgressUpdate {
                    epochs: &more,
                    ..ProgressUpdate::default()
                },
            )
            .await
            .unwrap();
        let all = [rows, more].concat();

        let mut read: Vec<EpochRow> = Vec::new();
        for _ in 0..all.len().div_ceil(77) {
            let after = read.last().map_or(0, |row| row.epoch);
            read.extend(store.history(&tenant, id, after, 77).await.unwrap());
        }
        assert_eq!(read, all);
        assert_eq!(store.history(&tenant, id, 499, 3).await.unwrap(), all[499..502]);
        assert_eq!(store.history(&tenant, id, 510, 3).await.unwrap(), []);

        let events = store.events_after(&tenant, id, 500, 5).await.unwrap();
        let numbers: Vec<_> = events.iter().map(|event| (event.number, event.kind)).collect();
        let (epoch, status) = (EventKind::Epoch, EventKind::Status);
        assert_eq!(
            numbers,
            [(501, epoch), (502, epoch), (503, status), (504, epoch), (505, epoch)]
        );
        assert_eq!(
            events[0].data.to_string(),
            r#"{"epoch":499,"metrics":{"loss":0.002004008016032064,"accuracy":null}}"#
        );
        assert_eq!(events[2].data.to_string(), r#"{"status":"cancelling","attempt":1}"#);
        assert_eq!(samples::told(&store, id).await.len(), 2 + 510 + 1);
    }
}
