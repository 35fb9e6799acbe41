//! The rows of uploaded tables, and their content's coming and going.

use std::collections::HashSet;

use sqlx::{Connection, SqliteConnection};

use super::column::{bigint, from_json, parsed, to_json, unsigned};
use super::jobs::unfinished_job_on;
use super::usage::storage_bytes;
use super::{Deletion, Keep, StagedBlob, Store, StoreError};
use crate::crash_point::crash_point;
use crate::domain::dataset::Dataset;
use crate::domain::id::DatasetId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenant::TenantId;

#[derive(sqlx::FromRow)]
struct DatasetRow {
    id: String,
    name: String,
    row_count: i64,
    size_bytes: i64,
    sha256: String,
    source: String,
    columns: String,
    created_at: String,
}

impl DatasetRow {
    fn read(self) -> Result<Dataset, StoreError> {
        const WHAT: &str = "dataset";
        Ok(Dataset {
            id: parsed(WHAT, &self.id)?,
            name: self.name,
            rows: unsigned(WHAT, self.row_count)?,
            size_bytes: unsigned(WHAT, self.size_bytes)?,
            sha256: self.sha256,
            created_at: parsed(WHAT, &self.created_at)?,
            source: from_json(WHAT, &self.source)?,
            columns: from_json(WHAT, &self.columns)?,
        })
    }
}

/// What became of something new that takes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    Inserted,
    /// The tables and models of its tenant have so many bytes without it.
    NoRoom {
        used_bytes: u64,
    },
}

impl Store {
    /// Gives the content its place and stores the row that names it, durable when this returns, unless the tables and
    /// models of its tenant would come to more than `max_bytes`.
    pub async fn insert_dataset(
        &self,
        tenant: &TenantId,
        dataset: &Dataset,
        content: StagedBlob,
        max_bytes: u64,
        keep: Option<&Keep<Dataset>>,
    ) -> Result<Insertion, StoreError> {
        let mut writer = self.database().writer().await?;
        let inserted = self
            .place_and_insert(&mut writer, tenant, dataset, content, max_bytes, keep)
            .await;
        if inserted.is_err()
            && let Err(error) = self.remove_unnamed_blob(&mut writer, &dataset.sha256).await
        {
            tracing::warn!(%error, sha256 = dataset.sha256, "a content without a dataset stays until the next start");
        }
        drop(writer);
        self.database().keep_log_small().await;
        inserted
    }

