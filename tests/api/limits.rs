//! What each limit of the server does when it is reached, and that many at once don't get past it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::made_elsewhere;
use crate::client::{Answer, Client};
use crate::fixtures::{EndlessJob, HOUSING, IRIS, Trained, gzip, id, iris_job, upload, with};
use crate::server::Server;
use crate::trials;
use crate::yard::{create, secret};

trials![
    a_request_over_a_limit_is_told_which,
    a_table_over_a_limit_is_told_which,
    a_network_or_training_over_a_limit_is_told_where,
    a_job_that_takes_too_much_arithmetic_is_refused,
    jobs_at_once_do_not_get_past_the_queue_of_their_tenant,
    uploads_at_once_do_not_get_past_the_room_of_their_tenant,
    a_tenant_without_room_is_told_before_it_sends_a_body,
    a_model_that_takes_more_room_than_there_is_is_kept_and_what_comes_next_refused,
    a_paused_job_keeps_its_place_in_the_queue,
    tables_for_predictions_have_places_while_they_are_sent,
    long_histories_and_large_weights_wait_in_a_short_line_and_small_ones_do_not,
    each_key_has_its_own_rate_and_health_has_none,
    who_tries_keys_has_the_rate_of_an_address_and_takes_nothing_from_a_key,
    the_rate_of_an_open_server_is_that_of_an_address_and_comes_before_the_body,
    an_admin_sees_what_its_tenant_has_and_may_have,
];

struct Strict {
    server: Server,
    model: String,
}

/// A server that takes irises, and little more.
static STRICT: LazyLock<Strict> = LazyLock::new(|| {
    let limits = "--max-json-mib=1 --max-tensors-mib=1 --max-upload-mib=1 --max-predict-csv-mib=1 --max-rows=150 \
                  --max-columns=5 --max-field-kib=1 --max-layers=3 --max-units=16 --max-parameters=200 --max-epochs=20 \
                  --max-batch-size=64 --max-instances=2 --max-header-kib=1 --max-uri-kib=1";
    let server = Server::start(&limits.split_whitespace().collect::<Vec<_>>());
    let client = server.client();
    let dataset = upload(&client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let model = Trained::new(&client, dataset, spec).model;
    Strict { server, model }
});

fn post(client: &Client, target: &str, body: &Value) -> Answer {
    client.post(target).json(body).send()
}

/// The faults of a refused document, by pointer.
fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("a list");
    errors.iter().filter_map(|fault| fault["pointer"].as_str()).collect()
}

fn a_request_over_a_limit_is_told_which() {
    let Strict { server, model } = &*STRICT;
    let client = &server.client();
    let large = "x".repeat((1 << 20) + 1);
    let row = json!([6.3, 3.3, 6.0, 2.5]);
    let predict = format!("/v1/models/{model}/predict");
    post(client, &predict, &json!({"instances": [row, row]})).expect(200);
    let problem = post(client, &predict, &json!({"instances": [row, row, row]})).problem(413, "body-too-large");
    let told = problem["detail"].as_str().expect("a sentence");
    assert!(told.contains("the 2 of one call"), "{told}");
    let header = client.get("/v1/jobs").header("x-note", &large[..1025]);
    header.send().problem(431, "headers-too-large");
    let uri = client.get(format!("/v1/jobs?after={}", &large[..1025]));
    uri.send().problem(414, "uri-too-long");
    let table = format!("a\n{large}");
    for (target, body, encoding) in [
        ("/v1/jobs", large.as_bytes(), None),
        ("/v1/datasets", table.as_bytes(), None),
        ("/v1/datasets", &gzip(table.as_bytes()), Some("gzip")),
        (&format!("{predict}/csv"), table.as_bytes(), None),
        (
            "/v1/sessions/ses_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f/gradients.safetensors",
            large.as_bytes(),
            None,
        ),
    ] {
        let content_type = match target {
            "/v1/jobs" => "application/json",
            _ if target.ends_with(".safetensors") => "application/octet-stream",
            _ => "text/csv",
        };
        // Its connection ends with an answer that came before the end of a body: each has its own.
        let client = server.client();
        let call = client.post(target).body(content_type, body);
        let call = match encoding {
            Some(encoding) => call.header("content-encoding", encoding),
            None => call,
        };
        call.send().problem(413, "body-too-large");
    }
}

