//! /v1/datasets: upload, look, give back, delete.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::fixtures::{EndlessJob, IRIS, IRIS_CP949, TRAINED_IRIS, client, gzip, id, upload};
use crate::server::Server;
use crate::trials;

trials![
    an_upload_answers_with_its_place_and_with_what_was_found,
    statistics_are_those_of_the_numbers_in_the_column,
    the_bytes_that_were_uploaded_come_back,
    a_gzip_upload_is_the_table_inside,
    a_form_upload_is_the_same_as_a_raw_one,
    a_preview_shows_the_rows_asked_for,
    datasets_are_listed_newest_first_page_by_page,
    the_same_bytes_twice_are_two_datasets_and_outlive_each_other,
    a_deleted_dataset_is_gone,
    a_dataset_that_a_job_needs_stays,
    a_dataset_survives_kill_9,
];

fn columns(dataset: &Value) -> &Value {
    &dataset["columns"]
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn content(client: &Client, dataset: &Value) -> Vec<u8> {
    client
        .get(format!("/v1/datasets/{}/content", id(dataset)))
        .send()
        .expect(200)
        .body
}

fn an_upload_answers_with_its_place_and_with_what_was_found() {
    let answer = client()
        .post("/v1/datasets?name=iris")
        .body("text/csv", IRIS)
        .send()
        .expect(201);
    let dataset = answer.json();
    assert_eq!(
        answer.header("location"),
        Some(format!("/v1/datasets/{}", id(&dataset)).as_str())
    );
    assert!(id(&dataset).starts_with("ds_"));
    assert_eq!(dataset["name"], "iris");
    assert_eq!(dataset["rows"], 150);
    assert_eq!(dataset["size_bytes"], IRIS.len());
    assert_eq!(dataset["sha256"], hex_sha256(IRIS.as_bytes()));
    let found: Vec<String> = columns(&dataset)
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{} {}", c["name"], c["type"]))
        .collect();
    let wanted = [
        r#""꽃잎길이" "number""#,
        r#""꽃잎폭" "number""#,
        r#""꽃받침길이" "number""#,
        r#""꽃받침폭" "number""#,
        r#""품종" "category""#,
    ];
    assert_eq!(found, wanted);
    let class = |value: &str| json!({"value": value, "count": 50});
    assert_eq!(
        columns(&dataset)[4]["categories"],
        json!([class("setosa"), class("versicolor"), class("virginica")])
    );
    assert_eq!(
        client()
            .get(format!("/v1/datasets/{}", id(&dataset)))
            .send()
            .expect(200)
            .json(),
        dataset
    );
}

fn statistics_are_those_of_the_numbers_in_the_column() {
    let dataset = upload(client(), "statistics", "a,b\n1,-0.5\n2,\n3,1e3\n4,NA\n");
    let [a, b] = [&columns(&dataset)[0], &columns(&dataset)[1]];
    let figures = |column: &Value| ["missing", "min", "max", "mean", "std"].map(|name| column[name].as_f64().unwrap());
    // The standard deviation is the population's, √(Σ(x−mean)²/n), as the scaling uses it.
    assert_eq!(figures(a), [0.0, 1.0, 4.0, 2.5, 1.25_f64.sqrt()]);
    assert_eq!(figures(b), [2.0, -0.5, 1000.0, 499.75, 500.25]);
}

fn the_bytes_that_were_uploaded_come_back() {
    let with_mark = format!("\u{feff}{}", IRIS.replace('\n', "\r\n"));
    for bytes in [IRIS.as_bytes(), IRIS_CP949, with_mark.as_bytes()] {
        let dataset = upload(client(), "content", bytes);
        assert_eq!(dataset["sha256"], hex_sha256(bytes));
        assert!(content(client(), &dataset) == bytes, "the content differs");
    }
}

fn a_gzip_upload_is_the_table_inside() {
    let call = client()
        .post("/v1/datasets?name=gzip")
        .body("text/csv", gzip(IRIS.as_bytes()));
    let dataset = call.header("content-encoding", "gzip").send().expect(201).json();
    assert_eq!(columns(&dataset), columns(&upload(client(), "iris", IRIS)));
    assert!(content(client(), &dataset) == IRIS.as_bytes());
}

fn a_form_upload_is_the_same_as_a_raw_one() {
    let file = b"--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"iris_cp949.csv\"\r\nContent-Type: text/csv\r\n\r\n";
    let body = [file, IRIS_CP949, b"\r\n--line--\r\n"].concat();
    let call = client()
        .post("/v1/datasets/form?name=form")
        .body("multipart/form-data; boundary=line", body);
    let answer = call.send().expect(201);
    let dataset = answer.json();
    assert_eq!(
        answer.header("location"),
        Some(format!("/v1/datasets/{}", id(&dataset)).as_str())
    );
    assert_eq!(columns(&dataset), columns(&upload(client(), "iris", IRIS)));
    assert!(content(client(), &dataset) == IRIS_CP949);
}

fn a_preview_shows_the_rows_asked_for() {
    let dataset = &TRAINED_IRIS.dataset;
    let rows = |query: &str| {
        client()
            .get(format!("/v1/datasets/{}/rows{query}", id(dataset)))
            .send()
            .expect(200)
            .json()
    };
    let preview = rows("");
    assert_eq!(
        preview["columns"],
        json!(["꽃잎길이", "꽃잎폭", "꽃받침길이", "꽃받침폭", "품종"])
    );
    assert_eq!(preview["rows"].as_array().unwrap().len(), 20);
    assert_eq!(preview["rows"][0], json!([5.1, 3.5, 1.4, 0.2, "setosa"]));
    assert_eq!(
        rows("?offset=149&limit=5")["rows"],
        json!([[5.9, 3.0, 5.1, 1.8, "virginica"]])
    );
    assert_eq!(rows("?offset=150")["rows"], json!([]));
}

fn datasets_are_listed_newest_first_page_by_page() {
    let server = Server::start(&[]);
    let client = &server.client();
    let made: Vec<String> = (0..5)
        .map(|n| id(&upload(client, &format!("table-{n}"), "a\n1\n2\n")).to_owned())
        .collect();
    let page = |query: &str| client.get(format!("/v1/datasets{query}")).send().expect(200).json();
    let ids = |page: &Value| -> Vec<String> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| id(d).to_owned())
            .collect()
    };
    let newest_first: Vec<String> = made.into_iter().rev().collect();
    let all = page("");
    assert_eq!((ids(&all), &all["next"]), (newest_first.clone(), &Value::Null));
    let mut seen = Vec::new();
    let mut next = page("?limit=2");
    loop {
        seen.extend(ids(&next));
        let Some(cursor) = next["next"].as_str() else { break };
        next = page(&format!("?limit=2&after={cursor}"));
    }
    assert_eq!(seen, newest_first);
}

