//! What a platform asks of a server, and what holds for every answer.

use serde_json::json;

use crate::fixtures::{IRIS, TRAINED_IRIS, client, id, iris_job, upload};
use crate::server::Server;
use crate::trials;

trials![
    it_is_alive_and_ready,
    it_counts_what_it_answers,
    every_answer_has_a_request_id_of_its_own_and_a_good_one_is_kept,
    a_refused_method_names_the_allowed_ones,
    answers_are_not_to_be_guessed_at_by_browsers,
    line_breaks_in_names_do_not_reach_the_log_raw,
    a_failure_of_the_servers_own_tells_nothing_of_its_inside,
    a_second_server_on_the_same_folder_says_so_and_ends,
    sigterm_ends_it_in_good_order,
];

fn it_is_alive_and_ready() {
    client().get("/livez").send().expect(200);
    client().get("/readyz").send().expect(200);
}

fn it_counts_what_it_answers() {
    client().get("/openapi.json").send().expect(200);
    let text = client().get("/metrics").send().expect(200).text();
    assert!(text.contains("openapi.json"), "{text:.2000}");
    assert!(
        text.lines()
            .all(|line| line.starts_with('#') || line.rsplit_once(' ').is_some_and(|(_, n)| n.parse::<f64>().is_ok()))
    );
    assert!(
        !text.contains("job_") && !text.contains("mdl_"),
        "ids would make a series each"
    );
}

fn every_answer_has_a_request_id_of_its_own_and_a_good_one_is_kept() {
    let request_id = || client().get("/livez").send().header("x-request-id").unwrap().to_owned();
    assert_ne!(request_id(), request_id());
    let own = client()
        .get("/v1/jobs/nothing")
        .header("x-request-id", "trace-0815")
        .send()
        .expect(404);
    assert_eq!(own.header("x-request-id"), Some("trace-0815"));
    let wild = client().get("/livez").header("x-request-id", &"x".repeat(5000)).send();
    assert!(
        wild.header("x-request-id").unwrap().len() < 200,
        "an id as long as a book isn't echoed"
    );
}

fn a_refused_method_names_the_allowed_ones() {
    let answer = client().call("PATCH", "/v1/jobs").send().expect(405);
    let allowed: Vec<&str> = answer
        .header("allow")
        .expect("an Allow header")
        .split(',')
        .map(str::trim)
        .collect();
    assert!(
        allowed.contains(&"GET") && allowed.contains(&"POST") && !allowed.contains(&"PATCH"),
        "{allowed:?}"
    );
}

fn answers_are_not_to_be_guessed_at_by_browsers() {
    let content = client()
        .get(format!("/v1/datasets/{}/content", id(&TRAINED_IRIS.dataset)))
        .send()
        .expect(200);
    assert_eq!(content.header("x-content-type-options"), Some("nosniff"));
}

fn line_breaks_in_names_do_not_reach_the_log_raw() {
    let server = Server::start(&[]);
    let client = &server.client();
    let dataset = client
        .post("/v1/datasets?name=two%0Alines%1B%5B31m")
        .body("text/csv", IRIS)
        .send();
    if dataset.status == 201 {
        let spec = crate::fixtures::with(&iris_job(id(&dataset.json())), json!({"name": "two\nlines\u{1b}[31m"}));
        client.post("/v1/jobs").json(&spec).send();
    }
    client.get("/v1/jobs?status=two%0Alines%1B%5B31m").send();
    let log = server.log();
    assert!(
        !log.is_empty() && !log.contains("two\nlines") && !log.contains('\u{1b}'),
        "{log}"
    );
}

fn a_failure_of_the_servers_own_tells_nothing_of_its_inside() {
    let server = Server::start(&[]);
    let dataset = upload(&server.client(), "iris", IRIS);
    let blob = server
        .data_dir()
        .join("blobs")
        .join(dataset["sha256"].as_str().expect("a hash"));
    std::fs::remove_file(&blob)
        .and_then(|()| std::fs::create_dir(&blob))
        .expect("the blob lies under its hash");
    let answer = server
        .client()
        .get(format!("/v1/datasets/{}/rows", id(&dataset)))
        .send_raw()
        .expect(500);
    assert_eq!(answer.json()["type"], "/problems/internal");
    let said = answer.text().to_lowercase();
    assert!(
        !said.contains("blobs") && !said.contains("directory") && !said.contains("os error"),
        "{said}"
    );
    let request_id = answer.header("x-request-id").expect("an id");
    let cause = server
        .log()
        .lines()
        .any(|line| line.contains(request_id) && line.contains("directory"));
    assert!(cause, "the log has the cause under the request's id: {}", server.log());
}

fn a_second_server_on_the_same_folder_says_so_and_ends() {
    let server = Server::start(&[]);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_trainyard"))
        .args(["serve", "--bind", "127.0.0.1:0", "--data-dir"])
        .arg(server.data_dir())
        .output()
        .expect("it runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("another") || said.contains("in use"), "{said}");
    server.client().get("/readyz").send().expect(200);
}

#[cfg(unix)]
fn sigterm_ends_it_in_good_order() {
    let mut server = Server::start(&[]);
    let dataset = upload(&server.client(), "iris", IRIS);
    let client = server.client();
    let job = crate::fixtures::EndlessJob::submit(&client, &dataset).started();
    let job_id = job.id.clone();
    std::mem::forget(job);
    let mut stream = server.client().get(format!("/v1/jobs/{job_id}/events")).events();
    stream.next().expect("it runs");
    assert!(server.terminate().success(), "exit code 0");
    stream.for_each(drop); // the stream ends
    server.crash_and_restart();
    let client = &server.client();
    let mut events = client.get(format!("/v1/jobs/{job_id}/events")).events();
    assert!(events.any(|event| event.event == "epoch"));
    client.post(format!("/v1/jobs/{job_id}/cancel")).send().expect(200);
}