fn a_table_over_a_limit_is_told_which() {
    let client = &STRICT.server.client();
    let long = format!("a\n{}\n", "x".repeat(1025));
    let rows = format!("a\n{}", "1\n".repeat(151));
    for (table, told) in [(HOUSING, "columns"), (&rows, "rows"), (&long, "1024")] {
        let answer = client.post("/v1/datasets").body("text/csv", table).send();
        let problem = answer.problem(422, "invalid-dataset");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains(told)),
            "{problem}"
        );
    }
}

fn a_network_or_training_over_a_limit_is_told_where() {
    let client = &STRICT.server.client();
    let dataset = upload(client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let dense = |units: u32| json!({"type": "dense", "units": units, "activation": "softmax"});
    let training = json!({"training": {"epochs": 21, "batch_size": 65}});
    let problem = post(client, "/v1/jobs", &with(&spec, training)).problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/training/epochs", "/training/batch_size"]);
    let deep = [dense(17), dense(2), dense(2), dense(3)];
    let problem = post(client, "/v1/jobs", &with(&spec, json!({"model": {"layers": deep}})));
    let problem = problem.problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/model/layers", "/model/layers/0/units"]);
    let wide = json!({"model": {"layers": [dense(16), dense(8), dense(3)]}});
    post(client, "/v1/jobs", &with(&spec, wide)).problem(422, "job-too-large");

    let session = |layers: Value| {
        post(
            client,
            "/v1/sessions",
            &json!({"inputs": 2, "model": {"layers": layers, "loss": "mse"}}),
        )
    };
    let linear = |units: u32| json!({"type": "dense", "units": units});
    let problem = session(json!([linear(17)])).problem(422, "invalid-spec");
    assert_eq!(pointers(&problem), ["/model/layers/0/units"]);
    session(json!([linear(16), linear(16)])).problem(422, "job-too-large");
    session(json!([linear(16), linear(1)])).expect(201);
}

fn a_job_that_takes_too_much_arithmetic_is_refused() {
    let server = Server::start(&["--max-job-tera-operations", "1"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let dry_run = |epochs: u32| {
        post(
            client,
            "/v1/jobs?dry_run=true",
            &with(&spec, json!({"training": {"epochs": epochs}})),
        )
    };
    dry_run(1_000_000).expect(200);
    let wide = json!({"model": {"layers": [{"type": "dense", "units": 3000, "activation": "relu"}, {"type": "dense", "units": 3, "activation": "softmax"}]}, "training": {"epochs": 1_000_000}});
    post(client, "/v1/jobs", &with(&spec, wide)).problem(422, "job-too-large");
}

/// Sends as many at once, and gives the answers. On a machine with much else to do some are told to come again.
fn at_once(number: usize, send: impl Fn() -> Answer + Sync) -> Vec<Answer> {
    let send = || {
        loop {
            let answer = send();
            if answer.status != 503 {
                return answer;
            }
            thread::sleep(Duration::from_millis(100));
        }
    };
    thread::scope(|scope| {
        let sent: Vec<_> = (0..number).map(|_| scope.spawn(send)).collect();
        sent.into_iter().map(|sent| sent.join().expect("an answer")).collect()
    })
}

fn jobs_at_once_do_not_get_past_the_queue_of_their_tenant() {
    let server = Server::start(&["--workers", "1", "--max-queued-jobs", "3"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let _running = EndlessJob::submit(client, &dataset).started();
    let spec = iris_job(id(&dataset));
    let answers = at_once(100, || post(client, "/v1/jobs", &spec));
    let (queued, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 202);
    assert_eq!(queued.len(), 3);
    for answer in refused {
        assert!(answer.header("retry-after").is_some());
        answer.problem(429, "too-many-requests");
    }
    client
        .post(format!("/v1/jobs/{}/cancel", id(&queued[0].json())))
        .send()
        .expect(200);
    post(client, "/v1/jobs", &spec).expect(202);
}

fn uploads_at_once_do_not_get_past_the_room_of_their_tenant() {
    let server = Server::start(&["--max-storage-mib", "1"]);
    let client = &server.client();
    let table = format!("a\n{}", "1\n".repeat(150_000));
    let send = || client.post("/v1/datasets").body("text/csv", table.as_str()).send();
    let (stored, refused): (Vec<_>, Vec<_>) = at_once(20, send).into_iter().partition(|answer| answer.status == 201);
    assert_eq!(stored.len(), 3);
    for answer in refused {
        let problem = answer.problem(507, "insufficient-storage");
        let told = problem["detail"].as_str().expect("a sentence");
        assert!(told.contains("may have 1048576") && told.contains("Delete"), "{told}");
    }
    client
        .delete(format!("/v1/datasets/{}", id(&stored[0].json())))
        .send()
        .expect(204);
    send().expect(201);
}

/// The status of a request that is answered although its body is never sent.
fn status_without_body(client: &Client) -> String {
    Announced::new(client, "/v1/datasets", 100).0
}

/// A table whose head was sent and answered, with 100 where the server is ready for the body.
struct Announced(String, BufReader<TcpStream>);

impl Announced {
    fn new(client: &Client, target: &str, length: usize) -> Self {
        let mut socket = TcpStream::connect(client.authority()).expect("it listens");
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).expect("it reads");
        let mut answer = BufReader::new(socket);
        let status = status(&mut answer);
        Self(status, answer)
    }

    /// Sends the body after all, and gives the status that it is answered with.
    fn send(&mut self, body: &str) -> String {
        self.1.get_mut().write_all(body.as_bytes()).expect("it reads");
        // After 100 there is an empty line.
        self.1.read_line(&mut String::new()).expect("a line");
        status(&mut self.1)
    }
}

fn status(answer: &mut impl BufRead) -> String {
    let mut line = String::new();
    answer.read_line(&mut line).expect("an answer");
    line[9..12].to_owned()
}

fn a_tenant_without_room_is_told_before_it_sends_a_body() {
    let server = Server::start(&["--max-storage-mib", "1"]);
    let client = &server.client();
    let mebibyte = format!("a\n{}", "1\n".repeat((1 << 19) - 1));
    assert_eq!(status_without_body(client), "100");
    upload(client, "all", mebibyte);
    assert_eq!(status_without_body(client), "507");
}

fn a_model_that_takes_more_room_than_there_is_is_kept_and_what_comes_next_refused() {
    let server = Server::start(&["--max-storage-mib", "1"]);
    let client = &server.client();
    let zeros = "0".repeat(1000);
    let rows: String = (0..1000).map(|row| format!("{zeros}{},{row}\n", row % 7)).collect();
    let table = format!("x,y\n{rows}");
    let rest = (1 << 20) - 500 - table.len();
    let last = "0".repeat(rest - 4) + "1";
    let dataset = upload(client, "nearly all", format!("{table}{last},7\n"));
    let spec = json!({"dataset": id(&dataset), "target": "y", "training": {"epochs": 1}});
    let trained = Trained::new(client, dataset, spec.clone());
    client.get(format!("/v1/models/{}", trained.model)).send().expect(200);
    let usage = client.get("/v1/usage").send().expect(200).json();
    assert!(usage["storage_bytes"]["used"].as_u64() > Some(1 << 20), "{usage}");

    let session = post(client, "/v1/sessions", &json!({"from_model": trained.model}))
        .expect(201)
        .json();
    let save = || client.post(format!("/v1/sessions/{}/save", id(&session))).send();
    for refused in [
        post(client, "/v1/jobs", &spec),
        save(),
        client.post("/v1/datasets").body("text/csv", "a\n1\n").send(),
    ] {
        refused.problem(507, "insufficient-storage");
    }
    post(client, "/v1/jobs?dry_run=true", &spec).expect(200);
    client
        .delete(format!("/v1/models/{}", trained.model))
        .send()
        .expect(204);
    save().problem(507, "insufficient-storage");
    post(client, "/v1/jobs", &spec).expect(202);
}

fn a_paused_job_keeps_its_place_in_the_queue() {
    let server = Server::start(&["--workers", "1", "--max-queued-jobs", "1"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let job = EndlessJob::submit(client, &dataset).started();
    let ask = |verb: &str| client.post(format!("/v1/jobs/{}/{verb}", job.id)).send();
    ask("pause").expect(200);
    post(client, "/v1/jobs", &iris_job(id(&dataset))).problem(429, "too-many-requests");
    let usage = client.get("/v1/usage").send().expect(200).json();
    assert_eq!(usage["queued_jobs"], json!({"used": 1, "limit": 1}));
    ask("resume").expect(200);
}

fn tables_for_predictions_have_places_while_they_are_sent() {
    let server = Server::start(&["--max-uploads", "2"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let target = format!("/v1/models/{}/predict/csv", Trained::new(client, dataset, spec).model);
    let announce = || Announced::new(client, &target, IRIS.len());
    let mut sending = [announce(), announce()];
    assert_eq!(sending.each_ref().map(|announced| announced.0.as_str()), ["100", "100"]);
    assert_eq!(announce().0, "503");
    let refused = client.post(&*target).body("text/csv", IRIS).send();
    assert_eq!(refused.header("retry-after"), Some("5"));
    refused.problem(503, "unavailable");
    assert_eq!(sending[0].send(IRIS), "200");
    assert_eq!(announce().0, "100");
}

fn long_histories_and_large_weights_wait_in_a_short_line_and_small_ones_do_not() {
    let server = Server::start(&["--max-waiting-tables", "0"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let small = iris_job(id(&dataset));
    let wide = json!([{"type": "dense", "units": 3000}, {"type": "dense", "units": 3, "activation": "softmax"}]);
    let large = json!({"model": {"layers": wide}, "training": {"epochs": 600, "batch_size": 150}});
    let large = Trained::new(client, dataset.clone(), with(&small, large));
    let small = Trained::new(client, dataset, small);
    let targets = |trained: &Trained| {
        let job = format!("/v1/jobs/{}/history", id(&trained.job));
        [
            format!("/v1/models/{}/weights", trained.model),
            format!("{job}.csv"),
            format!("{job}.svg"),
            job,
        ]
    };
    let many = 20 * thread::available_parallelism().map_or(1, usize::from);
    for (target, small) in targets(&large).into_iter().zip(targets(&small)) {
        client.get(&target).send().expect(200);
        let answers: Vec<Answer> = thread::scope(|scope| {
            let senders: Vec<_> = (0..many).map(|_| scope.spawn(|| client.get(&target).send())).collect();
            for _ in 0..10 {
                client.get(&small).send().expect(200);
            }
            senders
                .into_iter()
                .map(|sender| sender.join().expect("an answer"))
                .collect()
        });
        let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
        assert!(
            !answered.is_empty() && !refused.is_empty(),
            "{target}: {} answered",
            answered.len()
        );
        for refusal in refused {
            assert_eq!(refusal.header("retry-after"), Some("5"));
            refusal.problem(503, "unavailable");
        }
    }
}

/// Whether a request is answered; else it is refused for coming too soon.
fn is_answered(client: &Client) -> bool {
    let answer = client.get("/v1/jobs").send();
    if answer.status == 200 {
        return true;
    }
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.problem(429, "too-many-requests");
    false
}

fn each_key_has_its_own_rate_and_health_has_none() {
    let server = Server::start(&["--max-requests-per-second", "10"]);
    let open = server.client();
    let admin = open.with_key(secret(&create(&open, json!({"name": "boss", "role": "admin"}))));
    let other = open.with_key(secret(&create(&admin, json!({"name": "other", "role": "read"}))));
    let began = Instant::now();
    let answered = (0..100).filter(|_| is_answered(&admin)).count();
    // A burst of ten, and what the time that it took has brought.
    let most = 10 + 10 * began.elapsed().as_secs() as usize + 10;
    assert!((9..=most).contains(&answered), "{answered}");
    assert!(is_answered(&other));
    for _ in 0..30 {
        open.get("/livez").send().expect(200);
    }
    thread::sleep(Duration::from_secs(1));
    assert!(is_answered(&admin));
}

fn who_tries_keys_has_the_rate_of_an_address_and_takes_nothing_from_a_key() {
    let server = Server::start(&["--max-requests-per-second", "10"]);
    let open = server.client();
    let admin = open.with_key(secret(&create(&open, json!({"name": "boss", "role": "admin"}))));
    let wrong = [made_elsewhere(), "ty_1234".to_owned()].map(|key| open.with_key(&key));
    for client in [&open].into_iter().chain(&wrong) {
        let refused = |_| client.get("/v1/jobs").send().status;
        let refused: Vec<u16> = (0..100).map(refused).collect();
        assert!(refused.iter().all(|status| [401, 429].contains(status)), "{refused:?}");
        assert!(refused.contains(&429), "{refused:?}");
        assert!((0..20).any(|_| status_without_body(client) == "429"));
        assert!((0..100).any(|_| is_answered(&admin)));
    }
}

fn the_rate_of_an_open_server_is_that_of_an_address_and_comes_before_the_body() {
    let server = Server::start(&["--max-requests-per-second", "1"]);
    let client = &server.client();
    assert!((0..20).any(|_| !is_answered(client)));
    assert!((0..20).any(|_| status_without_body(client) == "429"));
    let unlimited = Server::start(&["--max-requests-per-second", "0"]);
    let client = &unlimited.client();
    assert!((0..200).all(|_| is_answered(client)));
}

fn an_admin_sees_what_its_tenant_has_and_may_have() {
    let limits = "--workers=1 --max-queued-jobs=7 --max-storage-mib=2 --max-sessions=5 --max-event-streams=1";
    let server = Server::start(&limits.split_whitespace().collect::<Vec<_>>());
    let client = &server.client();
    let usage = || client.get("/v1/usage").send().expect(200).json();
    let used = |used: usize, limit: usize| json!({"used": used, "limit": limit});
    let jobs =
        json!({"queued": 0, "running": 0, "paused": 0, "cancelling": 0, "succeeded": 0, "failed": 0, "cancelled": 0});
    let nothing = json!({
        "datasets": 0, "storage_bytes": used(0, 2 << 20), "models": 0, "jobs": jobs, "queued_jobs": used(0, 7),
        "sessions": used(0, 5), "event_streams": used(0, 1),
    });
    assert_eq!(usage(), nothing);
    let trained = {
        let dataset = upload(client, "iris", IRIS);
        let spec = iris_job(id(&dataset));
        Trained::new(client, dataset, spec)
    };
    upload(client, "iris", IRIS);
    post(client, "/v1/sessions", &json!({"from_model": trained.model})).expect(201);
    let running = EndlessJob::submit(client, &trained.dataset);
    // Not by its events, whose one place is freed a little after they were read.
    while running.get()["status"] != "running" {
        thread::sleep(Duration::from_millis(10));
    }
    let _waiting = [(); 2].map(|()| EndlessJob::submit(client, &trained.dataset));
    let events = client.get(format!("/v1/jobs/{}/events", running.id));
    let stream = events.clone().events();
    let storage = usage()["storage_bytes"]["used"].clone();
    let tables = 2 * IRIS.len() as u64;
    assert!(storage.as_u64() > Some(tables), "the model counts too: {storage}");
    let expected = with(
        &nothing,
        json!({
            "datasets": 2, "storage_bytes": {"used": storage, "limit": 2 << 20}, "models": 1,
            "jobs": with(&jobs, json!({"queued": 2, "running": 1, "succeeded": 1})), "queued_jobs": used(2, 7),
            "sessions": used(1, 5), "event_streams": used(1, 1),
        }),
    );
    assert_eq!(usage(), expected);
    events.send().problem(429, "too-many-requests");
    drop(stream);
}