fn the_same_bytes_twice_are_two_datasets_and_outlive_each_other() {
    let [first, second] = [(); 2].map(|()| upload(client(), "twin", "a,b\n1,2\n3,4\n"));
    assert_ne!(first["id"], second["id"]);
    client()
        .delete(format!("/v1/datasets/{}", id(&first)))
        .send()
        .expect(204);
    assert_eq!(content(client(), &second), b"a,b\n1,2\n3,4\n");
}

fn a_deleted_dataset_is_gone() {
    let dataset = upload(client(), "gone", "a\n1\n2\n");
    client()
        .delete(format!("/v1/datasets/{}", id(&dataset)))
        .send()
        .expect(204);
    for part in ["", "/rows", "/content"] {
        client()
            .get(format!("/v1/datasets/{}{part}", id(&dataset)))
            .send()
            .problem(404, "not-found");
    }
    client()
        .delete(format!("/v1/datasets/{}", id(&dataset)))
        .send()
        .problem(404, "not-found");
}

fn a_dataset_that_a_job_needs_stays() {
    let dataset = upload(client(), "needed", IRIS);
    let job = EndlessJob::submit(client(), &dataset);
    let problem = client()
        .delete(format!("/v1/datasets/{}", id(&dataset)))
        .send()
        .problem(409, "conflict");
    assert!(
        problem["detail"].as_str().unwrap().contains(&job.id),
        "it says which job: {problem}"
    );
    assert_eq!(job.cancel()["status"], "cancelled");
    client()
        .delete(format!("/v1/datasets/{}", id(&dataset)))
        .send()
        .expect(204);
}

fn a_dataset_survives_kill_9() {
    let mut server = Server::start(&[]);
    let dataset = upload(&server.client(), "survivor", IRIS_CP949);
    server.crash_and_restart();
    let again = server
        .client()
        .get(format!("/v1/datasets/{}", id(&dataset)))
        .send()
        .expect(200)
        .json();
    assert_eq!(again, dataset);
    assert!(content(&server.client(), &dataset) == IRIS_CP949);
}
