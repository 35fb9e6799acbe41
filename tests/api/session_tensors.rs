//! The calls of a session with arrays as safetensors.

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};

use crate::client::{Answer, Call};
use crate::fixtures::{client, id};
use crate::trials;

trials![
    a_loop_in_safetensors_is_the_loop_in_json_bit_for_bit,
    a_forward_pass_gives_the_numbers_of_the_one_in_json,
    weights_come_and_go_as_arrays,
    steps_with_one_batch_are_those_in_json,
    an_answer_says_where_its_time_went,
    every_fault_of_the_arrays_is_told,
    calls_to_no_session_of_another_type_or_too_large_are_refused,
];

const X: [[f32; 2]; 3] = [[0.5, -1.0], [1.5, 2.0], [-0.25, 0.75]];
const Y: [[f32; 1]; 3] = [[1.0], [0.0], [0.5]];

fn begin() -> String {
    let document = json!({
        "inputs": 2, "seed": 3,
        "model": {
            "layers": [{"type": "dense", "units": 4, "activation": "swish"}, "batch_normalization",
                       {"type": "dense", "units": 1}, {"type": "activation", "activation": "tanh"}],
            "loss": "mse",
        },
    });
    let session = client().post("/v1/sessions").json(&document).send().expect(201).json();
    format!("/v1/sessions/{}", id(&session))
}

fn bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn batch() -> Vec<u8> {
    let (x, y) = (bytes(X.into_iter().flatten()), bytes(Y.into_iter().flatten()));
    let view = |shape: [usize; 2], data| TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
    serialize([("x", view([3, 2], &x)), ("y", view([3, 1], &y))], None).unwrap()
}

/// Arrays of zeros.
pub(crate) fn zeros(arrays: &[(&str, [usize; 2])]) -> Vec<u8> {
    let zeros = [0; 64];
    let view = |shape: [usize; 2]| TensorView::new(Dtype::F32, shape.to_vec(), &zeros[..4 * shape[0] * shape[1]]);
    let views = arrays.iter().map(|(name, shape)| (*name, view(*shape).unwrap()));
    serialize(views, None).unwrap()
}

/// The rows alone, as numpy makes them: in 64 bits.
fn rows() -> Vec<u8> {
    let x: Vec<u8> = X
        .into_iter()
        .flatten()
        .flat_map(|x| f64::from(x).to_le_bytes())
        .collect();
    serialize([("x", TensorView::new(Dtype::F64, vec![3, 2], &x).unwrap())], None).unwrap()
}

fn call(method: &str, target: String, body: impl Into<Vec<u8>>) -> Call<'static> {
    client().call(method, target).body("application/octet-stream", body)
}

fn post(target: String, body: impl Into<Vec<u8>>) -> Answer {
    call("POST", target, body).send()
}

fn get(target: String) -> Answer {
    client().get(target).send().expect(200)
}

fn numbers(answer: &Answer, name: &str) -> (Dtype, Vec<usize>, Vec<u8>) {
    let tensors = SafeTensors::deserialize(&answer.body).unwrap();
    let view = tensors.tensor(name).unwrap();
    (view.dtype(), view.shape().to_vec(), view.data().to_vec())
}

fn scalar(answer: &Answer, name: &str) -> f64 {
    let (dtype, shape, data) = numbers(answer, name);
    assert_eq!((dtype, shape), (Dtype::F64, vec![]), "{name}");
    f64::from_le_bytes(data.try_into().unwrap())
}

fn a_loop_in_safetensors_is_the_loop_in_json_bit_for_bit() {
    let (as_bytes, as_text) = (begin(), begin());
    for step in 0..3 {
        let (first, second) = (2 * step + 1, 2 * step + 2);
        let text = client()
            .post(format!("{as_text}/gradients"))
            .json(&json!({"x": X, "y": Y, "seq": first}));
        let text = text.send().expect(200).json();
        let taped = post(format!("{as_bytes}/gradients.safetensors?seq={first}"), batch()).expect(200);
        assert_eq!(scalar(&taped, "loss"), text["loss"].as_f64().unwrap());
        assert_eq!(scalar(&taped, "gradient_norm"), text["gradient_norm"].as_f64().unwrap());
        assert_eq!(scalar(&taped, "seq"), first as f64);
        let (dtype, shape, _) = numbers(&taped, "0.kernel");
        assert_eq!((dtype, shape), (Dtype::F32, vec![2, 4]));

        let applied = client()
            .post(format!("{as_text}/apply_gradients"))
            .json(&json!({"gradients": text["gradients"], "seq": second}));
        let applied = applied.send().expect(200).json();
        // The answer is sent back as it came.
        let sent_back = post(
            format!("{as_bytes}/apply_gradients.safetensors?seq={second}"),
            taped.body,
        );
        assert_eq!(sent_back.expect(200).json(), applied);
    }
    let weights = |session: &str| get(format!("{session}/weights")).json();
    assert_eq!(weights(&as_bytes), weights(&as_text));
}

fn a_forward_pass_gives_the_numbers_of_the_one_in_json() {
    let session = begin();
    let y = post(format!("{session}/forward.safetensors"), rows()).expect(200);
    let text = client()
        .post(format!("{session}/forward"))
        .json(&json!({"x": X}))
        .send()
        .expect(200)
        .json();
    let text = text["y"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[0].as_f64().unwrap() as f32);
    assert_eq!(numbers(&y, "y"), (Dtype::F32, vec![3, 1], bytes(text)));
}

