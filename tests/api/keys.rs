//! Keys: made, shown once, revoked, expired.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::fixtures::{EndlessJob, IRIS, id, upload};
use crate::server::Server;
use crate::trials;
use crate::yard::{YARD, create, create_in, revoke, secret};

trials![
    a_server_is_open_until_its_first_key_and_never_again,
    revoking_works_at_once,
    revoking_ends_an_event_stream,
    a_key_that_expires_ends_by_itself,
    a_key_in_the_url_is_refused_even_beside_one_in_the_header,
    a_key_is_shown_once,
    a_key_tells_when_it_was_last_used,
    a_wish_for_a_key_is_read_whole,
    a_key_takes_no_idempotency_key,
];

fn a_server_is_open_until_its_first_key_and_never_again() {
    let mut server = Server::start(&[]);
    let open = server.client();
    let dataset = upload(&open, "iris", IRIS);
    let key = create(&open, json!({"name": "first", "role": "admin"}));
    assert_eq!((&key["tenant"], &key["expires_at"]), (&json!("default"), &Value::Null));
    open.get("/v1/datasets").send().problem(401, "unauthorized");
    let admin = open.with_key(secret(&key));
    admin.get(format!("/v1/datasets/{}", id(&dataset))).send().expect(200);
    revoke(&admin, id(&key)).expect(204);
    open.get("/v1/datasets").send().problem(401, "unauthorized");
    server.crash_and_restart();
    let open = server.client();
    open.get("/v1/datasets").send().problem(401, "unauthorized");
    // Who owns the folder can always make a new one.
    assert!(server.terminate().success());
    let secret = create_in(&server.data_dir(), &["--name", "again", "--role", "admin"]);
    server.restart();
    server.client().with_key(&secret).get("/v1/datasets").send().expect(200);
}

fn revoking_works_at_once() {
    let yard = &*YARD;
    let key = create(&yard.admin, json!({"name": "for a moment", "role": "read"}));
    let client = yard.open.with_key(secret(&key));
    client.get("/v1/jobs").send().expect(200);
    revoke(&yard.admin, id(&key)).expect(204);
    let problem = client.get("/v1/jobs").send().problem(401, "unauthorized");
    assert!(
        problem["detail"].as_str().expect("a sentence").contains("revoked"),
        "{problem}"
    );
    revoke(&yard.admin, id(&key)).expect(204);
    revoke(&yard.admin, "key_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f").problem(404, "not-found");
}

fn revoking_ends_an_event_stream() {
    let yard = &*YARD;
    let key = create(&yard.admin, json!({"name": "follower", "role": "read"}));
    let dataset = json!({"id": yard.things.dataset});
    let job = EndlessJob::submit(&yard.write, &dataset).started();
    let client = yard.open.with_key(secret(&key));
    let mut events = client.get(format!("/v1/jobs/{}/events", job.id)).events();
    events.next().expect("it trains");
    revoke(&yard.admin, id(&key)).expect(204);
    assert!(events.all(|event| event.event != "done"), "it ends before its job");
    assert_eq!(job.get()["done"], false);
}

fn a_key_that_expires_ends_by_itself() {
    let yard = &*YARD;
    let key = create(&yard.admin, json!({"name": "short", "role": "read", "expires_in_s": 2}));
    assert!(key["expires_at"].is_string());
    let client = yard.open.with_key(secret(&key));
    client.get("/v1/jobs").send().expect(200);
    std::thread::sleep(Duration::from_secs(2));
    let problem = client.get("/v1/jobs").send().problem(401, "unauthorized");
    assert!(
        problem["detail"].as_str().expect("a sentence").contains("expired"),
        "{problem}"
    );
}

fn a_key_in_the_url_is_refused_even_beside_one_in_the_header() {
    let yard = &*YARD;
    let key = create(&yard.admin, json!({"name": "leaked", "role": "read"}));
    let secret = secret(&key);
    for client in [&yard.open, &yard.open.with_key(secret)] {
        for target in [format!("/v1/jobs?api_key={secret}"), format!("/livez?{secret}")] {
            let problem = client.get(target).send().problem(401, "unauthorized");
            assert!(
                problem["detail"].as_str().expect("a sentence").contains("URL"),
                "{problem}"
            );
            assert!(!problem.to_string().contains(secret), "it isn't sent around further");
        }
    }
    assert!(!yard.log().contains(secret));
}

fn a_key_is_shown_once() {
    let yard = &*YARD;
    let key = create(&yard.admin, json!({"name": "seen once", "role": "write"}));
    let list = yard.admin.get("/v1/keys?limit=200").send().expect(200);
    assert!(!list.text().contains(secret(&key)) && !yard.log().contains(secret(&key)));
    let listed = list.json()["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|other| other["id"] == key["id"])
        .cloned();
    let listed = listed.expect("it is listed");
    assert!(listed.get("secret").is_none());
    assert!(secret(&key).starts_with(listed["prefix"].as_str().expect("a prefix")));
}

fn a_key_tells_when_it_was_last_used() {
    let yard = &*YARD;
    let body = json!({"name": "seldom", "role": "read"});
    let created = yard.admin.post("/v1/keys").json(&body).send().expect(201);
    let key = created.json();
    assert_eq!(created.header("location"), Some(&*format!("/v1/keys/{}", id(&key))));
    let get = |client: &Client| client.get(format!("/v1/keys/{}", id(&key))).send();
    let mut expected = key.clone();
    expected.as_object_mut().expect("an object").remove("secret");
    assert_eq!(get(&yard.admin).expect(200).json(), expected);
    assert_eq!(expected["last_used_at"], Value::Null);
    let client = yard.open.with_key(secret(&key));
    client.get("/v1/jobs").send().expect(200);
    // It is stored after the answer.
    let used = loop {
        let used = get(&yard.admin).expect(200).json()["last_used_at"].clone();
        if !used.is_null() {
            break used;
        }
    };
    client.get("/v1/jobs").send().expect(200);
    assert_eq!(get(&yard.admin).json()["last_used_at"], used, "once a minute is enough");
}

fn a_wish_for_a_key_is_read_whole() {
    let yard = &*YARD;
    let post = |body: Value| yard.admin.post("/v1/keys").json(&body).send();
    let wrong = json!({"name": "", "role": "root", "expires_at": "2001-01-01T00:00:00Z", "tenant": "other"});
    let problem = post(wrong).problem(422, "invalid-spec");
    let faults = problem["errors"].as_array().expect("faults");
    let pointers: Vec<&str> = faults.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
    assert_eq!(pointers, ["/tenant", "/name", "/role", "/expires_at"]);
    yard.admin
        .post("/v1/keys")
        .body("text/plain", "{}")
        .send()
        .problem(415, "unsupported-media-type");
    let large = " ".repeat(33 << 20);
    yard.admin
        .post("/v1/keys")
        .body("application/json", large)
        .send()
        .problem(413, "body-too-large");
}

fn a_key_takes_no_idempotency_key() {
    let yard = &*YARD;
    let call = yard.admin.post("/v1/keys").header("idempotency-key", "twice");
    let problem = call
        .json(&json!({"name": "twice", "role": "read"}))
        .send()
        .problem(400, "malformed-request");
    assert!(
        problem["detail"]
            .as_str()
            .expect("a sentence")
            .contains("Idempotency-Key")
    );
    assert!(
        !yard
            .admin
            .get("/v1/keys?limit=200")
            .send()
            .expect(200)
            .text()
            .contains("twice")
    );
}
