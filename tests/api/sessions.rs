//! /v1/sessions: the client writes the training loop, the server differentiates.

use serde_json::{Value, json};

use crate::client::{Answer, Call, Client};
use crate::fixtures::{TRAINED_HOUSING, client, id};
use crate::server::Server;
use crate::trials;

trials![
    a_session_says_what_it_is_and_when_it_ends,
    a_session_that_is_deleted_is_gone,
    a_loop_of_gradients_and_their_application_is_training_in_one_call,
    a_call_sent_again_gets_its_first_answer_and_a_gap_names_the_number_waited_for,
    a_forward_pass_in_training_changes_the_session_and_one_without_does_not,
    weights_that_are_set_are_the_weights,
    a_session_from_a_model_predicts_as_the_model_and_saves_as_one,
    a_session_of_several_outputs_that_are_no_classes_is_no_model,
    a_session_goes_on_after_a_crash_to_the_same_bits,
    there_are_so_many_sessions_and_no_more,
    every_fault_of_a_new_session_is_told,
    every_fault_of_a_call_is_told,
    calls_to_no_session_in_no_json_or_too_large_are_refused,
];

const CALLS: [&str; 4] = ["forward", "gradients", "apply_gradients", "train_on_batch"];

/// Two inputs, one output, nothing random but the first weights.
fn small() -> Value {
    json!({
        "inputs": 2, "seed": 3,
        "model": {
            "layers": [{"type": "dense", "units": 4, "activation": "swish"}, "batch_normalization", {"type": "dense", "units": 1}],
            "loss": "mse",
        },
    })
}

fn batch() -> Value {
    json!({"x": [[0.5, -1.0], [1.5, 2.0], [-0.25, 0.75]], "y": [[1.0], [0.0], [0.5]]})
}

fn begin(client: &Client, document: &Value) -> String {
    let answer = client.post("/v1/sessions").json(document).send().expect(201);
    let session = answer.json();
    let place = format!("/v1/sessions/{}", id(&session));
    assert_eq!(answer.header("location"), Some(&*place));
    place
}

fn send(client: &Client, session: &str, call: &str, body: &Value) -> Answer {
    client.post(format!("{session}/{call}")).json(body).send()
}

/// The answer to a call of the shared server's session, with further fields in its body.
fn call(session: &str, name: &str, mut body: Value, more: Value) -> Value {
    let more = more.as_object().cloned().unwrap_or_default();
    body.as_object_mut().expect("an object").extend(more);
    send(client(), session, name, &body).expect(200).json()
}

fn get(target: String) -> Value {
    client().get(target).send().expect(200).json()
}

fn a_session_says_what_it_is_and_when_it_ends() {
    let place = begin(client(), &small());
    let session = get(place);
    assert_eq!(session["network"]["optimizer"]["type"], "adam");
    assert_eq!(
        (
            &session["inputs"],
            &session["outputs"],
            &session["seq"],
            &session["step"]
        ),
        (&json!(2), &json!(1), &json!(0), &json!(0))
    );
    assert_eq!(
        session["parameters"],
        json!({"total": 33, "trainable": 25, "non_trainable": 8})
    );
    assert_eq!(session["from_model"], Value::Null);
    assert!(session["created_at"].as_str() < session["expires_at"].as_str());
}

fn a_session_that_is_deleted_is_gone() {
    let session = begin(client(), &small());
    client().delete(&*session).send().expect(204);
    client().get(&*session).send().problem(404, "not-found");
    client().delete(&*session).send().problem(404, "not-found");
}

fn a_loop_of_gradients_and_their_application_is_training_in_one_call() {
    let (one_by_one, at_once) = (begin(client(), &small()), begin(client(), &small()));
    let mut losses = Vec::new();
    for step in 1..=3 {
        let answer = call(&one_by_one, "gradients", batch(), json!({"seq": 2 * step - 1}));
        losses.push(answer["loss"].clone());
        let applied = json!({"gradients": answer["gradients"]});
        let applied = call(&one_by_one, "apply_gradients", applied, json!({"seq": 2 * step}));
        assert_eq!(applied, json!({"step": step, "seq": 2 * step}));
    }
    let trained = call(&at_once, "train_on_batch", batch(), json!({"steps": 3}));
    assert_eq!(trained, json!({"loss": losses, "step": 3, "seq": 1}));
    assert_eq!(get(format!("{one_by_one}/weights")), get(format!("{at_once}/weights")));
}

