//! /v1/jobs/{id}/events: what happened, as it happens, and again from any point.

use eventsource_stream::Event;
use serde_json::Value;

use crate::fixtures::{EndlessJob, IRIS, TRAINED_IRIS, client, id, iris_job, submit, upload, with};
use crate::server::Server;
use crate::trials;

trials![
    a_stream_tells_every_epoch_and_status_and_ends_with_done,
    events_come_while_the_job_runs,
    last_event_id_resumes_without_loss,
    a_stream_of_a_finished_job_can_be_read_again,
    events_survive_kill_9,
];

fn events(job: &Value, last_event_id: Option<&str>) -> Vec<Event> {
    let call = client().get(format!("/v1/jobs/{}/events", id(job)));
    last_event_id
        .map_or(call.clone(), |last| call.header("last-event-id", last))
        .events()
        .collect()
}

fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("{error}: {event:?}"))
}

fn a_stream_tells_every_epoch_and_status_and_ends_with_done() {
    let job = submit(client(), &iris_job(id(&TRAINED_IRIS.dataset)));
    let events = events(&job, None);
    let ids: Vec<u64> = events
        .iter()
        .map(|event| event.id.parse().expect("the id is the event's number"))
        .collect();
    assert_eq!(ids, (1..=events.len() as u64).collect::<Vec<_>>(), "without gaps");
    let epochs: Vec<Value> = events.iter().filter(|event| event.event == "epoch").map(data).collect();
    let history = client()
        .get(format!("/v1/jobs/{}/history", id(&job)))
        .send()
        .expect(200)
        .json();
    for (index, epoch) in epochs.iter().enumerate() {
        assert_eq!(epoch["epoch"], index + 1);
        let metrics = if epoch["metrics"].is_object() {
            &epoch["metrics"]
        } else {
            epoch
        };
        assert_eq!(
            (&metrics["loss"], &metrics["accuracy"]),
            (&history["loss"][index], &history["accuracy"][index])
        );
    }
    assert_eq!(epochs.len(), 5);
    let statuses: Vec<Value> = events
        .iter()
        .filter(|event| event.event == "status")
        .map(|e| data(e)["status"].clone())
        .collect();
    assert!(statuses.contains(&"running".into()), "{statuses:?}");
    let last = events.last().expect("at least one event");
    assert_eq!(
        (last.event.as_str(), &data(last)["status"]),
        ("done", &"succeeded".into())
    );
    assert_eq!(events.iter().filter(|event| event.event == "done").count(), 1);
}

fn events_come_while_the_job_runs() {
    let job = EndlessJob::submit(client(), &TRAINED_IRIS.dataset);
    let mut events = client().get(format!("/v1/jobs/{}/events", job.id)).events();
    assert!(events.any(|event| event.event == "epoch"));
    assert_eq!(job.get()["done"], false);
    job.cancel();
    let last = events.last().expect("the stream ends");
    assert_eq!(
        (last.event.as_str(), &data(&last)["status"]),
        ("done", &"cancelled".into())
    );
}

fn last_event_id_resumes_without_loss() {
    let all = events(&TRAINED_IRIS.job, None);
    for cut in 0..=all.len() {
        let rest = events(&TRAINED_IRIS.job, Some(&cut.to_string()));
        assert_eq!(rest, all[cut..], "after event {cut}");
    }
}

fn a_stream_of_a_finished_job_can_be_read_again() {
    assert_eq!(events(&TRAINED_IRIS.job, None), events(&TRAINED_IRIS.job, None));
}

fn events_survive_kill_9() {
    let mut server = Server::start(&[]);
    let dataset = upload(&server.client(), "iris", IRIS);
    let spec = with(
        &iris_job(id(&dataset)),
        serde_json::json!({"training": {"epochs": 300}}),
    );
    let job = submit(&server.client(), &spec);
    let target = format!("/v1/jobs/{}/events", id(&job));
    let mut seen: Vec<Event> = Vec::new();
    let mut stream = server.client().get(&target).events();
    while seen.iter().filter(|event| event.event == "epoch").count() < 20 {
        seen.push(stream.next().expect("more epochs"));
    }
    drop(stream);
    server.crash_and_restart();
    let last = seen.last().expect("20 epochs").id.clone();
    let rest: Vec<Event> = server
        .client()
        .get(&target)
        .header("last-event-id", &last)
        .events()
        .collect();
    seen.extend(rest);
    let epochs: Vec<u64> = seen
        .iter()
        .filter(|e| e.event == "epoch")
        .filter_map(|e| data(e)["epoch"].as_u64())
        .collect();
    assert_eq!(
        epochs,
        (1..=300).collect::<Vec<_>>(),
        "no epoch is lost, none told twice"
    );
    assert_eq!(data(seen.last().expect("a last event"))["status"], "succeeded");
}