fn weights_come_and_go_as_arrays() {
    let (session, other) = (begin(), begin());
    post(format!("{other}/train_on_batch.safetensors?steps=5"), batch()).expect(200);
    let weights = get(format!("{other}/weights.safetensors"));
    let (_, shape, _) = numbers(&weights, "1.moving_mean");
    assert_eq!(shape, [4]);
    let set = call(
        "PUT",
        format!("{session}/weights.safetensors?seq=1"),
        weights.body.clone(),
    )
    .send();
    assert_eq!(set.expect(200).json(), json!({"step": 0, "seq": 1}));
    assert_eq!(get(format!("{session}/weights.safetensors")).body, weights.body);
    assert_eq!(
        get(format!("{session}/weights")).json(),
        get(format!("{other}/weights")).json()
    );
}

fn steps_with_one_batch_are_those_in_json() {
    let (session, other) = (begin(), begin());
    let answer = post(format!("{session}/train_on_batch.safetensors?steps=3&seq=1"), batch())
        .expect(200)
        .json();
    let body = json!({"x": X, "y": Y, "steps": 3});
    let text = client()
        .post(format!("{other}/train_on_batch"))
        .json(&body)
        .send()
        .expect(200)
        .json();
    assert_eq!(answer, text);
}

fn an_answer_says_where_its_time_went() {
    let session = begin();
    let answer = post(format!("{session}/gradients.safetensors"), batch()).expect(200);
    let times = answer.header("server-timing").expect("a server-timing header");
    let parts: Vec<&str> = times.split(", ").collect();
    for (part, name) in parts.iter().zip(["compute", "save"]) {
        let duration = part
            .strip_prefix(&format!("{name};dur="))
            .unwrap_or_else(|| panic!("{times}"));
        assert!(
            duration.parse::<f64>().is_ok_and(|ms| (0.0..60_000.0).contains(&ms)),
            "{times}"
        );
    }
    assert_eq!(parts.len(), 2);
}

fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().expect("errors");
    errors.iter().filter_map(|error| error["pointer"].as_str()).collect()
}

fn every_fault_of_the_arrays_is_told() {
    let session = begin();
    let refused = |name: &str, body: Vec<u8>| {
        post(format!("{session}/{name}.safetensors"), body).problem(422, "invalid-features")
    };
    assert_eq!(pointers(&refused("gradients", rows())), ["/y"]);
    assert_eq!(pointers(&refused("train_on_batch", rows())), ["/y"]);
    assert_eq!(pointers(&refused("forward", batch())), ["/y"]);
    assert_eq!(pointers(&refused("apply_gradients", batch())), ["/x", "/y"]);
    let set = call("PUT", format!("{session}/weights.safetensors"), batch()).send();
    assert_eq!(pointers(&set.problem(422, "invalid-features")), ["/x", "/y"]);
    let wide = bytes([1.0, 2.0, f32::INFINITY]);
    let wide = [("x", TensorView::new(Dtype::F32, vec![1, 3], &wide).unwrap())];
    assert_eq!(pointers(&refused("forward", serialize(wide, None).unwrap())), ["/x"]);
    for malformed in [Vec::new(), b"{\"x\": [[1.0]]}".to_vec(), batch()[..50].to_vec()] {
        post(format!("{session}/gradients.safetensors"), malformed).problem(400, "malformed-request");
    }
    let query = post(format!("{session}/train_on_batch.safetensors?steps=0&seq=-1"), batch());
    assert_eq!(pointers(&query.problem(400, "malformed-request")), ["steps", "seq"]);
    for (method, name) in [
        ("POST", "gradients"),
        ("POST", "apply_gradients"),
        ("POST", "train_on_batch"),
        ("PUT", "weights"),
    ] {
        let body = match name {
            "gradients" | "train_on_batch" => batch(),
            _ => get(format!("{session}/weights.safetensors")).body,
        };
        let early = call(method, format!("{session}/{name}.safetensors?seq=4"), body).send();
        assert!(early.problem(409, "conflict")["detail"].as_str().unwrap().contains('1'));
    }
    assert_eq!(get(session).json()["seq"], 0, "nothing was applied");
}

fn calls_to_no_session_of_another_type_or_too_large_are_refused() {
    let nobodys = "/v1/sessions/ses_01938f4e5a7c7d2e9b1f3a5c7e9d1b3f";
    let session = begin();
    let weights = get(format!("{session}/weights.safetensors")).body;
    let calls = [
        ("POST", "forward", rows()),
        ("POST", "gradients", batch()),
        ("POST", "apply_gradients", weights.clone()),
        ("POST", "train_on_batch", batch()),
        ("PUT", "weights", weights),
    ];
    let too_large = vec![0; (128 << 20) + 1];
    for (method, name, body) in calls {
        let target = |session: &str| format!("{session}/{name}.safetensors");
        call(method, target(nobodys), body).send().problem(404, "not-found");
        let json = client().call(method, target(&session)).json(&json!({"x": X}));
        json.send().problem(415, "unsupported-media-type");
        let packed = call(method, target(&session), batch()).header("content-encoding", "zstd");
        packed.send().problem(415, "unsupported-media-type");
        let large = call(method, target(&session), too_large.clone());
        large.send().problem(413, "body-too-large");
    }
    client()
        .get(format!("{nobodys}/weights.safetensors"))
        .send()
        .problem(404, "not-found");
}
