//! `trainyard keys`: makes, lists and revokes API keys in a data folder that no server holds.
//!
//! Who can read and write the folder owns all that is in it, so nobody is asked for a key here, and the keys of all
//! tenants are in reach. A running server takes the same over HTTP, from an admin key, for that key's tenant.

use std::io::Write;

use anyhow::{Context, Result, bail, ensure};
use jiff::{Span, Timestamp, tz::TimeZone};

use super::server::DataDirArg;
use crate::domain::api_key::{ApiKey, Role};
use crate::domain::id::KeyId;
use crate::domain::job_request::MAX_NAME_CHARS;
use crate::domain::tenant::TenantId;
use crate::store::{Store, StoreError};

/// Make, list and revoke API keys in a data folder
///
/// For the first key, and for when all are lost. Only while no server holds the folder; a running one takes the
/// same over HTTP (POST, GET and DELETE /v1/keys) from an admin key.
#[derive(clap::Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a key and print it, the only time it can be seen
///
/// Once a folder has a key, its server lets nobody in without one.
#[derive(clap::Args)]
struct CreateArgs {
    /// Whose key it is or what it is for
    #[arg(long, value_parser = name)]
    name: String,
    /// What it may do: read (look, predict), write (also upload, train, delete) or admin (also make and revoke keys)
    #[arg(long, value_parser = role)]
    role: Role,
    /// Whose data it opens; each tenant sees its own only
    #[arg(long, default_value_t)]
    tenant: TenantId,
    /// How long it works, like 12h, 90d or 1y; otherwise it works until it is revoked
    #[arg(long, value_name = "TIME", value_parser = life)]
    expires_in: Option<Timestamp>,
    #[command(flatten)]
    folder: DataDirArg,
}

/// List the keys of all tenants, newest first
#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    folder: DataDirArg,
}

/// Revoke a key for good
#[derive(clap::Args)]
struct RevokeArgs {
    /// The key's id, key_…, as `trainyard keys list` shows it
    id: KeyId,
    #[command(flatten)]
    folder: DataDirArg,
}

pub(super) async fn run(args: KeysArgs) -> Result<()> {
    match args.verb {
        Verb::Create(args) => create(args).await,
        Verb::List(args) => list(args).await,
        Verb::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: CreateArgs) -> Result<()> {
    let store = open(&args.folder).await?;
    let (key, token) = ApiKey::issue(args.tenant, args.name, args.role, args.expires_in)?;
    store.insert_key(&key, &token.hash()).await?;
    store.close().await;
    eprintln!("{}", line(&key));
    eprintln!("This is the key; it is not stored and can't be shown again:");
    println!("{}", token.expose());
    Ok(())
}

async fn list(args: ListArgs) -> Result<()> {
    let store = open_existing(&args.folder).await?;
    let keys = store.all_keys().await?;
    store.close().await;
    let mut out = std::io::stdout().lock();
    for key in keys {
        writeln!(out, "{}", line(&key))?;
    }
    Ok(())
}

async fn revoke(args: RevokeArgs) -> Result<()> {
    let store = open_existing(&args.folder).await?;
    let keys = store.all_keys().await?;
    let Some(key) = keys.into_iter().find(|key| key.id == args.id) else {
        bail!(
            "there is no key {}; `trainyard keys list` shows those there are",
            args.id
        );
    };
    let revoked = store.revoke_key(&key.tenant, key.id).await?;
    store.close().await;
    println!("{}", line(&revoked.unwrap_or(key)));
    Ok(())
}

async fn open(folder: &DataDirArg) -> Result<Store> {
    match Store::open(&folder.data_dir).await {
        Err(error @ StoreError::DirectoryInUse(_)) => {
            Err(error).context("a server that runs makes, lists and revokes keys itself, over HTTP at /v1/keys")
        }
        opened => opened.with_context(|| format!("cannot use the data folder {}", folder.data_dir.display())),
    }
}

/// Opening makes a folder that isn't there, which nobody wants who asks for what is in it.
async fn open_existing(folder: &DataDirArg) -> Result<Store> {
    let path = folder.data_dir.display();
    ensure!(folder.data_dir.is_dir(), "there is no data folder {path}");
    open(folder).await
}

/// `key_…  ty_3f9c0a1b2d4e…  default  write  "ci"  made 2026-…, expires 2026-…`
fn line(key: &ApiKey) -> String {
    // Debug formatting keeps a name from moving the terminal's cursor.
    let (id, prefix, tenant, role, name) = (key.id, &key.prefix, &key.tenant, key.role.name(), &key.name);
    let made = seconds(key.created_at);
    let end = match (key.revoked_at, key.expires_at) {
        (Some(time), _) => format!(", revoked {}", seconds(time)),
        (None, Some(time)) if key.is_valid(Timestamp::now()) => format!(", expires {}", seconds(time)),
        (None, Some(time)) => format!(", expired {}", seconds(time)),
        (None, None) => String::new(),
    };
    let used = key.last_used_at.map(|time| format!(", last used {}", seconds(time)));
    let used = used.unwrap_or_default();
    format!("{id}  {prefix}…  {tenant}  {role:5}  {name:?}  made {made}{used}{end}")
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn name(text: &str) -> Result<String, String> {
    match (1..=MAX_NAME_CHARS).contains(&text.chars().count()) {
        true => Ok(text.to_owned()),
        false => Err(format!("a name has from 1 to {MAX_NAME_CHARS} characters")),
    }
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| "the roles are read, write and admin".to_owned())
}

/// The end of a life that begins now. Days, months and years are those of the calendar in UTC.
fn life(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let end = text
        .parse::<Span>()
        .and_then(|life| now.to_zoned(TimeZone::UTC).checked_add(life));
    match end {
        Ok(end) if end.timestamp() > now => Ok(end.timestamp()),
        _ => Err("a life is a time like 12h, 90d or 1y".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_ends_after_now() {
        let days = |text| life(text).map(|end| (end - Timestamp::now()).total(jiff::Unit::Hour).unwrap() / 24.0);
        assert!((89.9..90.1).contains(&days("90d").unwrap()));
        assert!((0.49..0.51).contains(&days("12h").unwrap()));
        assert!((364.9..366.1).contains(&days("1y").unwrap()));
        for wrong in ["", "0s", "-1d", "90", "for ever", "9999y"] {
            assert!(life(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_can_not_write_over_the_terminal() {
        let (key, _) = ApiKey::issue(TenantId::default(), "\u{1b}[2Jci\n".to_owned(), Role::Read, None).unwrap();
        assert!(!line(&key).contains(['\u{1b}', '\n']), "{:?}", line(&key));
    }
}
