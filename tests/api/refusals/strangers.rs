//! Callers who are not let in, or not to this.

use serde_json::{Value, json};

use super::Case;
use crate::access::{forged, made_elsewhere};
use crate::client::Client;
use crate::fixtures::{client, iris_job};
use crate::yard::{YARD, create, secret};

pub(super) fn cases() -> Vec<Case> {
    [without_a_key(), not_allowed(), of_another_tenant(), of_another_site()]
        .into_iter()
        .flatten()
        .collect()
}

fn without_a_key() -> Vec<Case> {
    let refused = |name, client: fn() -> Client| {
        Case::answered(name, 401, "unauthorized", move || client().get("/v1/jobs").send())
    };
    let with_header = |name, value: &'static str| {
        Case::new(name, 401, "unauthorized", move || {
            YARD.open.get("/v1/jobs").header("authorization", value)
        })
    };
    let in_the_url = |name, target: fn(&str) -> String| {
        Case::new(name, 401, "unauthorized", move || {
            let key = create(&YARD.admin, json!({"name": "in a URL", "role": "read"}));
            YARD.open.get(target(secret(&key)))
        })
    };
    vec![
        refused("no key", || YARD.open.clone()),
        refused("a key of another server", || YARD.open.with_key(&made_elsewhere())),
        refused("a forged key", || {
            let key = create(&YARD.admin, json!({"name": "to be forged", "role": "read"}));
            YARD.open.with_key(&forged(secret(&key)))
        }),
        refused("a mistyped key", || YARD.open.with_key("ty_1234")),
        refused("a revoked key", || YARD.revoked.clone()),
        refused("an expired key", || YARD.expired.clone()),
        with_header("an empty authorization", ""),
        with_header("a password", "Basic YWRtaW46YWRtaW4="),
        in_the_url("a key in the query", |secret| format!("/v1/jobs?api_key={secret}")),
        in_the_url("a key in the path", |secret| format!("/v1/jobs/{secret}")),
        Case::new("a path that is not there, without a key", 401, "unauthorized", || {
            YARD.open.get("/v1/nothing")
        }),
    ]
}

fn not_allowed() -> Vec<Case> {
    let forbidden =
        |name, client: fn() -> &'static Client, method: &'static str, target: fn() -> String, body: fn() -> Value| {
            Case::new(name, 403, "forbidden", move || {
                client().call(method, target()).json(&body())
            })
        };
    let dataset = || format!("/v1/datasets/{}", YARD.things.dataset);
    vec![
        forbidden(
            "a reader who trains",
            || &YARD.read,
            "POST",
            || "/v1/jobs".to_owned(),
            || iris_job(&YARD.things.dataset),
        ),
        forbidden(
            "a reader who uploads",
            || &YARD.read,
            "POST",
            || "/v1/datasets".to_owned(),
            || json!({}),
        ),
        forbidden("a reader who deletes", || &YARD.read, "DELETE", dataset, || json!({})),
        forbidden(
            "a writer who makes a key",
            || &YARD.write,
            "POST",
            || "/v1/keys".to_owned(),
            || json!({"name": "more", "role": "admin"}),
        ),
        forbidden(
            "a writer who lists keys",
            || &YARD.write,
            "GET",
            || "/v1/keys".to_owned(),
            || json!({}),
        ),
    ]
}

fn of_another_tenant() -> Vec<Case> {
    let foreign = |name, target: fn() -> String| Case::new(name, 404, "not-found", move || YARD.stranger.get(target()));
    vec![
        foreign("another tenant's dataset", || {
            format!("/v1/datasets/{}", YARD.things.dataset)
        }),
        foreign("another tenant's job", || format!("/v1/jobs/{}", YARD.things.job)),
        foreign("another tenant's model", || format!("/v1/models/{}", YARD.things.model)),
        foreign("another tenant's session", || {
            format!("/v1/sessions/{}", YARD.things.session)
        }),
        Case::new("another tenant's key", 404, "not-found", || {
            YARD.stranger.delete(format!("/v1/keys/{}", YARD.things.key))
        }),
    ]
}

fn of_another_site() -> Vec<Case> {
    let from = |name, header: &'static str, value: &'static str| {
        Case::new(name, 403, "forbidden", move || {
            client().post("/v1/jobs").json(&json!({})).header(header, value)
        })
    };
    let host = |name, host: &'static str| {
        Case::new(name, 421, "misdirected", move || {
            client().get("/v1/jobs").header("host", host)
        })
    };
    vec![
        from("a page of another site", "sec-fetch-site", "cross-site"),
        from("a page of the same site", "sec-fetch-site", "same-site"),
        from("a page of another origin", "origin", "https://evil.example"),
        from("a page of no origin", "origin", "null"),
        Case::new("another site that asks first", 403, "forbidden", || {
            client()
                .call("OPTIONS", "/v1/jobs")
                .header("origin", "https://evil.example")
        }),
        host("an unknown host", "evil.example"),
        host("a host that begins as a known one", "localhost.evil.example"),
        host("a host of no name", "a b"),
    ]
}