fn a_call_sent_again_gets_its_first_answer_and_a_gap_names_the_number_waited_for() {
    let session = begin(client(), &small());
    let first = call(&session, "train_on_batch", batch(), json!({"seq": 1}));
    let second = call(&session, "train_on_batch", batch(), json!({"seq": 2}));
    assert_eq!(call(&session, "train_on_batch", batch(), json!({"seq": 2})), second);
    assert_eq!(call(&session, "train_on_batch", batch(), json!({"seq": 1})), first);
    assert_eq!(get(session.clone())["step"], 2);
    let bodies = [batch(), batch(), json!({"gradients": [{}, {}, {}]}), batch()];
    for (name, mut body) in CALLS.into_iter().zip(bodies) {
        body["seq"] = json!(4);
        if name == "forward" {
            body = json!({"x": body["x"], "training": true, "seq": 4});
        }
        let problem = send(client(), &session, name, &body).problem(409, "conflict");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.contains('3')),
            "{problem}"
        );
    }
    let weights = get(format!("{session}/weights"))["weights"].clone();
    let set = client().call("PUT", format!("{session}/weights"));
    set.json(&json!({"weights": weights, "seq": 5}))
        .send()
        .problem(409, "conflict");
}

fn a_forward_pass_in_training_changes_the_session_and_one_without_does_not() {
    let session = begin(client(), &small());
    let x = json!({"x": batch()["x"]});
    let before = get(format!("{session}/weights"));
    let plain = call(&session, "forward", x.clone(), json!({}));
    assert_eq!(plain["y"].as_array().map(Vec::len), Some(3));
    assert_eq!(get(format!("{session}/weights")), before);
    let training = call(&session, "forward", x.clone(), json!({"training": true, "seq": 1}));
    assert_ne!(training, plain, "batch normalization looks at the batch");
    let after = get(format!("{session}/weights"));
    assert_ne!(after["weights"][1]["moving_mean"], before["weights"][1]["moving_mean"]);
    assert_eq!(after["weights"][0], before["weights"][0]);
}

fn weights_that_are_set_are_the_weights() {
    let (session, other) = (begin(client(), &small()), begin(client(), &small()));
    call(&other, "train_on_batch", batch(), json!({"steps": 5}));
    let wanted = get(format!("{other}/weights"));
    let mut body = wanted.clone();
    body["seq"] = json!(1);
    let set = client()
        .call("PUT", format!("{session}/weights"))
        .json(&body)
        .send()
        .expect(200)
        .json();
    assert_eq!(set, json!({"step": 0, "seq": 1}));
    assert_eq!(get(format!("{session}/weights")), wanted);
}

fn a_session_from_a_model_predicts_as_the_model_and_saves_as_one() {
    let model = &TRAINED_HOUSING.model;
    let session = begin(client(), &json!({"from_model": model}));
    assert_eq!(get(session.clone())["from_model"], json!(model));
    let weights = get(format!("/v1/models/{model}/weights"));
    assert_eq!(get(format!("{session}/weights")), weights);
    let saved = client()
        .post(format!("{session}/save?name=again"))
        .header("idempotency-key", "once");
    let first = saved.send().expect(201);
    let again = client()
        .post(format!("{session}/save?name=again"))
        .header("idempotency-key", "once");
    let saved = first.json();
    assert_eq!(again.send().expect(201).json(), saved);
    assert_eq!(first.header("location"), Some(&*format!("/v1/models/{}", id(&saved))));
    assert_eq!(saved["name"], "again");
    let predict = |model: &str| {
        let row: Vec<f64> = (0..13).map(|column| f64::from(column) + 0.5).collect();
        let call = client().post(format!("/v1/models/{model}/predict"));
        call.json(&json!({"instances": [row]})).send().expect(200).json()["predictions"].clone()
    };
    assert_eq!(predict(id(&saved)), predict(model));
}

fn a_session_of_several_outputs_that_are_no_classes_is_no_model() {
    let mut document = small();
    document["model"]["layers"][2]["units"] = json!(2);
    let session = begin(client(), &document);
    client().post(format!("{session}/save")).send().problem(409, "conflict");
}

fn a_session_goes_on_after_a_crash_to_the_same_bits() {
    let mut server = Server::start(&[]);
    let untouched = begin(client(), &small());
    call(&untouched, "train_on_batch", batch(), json!({"steps": 4}));
    let session = begin(&server.client(), &small());
    let mut body = batch();
    body["steps"] = json!(2);
    body["seq"] = json!(1);
    let first = send(&server.client(), &session, "train_on_batch", &body)
        .expect(200)
        .json();
    server.crash_and_restart();
    let again = send(&server.client(), &session, "train_on_batch", &body)
        .expect(200)
        .json();
    assert_eq!(again, first, "what was acknowledged is there, and not done twice");
    body["seq"] = json!(2);
    send(&server.client(), &session, "train_on_batch", &body).expect(200);
    let weights = server
        .client()
        .get(format!("{session}/weights"))
        .send()
        .expect(200)
        .json();
    assert_eq!(weights, get(format!("{untouched}/weights")));
}

