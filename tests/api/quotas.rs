//! What tenants, keys and addresses may take of what they share, and that many at once don't get past it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::access::made_elsewhere;
use crate::client::{Answer, Client};
use crate::fixtures::{EndlessJob, IRIS, Trained, id, iris_job, post, upload, with};
use crate::server::Server;
use crate::trials;
use crate::yard::{create, secret};

trials![
    jobs_at_once_do_not_get_past_the_queue_of_their_tenant,
    uploads_at_once_do_not_get_past_the_room_of_their_tenant,
    a_tenant_without_room_is_told_before_it_sends_a_body,
    a_model_that_takes_more_room_than_there_is_is_kept_and_what_comes_next_refused,
    a_paused_job_keeps_its_place_in_the_queue,
    tables_for_predictions_have_places_of_their_own_while_they_are_sent,
    long_histories_and_large_weights_wait_in_a_short_line_and_small_ones_do_not,
    each_key_has_its_own_rate_and_health_has_none,
    who_tries_keys_has_the_rate_of_an_address_and_takes_nothing_from_a_key,
    the_rate_of_an_open_server_is_that_of_an_address_and_comes_before_the_body,
    an_admin_sees_what_its_tenant_has_and_may_have,
];

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

fn tables_for_predictions_have_places_of_their_own_while_they_are_sent() {
    let server = Server::start(&["--max-uploads", "1", "--max-predicted-tables", "2"]);
    let client = &server.client();
    let dataset = upload(client, "iris", IRIS);
    let spec = iris_job(id(&dataset));
    let target = format!("/v1/models/{}/predict/csv", Trained::new(client, dataset, spec).model);
    let upload = || Announced::new(client, "/v1/datasets", IRIS.len());
    let mut uploading = upload();
    assert_eq!([uploading.0.as_str(), &upload().0], ["100", "503"]);
    let announce = || Announced::new(client, &target, IRIS.len());
    let mut sending = [announce(), announce()];
    assert_eq!(sending.each_ref().map(|announced| announced.0.as_str()), ["100", "100"]);
    assert_eq!([announce().0, upload().0], ["503", "503"]);
    assert_eq!(uploading.send(IRIS), "201");
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
