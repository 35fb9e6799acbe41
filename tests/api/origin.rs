//! What a web page of another site can't get at through its visitor's browser.

use serde_json::json;

use crate::client::contract;
use crate::fixtures::client;
use crate::server::Server;
use crate::trials;

trials![
    no_operation_is_there_for_a_page_of_another_site,
    a_page_of_the_servers_own_and_a_link_are_served,
    a_name_that_was_rebound_is_refused,
    a_name_the_server_was_given_is_its_own,
    no_answer_is_shared_with_other_origins,
];

fn no_operation_is_there_for_a_page_of_another_site() {
    for operation in contract().operations() {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "null"),
        ] {
            let call = client().call(&operation.method, &operation.path);
            call.header(name, value).send().problem(403, "forbidden");
        }
    }
}

fn a_page_of_the_servers_own_and_a_link_are_served() {
    let own = format!("http://{}", client().authority());
    let call = client()
        .post("/v1/jobs?dry_run=true")
        .header("origin", &own)
        .json(&json!({}));
    call.send().problem(422, "invalid-spec");
    let link = client().get("/docs/").header("sec-fetch-site", "cross-site");
    link.header("sec-fetch-mode", "navigate").send_raw().expect(200);
}

fn a_name_that_was_rebound_is_refused() {
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "10.1.2.3",
    ] {
        for target in ["/v1/datasets", "/livez", "/docs/", "/nowhere"] {
            let call = client().get(target).header("host", host);
            let problem = call.send_raw().problem(421, "misdirected");
            assert!(
                problem["detail"].as_str().expect("a sentence").contains("--allow-host"),
                "{problem}"
            );
        }
    }
    client().get("/livez").header("host", "localhost:1").send().expect(200);
}

fn a_name_the_server_was_given_is_its_own() {
    let server = Server::start(&["--allow-host", "Yard.example.org", "--allow-host", "yard"]);
    let client = server.client();
    let status = |host: &str| client.get("/v1/jobs").header("host", host).send().status;
    assert_eq!(
        ["yard.example.org:443", "YARD", "localhost", "yard.example.com"].map(status),
        [200, 200, 200, 421]
    );
    let own = client.get("/v1/jobs").header("host", "yard.example.org");
    own.header("origin", "https://yard.example.org").send().expect(200);
}

fn no_answer_is_shared_with_other_origins() {
    let preflight = client()
        .call("OPTIONS", "/v1/jobs")
        .header("origin", "https://evil.example");
    let answer = preflight
        .header("access-control-request-method", "POST")
        .send()
        .expect(403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let answer = client().get("/v1/jobs").send().expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
}
