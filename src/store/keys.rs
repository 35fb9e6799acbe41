//! API keys: their hashes, by which requests find their tenant.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::column::{damaged, parsed};
use super::{Store, StoreError};
use crate::domain::api_key::{ApiKey, Role, TokenHash};
use crate::domain::id::KeyId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::tenant::TenantId;

/// A key as a request that claims to have it finds it; whether it has it, the hash tells, whether it opens, the key.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundKey {
    pub key: ApiKey,
    pub hash: TokenHash,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    tenant: String,
    id: String,
    name: String,
    role: String,
    prefix: String,
    hash: Vec<u8>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
}

impl KeyRow {
    fn read(self) -> Result<FoundKey, StoreError> {
        const WHAT: &str = "API key";
        let time = |text: Option<String>| text.map(|text| parsed::<Timestamp>(WHAT, &text)).transpose();
        let role = Role::from_name(&self.role).ok_or_else(|| damaged(WHAT, format!("its role is {:?}", self.role)))?;
        let hash = self.hash.try_into();
        Ok(FoundKey {
            hash: TokenHash(hash.map_err(|_| damaged(WHAT, "its hash has not 32 bytes"))?),
            key: ApiKey {
                id: parsed(WHAT, &self.id)?,
                tenant: TenantId::new(self.tenant),
                name: self.name,
                role,
                prefix: self.prefix,
                created_at: parsed(WHAT, &self.created_at)?,
                expires_at: time(self.expires_at)?,
                revoked_at: time(self.revoked_at)?,
                last_used_at: time(self.last_used_at)?,
            },
        })
    }
}

impl Store {
    pub async fn insert_key(&self, key: &ApiKey, hash: &TokenHash) -> Result<(), StoreError> {
        let mut write = self.database().begin().await?;
        sqlx::query(
            "INSERT INTO api_keys (tenant, id, name, role, prefix, hash, created_at, expires_at, revoked_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(key.tenant.as_str())
        .bind(key.id.to_string())
        .bind(&key.name)
        .bind(key.role.name())
        .bind(&key.prefix)
        .bind(&hash.0[..])
        .bind(key.created_at.to_string())
        .bind(key.expires_at.map(|time| time.to_string()))
        .bind(key.revoked_at.map(|time| time.to_string()))
        .execute(&mut *write)
        .await?;
        self.database().commit(write).await?;
        self.keys_exist().store(true, Ordering::Release);
        Ok(())
    }

    /// The key that begins so, revoked and expired ones too. No tenant is named here: this is how a request's tenant
    /// becomes known.
    pub async fn find_key(&self, prefix: &str) -> Result<Option<FoundKey>, StoreError> {
        let row: Option<KeyRow> = sqlx::query_as(
            "SELECT tenant, id, name, role, prefix, hash, created_at, expires_at, revoked_at, last_used_at
            FROM api_keys WHERE prefix = $1",
        )
        .bind(prefix)
        .fetch_optional(self.database().readers())
        .await?;
        row.map(KeyRow::read).transpose()
    }

    /// Whether any key was ever made, for any tenant: from then on no request comes in without one, even when all keys
    /// are revoked. Asked on every request, so it is kept in memory; only this process can make a key.
    pub fn has_keys(&self) -> bool {
        self.keys_exist().load(Ordering::Acquire)
    }

    /// Looks once whether there are keys.
    pub(super) async fn look_for_keys(&self) -> Result<(), StoreError> {
        let any = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM api_keys)");
        let any = any.fetch_one(self.database().readers()).await?;
        self.keys_exist().store(any, Ordering::Release);
        Ok(())
    }