fn there_are_so_many_sessions_and_no_more() {
    let server = Server::start(&["--max-sessions", "2", "--session-idle-s", "60"]);
    let client = server.client();
    let first = begin(&client, &small());
    begin(&client, &small());
    client
        .post("/v1/sessions")
        .json(&small())
        .send()
        .problem(429, "too-many-requests");
    client.delete(&*first).send().expect(204);
    begin(&client, &small());
}

fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("errors");
    errors.iter().filter_map(|error| error["pointer"].as_str()).collect()
}

fn every_fault_of_a_new_session_is_told() {
    let refused = |document: Value| {
        client()
            .post("/v1/sessions")
            .json(&document)
            .send()
            .problem(422, "invalid-spec")
    };
    let problem = refused(json!({
        "inputs": 0, "seed": -1, "sed": 1, "model": {"layers": [{"type": "dens"}], "loss": "mse"},
    }));
    assert_eq!(pointers(&problem), ["/sed", "/seed", "/inputs", "/model/layers/0/type"]);
    let problem = refused(json!({"from_model": "mdl_1", "inputs": 3}));
    assert_eq!(pointers(&problem), ["/inputs", "/from_model"]);
    let nobodys = "mdl_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    assert_eq!(pointers(&refused(json!({"from_model": nobodys}))), ["/from_model"]);
    assert_eq!(pointers(&refused(json!({}))), ["/inputs", "/model"]);
    let mut wrong = small();
    wrong["initial_weights"] = json!([{"kernel": [[1.0]], "bias": [0.0]}, {}, {}]);
    assert!(
        pointers(&refused(wrong))
            .iter()
            .all(|pointer| pointer.starts_with("/initial_weights/"))
    );
}

fn every_fault_of_a_call_is_told() {
    let session = begin(client(), &small());
    let refused = |name: &str, body: Value| send(client(), &session, name, &body).problem(422, "invalid-features");
    let cases = [
        (
            "forward",
            json!({"x": [[1.0]], "training": "yes", "seq": 0}),
            vec!["/training", "/seq"],
        ),
        ("forward", json!({"x": [[1.0]]}), vec!["/x"]),
        ("forward", json!({"x": [[1.0, 2.0]], "seq": 1}), vec!["/seq"]),
        ("gradients", json!({"x": [[1.0, 2.0]]}), vec!["/y"]),
        ("gradients", json!({"x": [[1.0, 2.0]], "y": [[1.0], [2.0]]}), vec!["/y"]),
        (
            "gradients",
            json!({"x": [[1.0, "a"]], "y": [[1e300]]}),
            vec!["/x/0/1", "/y/0/0"],
        ),
        (
            "train_on_batch",
            json!({"x": [[1.0, 2.0]], "y": [[1.0]], "steps": 0, "step": 2}),
            vec!["/step", "/steps"],
        ),
        ("apply_gradients", json!({"gradients": [{}]}), vec!["/gradients"]),
        (
            "apply_gradients",
            json!({"gradient": []}),
            vec!["/gradient", "/gradients"],
        ),
    ];
    for (name, body, wanted) in cases {
        assert_eq!(pointers(&refused(name, body.clone())), wanted, "{name} {body}");
    }
    let set = client().call("PUT", format!("{session}/weights"));
    let problem = set
        .json(&json!({"weights": [{}, {}, {}]}))
        .send()
        .problem(422, "invalid-features");
    assert!(pointers(&problem).contains(&"/weights/0/kernel"), "{problem}");
    assert_eq!(get(session)["seq"], 0, "nothing was applied");
}

fn calls_to_no_session_in_no_json_or_too_large_are_refused() {
    let nobodys = "/v1/sessions/ses_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    let session = begin(client(), &small());
    let weights = get(format!("{session}/weights"));
    let x = json!({"x": [[1.0, 2.0]]});
    let gradients = json!({"gradients": [{}, {}, {}]});
    let calls = [
        ("POST", "/forward", &x),
        ("POST", "/gradients", &batch()),
        ("POST", "/apply_gradients", &gradients),
        ("POST", "/train_on_batch", &batch()),
        ("PUT", "/weights", &weights),
    ];
    let too_large = vec![b' '; 33 << 20];
    let refused = |call: &dyn Fn() -> Call<'static>| {
        call()
            .body("text/plain", "{}")
            .send()
            .problem(415, "unsupported-media-type");
        call()
            .body("application/json", too_large.clone())
            .send()
            .problem(413, "body-too-large");
    };
    for (method, path, body) in calls {
        let call = |session: &str| client().call(method, format!("{session}{path}"));
        call(nobodys).json(body).send().problem(404, "not-found");
        refused(&|| call(&session));
    }
    refused(&|| client().post("/v1/sessions"));
    client()
        .get(format!("{nobodys}/weights"))
        .send()
        .problem(404, "not-found");
    client()
        .post(format!("{nobodys}/save"))
        .send()
        .problem(404, "not-found");
}
