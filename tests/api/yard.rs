//! A server with keys and tenants, for what is to be tried with them.

use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Weak};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::fixtures::{IRIS, Trained, id, iris_job, keep, upload};
use crate::operations::Things;
use crate::server::Server;

/// A server with two tenants and a key of each role.
pub(crate) struct Yard {
    server: Weak<Server>,
    pub(crate) open: Client,
    pub(crate) admin: Client,
    pub(crate) write: Client,
    pub(crate) read: Client,
    pub(crate) stranger: Client,
    pub(crate) revoked: Client,
    pub(crate) expired: Client,
    pub(crate) things: Things,
}

pub(crate) static YARD: LazyLock<Yard> = LazyLock::new(|| {
    let mut server = Server::start(&[]);
    assert!(server.terminate().success());
    let admin = create_in(&server.data_dir(), &["--name", "boss", "--role", "admin"]);
    let stranger = create_in(
        &server.data_dir(),
        &["--name", "stranger", "--role", "admin", "--tenant", "other"],
    );
    server.restart();
    let open = server.client();
    let admin = open.with_key(&admin);
    let with_key = |key: Value| open.with_key(secret(&create(&admin, key)));
    let revoked = create(&admin, json!({"name": "gone", "role": "admin"}));
    revoke(&admin, id(&revoked)).expect(204);
    let expired = with_key(json!({"name": "short", "role": "admin", "expires_in_s": 1}));
    std::thread::sleep(Duration::from_secs(1));
    let write = with_key(json!({"name": "ci", "role": "write"}));
    let dataset = upload(&write, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let trained = Trained::new(&write, dataset, spec);
    let things = Things::of(
        &write,
        &trained,
        id(&create(&admin, json!({"name": "spare", "role": "read"}))),
    );
    Yard {
        write,
        read: with_key(json!({"name": "reader", "role": "read"})),
        stranger: open.with_key(&stranger),
        revoked: open.with_key(secret(&revoked)),
        expired,
        admin,
        open,
        things,
        server: keep(server),
    }
});

pub(crate) fn create(admin: &Client, key: Value) -> Value {
    admin.post("/v1/keys").json(&key).send().expect(201).json()
}

pub(crate) fn revoke(admin: &Client, id: &str) -> Answer {
    admin.delete(format!("/v1/keys/{id}")).send()
}

pub(crate) fn secret(key: &Value) -> &str {
    key["secret"].as_str().expect("a secret")
}

impl Yard {
    pub(crate) fn log(&self) -> String {
        self.server.upgrade().expect("it runs to the end").log()
    }
}

/// Runs `trainyard keys create` in a folder that no server holds, and gives the secret.
pub(crate) fn create_in(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainyard"));
    command
        .args(["keys", "create", "--data-dir"])
        .arg(folder)
        .args(arguments);
    let output = command.output().expect("the built trainyard starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