    async fn place_and_insert(
        &self,
        writer: &mut SqliteConnection,
        tenant: &TenantId,
        dataset: &Dataset,
        content: StagedBlob,
        max_bytes: u64,
        keep: Option<&Keep<Dataset>>,
    ) -> Result<Insertion, StoreError> {
        self.database().check_room(0)?;
        let mut write = writer.begin_with("BEGIN IMMEDIATE").await?;
        let used_bytes = storage_bytes(&mut write, tenant).await?;
        if used_bytes.saturating_add(dataset.size_bytes) > max_bytes {
            return Ok(Insertion::NoRoom { used_bytes });
        }
        self.blobs().place(content)?;
        crash_point!("dataset-placed");
        sqlx::query(
            "INSERT INTO datasets (tenant, id, name, row_count, size_bytes, sha256, source, columns, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(tenant.as_str())
        .bind(dataset.id.to_string())
        .bind(&dataset.name)
        .bind(bigint(dataset.rows))
        .bind(bigint(dataset.size_bytes))
        .bind(&dataset.sha256)
        .bind(to_json(&dataset.source))
        .bind(to_json(&dataset.columns))
        .bind(dataset.created_at.to_string())
        .execute(&mut *write)
        .await?;
        if let Some(keep) = keep {
            keep.insert(&mut write, dataset).await?;
        }
        write.commit().await?;
        crash_point!("dataset-committed");
        Ok(Insertion::Inserted)
    }

    pub async fn get_dataset(&self, tenant: &TenantId, id: DatasetId) -> Result<Option<Dataset>, StoreError> {
        let row: Option<DatasetRow> = sqlx::query_as(
            "SELECT id, name, row_count, size_bytes, sha256, source, columns, created_at
            FROM datasets WHERE tenant = $1 AND id = $2",
        )
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(self.database().readers())
        .await?;
        row.map(DatasetRow::read).transpose()
    }

    pub async fn list_datasets(
        &self,
        tenant: &TenantId,
        page: PageRequest<DatasetId>,
    ) -> Result<Page<Dataset, DatasetId>, StoreError> {
        let rows: Vec<DatasetRow> = sqlx::query_as(
            "SELECT id, name, row_count, size_bytes, sha256, source, columns, created_at
            FROM datasets WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(page.before())
        .bind(page.rows_to_read())
        .fetch_all(self.database().readers())
        .await?;
        let datasets = rows.into_iter().map(DatasetRow::read).collect::<Result<_, _>>()?;
        Ok(page.of(datasets, |dataset| dataset.id))
    }

    /// Deletes a dataset that no unfinished job needs, and its content with the last dataset that has it.
    pub async fn delete_dataset(&self, tenant: &TenantId, id: DatasetId) -> Result<Deletion, StoreError> {
        let mut writer = self.database().writer().await?;
        let mut write = writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(job) = unfinished_job_on(&mut write, tenant, id).await? {
            return Ok(Deletion::InUse(job));
        }
        let sha256: Option<String> =
            sqlx::query_scalar("DELETE FROM datasets WHERE tenant = $1 AND id = $2 RETURNING sha256")
                .bind(tenant.as_str())
                .bind(id.to_string())
                .fetch_optional(&mut *write)
                .await?;
        write.commit().await?;
        crash_point!("dataset-deleted");
        let Some(sha256) = sha256 else {
            return Ok(Deletion::NotFound);
        };
        if let Err(error) = self.remove_unnamed_blob(&mut writer, &sha256).await {
            tracing::warn!(%error, sha256, "a content without a dataset stays until the next start");
        }
        drop(writer);
        self.database().keep_log_small().await;
        Ok(Deletion::Deleted)
    }

    /// Removes a content unless a dataset of any tenant names it. Nobody can begin to name it meanwhile: the caller has
    /// the only connection that writes.
    async fn remove_unnamed_blob(&self, writer: &mut SqliteConnection, sha256: &str) -> Result<(), StoreError> {
        let named: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM datasets WHERE sha256 = $1)")
            .bind(sha256)
            .fetch_one(writer)
            .await?;
        if named { Ok(()) } else { self.blobs().remove(sha256) }
    }

    /// Removes the contents that no dataset names: what a crash left between a file's move and the row's commit.
    pub(super) async fn sweep_blobs(&self) -> Result<(), StoreError> {
        let named: Vec<String> = sqlx::query_scalar("SELECT DISTINCT sha256 FROM datasets")
            .fetch_all(self.database().readers())
            .await?;
        self.blobs().sweep(HashSet::from_iter(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job_spec::{ValidationDataset, ValidationSpec};
    use crate::store::{Outcome, samples};

    #[tokio::test]
    async fn a_dataset_comes_back_as_it_was_stored() {
        let (directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let dataset = samples::dataset(&store, &tenant, b"a,b\n1,2\n").await;
        let store = samples::crash(&directory, store).await;
        assert_eq!(
            store.get_dataset(&tenant, dataset.id).await.unwrap(),
            Some(dataset.clone())
        );
        let content = store.blobs().open(&dataset.sha256).unwrap();
        assert_eq!(std::io::read_to_string(content).unwrap(), "a,b\n1,2\n");
    }

    #[tokio::test]
    async fn equal_uploads_share_one_file_until_the_last_of_them_goes() {
        let (directory, store) = samples::open().await;
        let tenants = [samples::tenant(), TenantId::new("other")];
        let mut datasets = Vec::new();
        for tenant in &tenants {
            datasets.push(samples::dataset(&store, tenant, b"same").await);
        }
        let files = || std::fs::read_dir(directory.path().join("blobs")).unwrap().count();
        assert_eq!(files(), 1);
        let deleted = store.delete_dataset(&tenants[0], datasets[0].id).await.unwrap();
        assert_eq!((deleted, files()), (Deletion::Deleted, 1));
        assert!(store.blobs().open(&datasets[1].sha256).is_ok());
        let deleted = store.delete_dataset(&tenants[1], datasets[1].id).await.unwrap();
        assert_eq!((deleted, files()), (Deletion::Deleted, 0));
        let gone = store.blobs().open(&datasets[1].sha256).unwrap_err();
        assert!(matches!(gone, StoreError::ContentGone), "{gone:?}");
    }

    #[tokio::test]
    async fn no_row_names_a_missing_file_however_uploads_and_deletes_interleave() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let one = async || {
            for _ in 0..25 {
                let dataset = samples::dataset(&store, &tenant, b"same").await;
                let content = store.blobs().open(&dataset.sha256);
                assert!(content.is_ok(), "{content:?}");
                store.delete_dataset(&tenant, dataset.id).await.unwrap();
            }
        };
        tokio::join!(one(), one(), one(), one());
    }

    #[tokio::test]
    async fn a_dataset_that_could_not_be_stored_leaves_no_file() {
        let (directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let first = samples::dataset(&store, &tenant, b"first").await;
        let content = samples::stage(&store, b"second");
        let twin = Dataset {
            id: first.id,
            ..samples::dataset_of(&content)
        };
        store
            .insert_dataset(&tenant, &twin, content, u64::MAX, None)
            .await
            .unwrap_err();
        assert_eq!(std::fs::read_dir(directory.path().join("blobs")).unwrap().count(), 1);
        assert!(store.blobs().open(&first.sha256).is_ok());
    }

    #[tokio::test]
    async fn uploads_at_once_do_not_get_past_the_room_of_their_tenant() {
        let (directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let insert = async |number: u32| {
            let content = samples::stage(&store, format!("{number:10}").as_bytes());
            let dataset = samples::dataset_of(&content);
            store
                .insert_dataset(&tenant, &dataset, content, 35, None)
                .await
                .unwrap()
        };
        let inserted = futures_util::future::join_all((0..20).map(insert)).await;
        let refused = Insertion::NoRoom { used_bytes: 30 };
        let count = |wanted| inserted.iter().filter(|found| **found == wanted).count();
        assert_eq!((count(Insertion::Inserted), count(refused)), (3, 17));
        assert_eq!(std::fs::read_dir(directory.path().join("blobs")).unwrap().count(), 3);
        // Each tenant has its own room.
        samples::dataset(&store, &TenantId::new("other"), b"another ten").await;
        assert_eq!(store.storage_bytes(&tenant).await.unwrap(), 30);
    }

    #[tokio::test]
    async fn a_start_removes_a_file_whose_row_was_never_committed() {
        let (directory, store) = samples::open().await;
        let content = samples::stage(&store, b"moved, then killed");
        let sha256 = content.sha256().to_owned();
        store.blobs().place(content).unwrap();
        let store = samples::crash(&directory, store).await;
        assert!(store.blobs().open(&sha256).is_err());
    }

    #[tokio::test]
    async fn a_dataset_that_an_unfinished_job_needs_stays() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let training = samples::dataset(&store, &tenant, b"training").await.id;
        let validation = samples::dataset(&store, &tenant, b"validation").await.id;
        let mut new = samples::new_job(training);
        new.spec.training.validation = Some(ValidationSpec::Dataset(ValidationDataset { dataset: validation }));
        let job = samples::insert(&store, &tenant, new).await.id;
        for dataset in [training, validation] {
            let refused = store.delete_dataset(&tenant, dataset).await.unwrap();
            assert_eq!(refused, Deletion::InUse(job));
            assert!(store.get_dataset(&tenant, dataset).await.unwrap().is_some());
        }
        let claim = samples::claim(&store).await;
        samples::finish(
            &store,
            &claim,
            Outcome::Succeeded {
                model: samples::model(&claim.job),
            },
        )
        .await;
        for dataset in [training, validation] {
            assert_eq!(store.delete_dataset(&tenant, dataset).await.unwrap(), Deletion::Deleted);
            assert_eq!(
                store.delete_dataset(&tenant, dataset).await.unwrap(),
                Deletion::NotFound
            );
        }
    }

    #[tokio::test]
    async fn a_list_is_paged_newest_first() {
        let (_directory, store) = samples::open().await;
        let tenant = samples::tenant();
        let mut made = Vec::new();
        for content in [b"1", b"2", b"3", b"4", b"5"] {
            made.insert(0, samples::dataset(&store, &tenant, content).await.id);
        }
        let (mut listed, mut after) = (Vec::new(), None);
        let mut pages = 0;
        loop {
            let page = store
                .list_datasets(&tenant, PageRequest { limit: 2, after })
                .await
                .unwrap();
            assert!(page.items.len() <= 2);
            listed.extend(page.items.iter().map(|dataset| dataset.id));
            (after, pages) = (page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!((listed, pages), (made, 3));
        let whole = store.list_datasets(&tenant, samples::first_page(5)).await.unwrap();
        assert_eq!((whole.items.len(), whole.next), (5, None));
    }
}