    /// The keys of all tenants, newest first. No tenant is named here: it serves who owns the data directory.
    pub async fn all_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let rows: Vec<KeyRow> = sqlx::query_as(
            "SELECT tenant, id, name, role, prefix, hash, created_at, expires_at, revoked_at, last_used_at
            FROM api_keys ORDER BY id DESC",
        )
        .fetch_all(self.database().readers())
        .await?;
        rows.into_iter().map(|row| Ok(row.read()?.key)).collect()
    }

    pub async fn list_keys(
        &self,
        tenant: &TenantId,
        page: PageRequest<KeyId>,
    ) -> Result<Page<ApiKey, KeyId>, StoreError> {
        let rows: Vec<KeyRow> = sqlx::query_as(
            "SELECT tenant, id, name, role, prefix, hash, created_at, expires_at, revoked_at, last_used_at
            FROM api_keys WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(page.before())
        .bind(page.rows_to_read())
        .fetch_all(self.database().readers())
        .await?;
        let keys = rows.into_iter().map(|row| Ok(row.read()?.key));
        Ok(page.of(keys.collect::<Result<_, StoreError>>()?, |key: &ApiKey| key.id))
    }

    pub async fn get_key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        let row: Option<KeyRow> = sqlx::query_as(
            "SELECT tenant, id, name, role, prefix, hash, created_at, expires_at, revoked_at, last_used_at
            FROM api_keys WHERE tenant = $1 AND id = $2",
        )
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(self.database().readers())
        .await?;
        row.map(|row| Ok(row.read()?.key)).transpose()
    }

    /// Notes that a key let somebody in.
    pub async fn note_key_use(&self, tenant: &TenantId, id: KeyId, used_at: Timestamp) -> Result<(), StoreError> {
        let mut write = self.database().begin().await?;
        sqlx::query("UPDATE api_keys SET last_used_at = $3 WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id.to_string())
            .bind(used_at.to_string())
            .execute(&mut *write)
            .await?;
        self.database().commit(write).await
    }

    /// Revokes a key for good; one that was revoked before keeps its time. `None`: there is no such key.
    pub async fn revoke_key(&self, tenant: &TenantId, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        let mut write = self.database().begin_freeing().await?;
        let row: Option<KeyRow> = sqlx::query_as(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3) WHERE tenant = $1 AND id = $2
            RETURNING tenant, id, name, role, prefix, hash, created_at, expires_at, revoked_at, last_used_at",
        )
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(Timestamp::now().to_string())
        .fetch_optional(&mut *write)
        .await?;
        self.database().commit(write).await?;
        row.map(|row| Ok(row.read()?.key)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api_key::Token;
    use crate::store::samples;

    async fn make(store: &Store, tenant: &TenantId) -> (Token, ApiKey) {
        let issued = ApiKey::issue(tenant.clone(), "ci".to_owned(), Role::Write, Some(Timestamp::MAX));
        let (key, token) = issued.unwrap();
        store.insert_key(&key, &token.hash()).await.unwrap();
        (token, key)
    }

    #[tokio::test]
    async fn a_request_finds_its_tenant_by_its_key() {
        let (directory, store) = samples::open().await;
        assert!(!store.has_keys());
        let (token, key) = make(&store, &samples::tenant()).await;
        let store = samples::crash(&directory, store).await;
        assert!(store.has_keys());
        let found = store.find_key(token.prefix()).await.unwrap().unwrap();
        assert_eq!(found.key, key);
        assert!(found.hash == token.hash());
        assert_eq!(store.find_key("ty_000000000000").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_revoked_key_is_found_as_revoked_and_stays_so() {
        let (_directory, store) = samples::open().await;
        let (token, key) = make(&store, &samples::tenant()).await;
        let other = TenantId::new("other");
        assert_eq!(store.revoke_key(&other, key.id).await.unwrap(), None);
        let revoked = store.revoke_key(&samples::tenant(), key.id).await.unwrap().unwrap();
        assert!(!revoked.is_valid(Timestamp::now()));
        let again = store.revoke_key(&samples::tenant(), key.id).await.unwrap();
        assert_eq!(again, Some(revoked.clone()));
        assert_eq!(store.find_key(token.prefix()).await.unwrap().unwrap().key, revoked);
        assert!(store.has_keys(), "revoking the last key must not open the server");
    }

    #[tokio::test]
    async fn a_key_says_when_it_was_last_used() {
        let (directory, store) = samples::open().await;
        let (tenant, other) = (samples::tenant(), TenantId::new("other"));
        let (_, key) = make(&store, &tenant).await;
        assert_eq!(store.get_key(&tenant, key.id).await.unwrap(), Some(key.clone()));
        assert_eq!(store.get_key(&other, key.id).await.unwrap(), None);
        let used_at = Timestamp::from_second(1_800_000_000).unwrap();
        store.note_key_use(&tenant, key.id, used_at).await.unwrap();
        store.note_key_use(&other, key.id, Timestamp::MAX).await.unwrap();
        let store = samples::crash(&directory, store).await;
        let used = store.get_key(&tenant, key.id).await.unwrap();
        assert_eq!(used.unwrap().last_used_at, Some(used_at));
    }

    #[tokio::test]
    async fn keys_are_listed_newest_first_for_their_tenant_alone() {
        let (_directory, store) = samples::open().await;
        let (tenant, other) = (samples::tenant(), TenantId::new("other"));
        let (_, first) = make(&store, &tenant).await;
        let (_, foreign) = make(&store, &other).await;
        let (_, second) = make(&store, &tenant).await;
        let page = store.list_keys(&tenant, samples::first_page(9)).await.unwrap();
        let own = vec![second.clone(), first.clone()];
        assert_eq!((page.items, page.next), (own, None));
        assert_eq!(store.all_keys().await.unwrap(), [second, foreign, first]);
    }

    #[tokio::test]
    async fn the_database_never_holds_a_key() {
        let (directory, store) = samples::open().await;
        let (token, _) = make(&store, &samples::tenant()).await;
        store.close().await;
        let file = std::fs::read(directory.path().join("trainyard.db")).unwrap();
        let holds = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds(token.prefix()));
        assert!(!holds(token.expose()));
    }
}
