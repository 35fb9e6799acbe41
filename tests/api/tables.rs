//! The tables that /v1/datasets understands: dialects of CSV, encodings, JSON lines, holes.

use serde_json::{Value, json};

use crate::fixtures::{IRIS, IRIS_CP949, client, id, upload};
use crate::trials;

trials![
    cp949_and_utf_8_give_the_same_columns,
    every_dialect_of_csv_gives_the_same_columns,
    encoding_and_delimiter_can_be_said_instead_of_detected,
    json_lines_give_the_same_columns_as_csv,
    bytes_without_a_type_are_sniffed,
    missing_values_are_counted_and_shown_as_null,
    one_word_makes_a_column_a_category,
    quotes_line_breaks_and_doubled_quotes_inside_a_field_are_read,
];

fn columns(dataset: &Value) -> &Value {
    &dataset["columns"]
}

fn upload_as(content_type: &str, query: &str, body: impl Into<Vec<u8>>) -> Value {
    client()
        .post(format!("/v1/datasets?{query}"))
        .body(content_type, body)
        .send()
        .expect(201)
        .json()
}

fn cp949_and_utf_8_give_the_same_columns() {
    let utf_8 = upload(client(), "iris", IRIS);
    let cp949 = upload(client(), "iris", IRIS_CP949);
    assert_eq!(columns(&cp949), columns(&utf_8));
    assert_ne!(cp949["sha256"], utf_8["sha256"]);
    // Syllables that only CP949 has, not the older KS X 1001.
    let (bytes, _, _) = encoding_rs::EUC_KR.encode("이름,값\n똠방각하,1\n펲시콜라,2\n");
    let dataset = upload(client(), "cp949", bytes.into_owned());
    assert_eq!(columns(&dataset)[0]["categories"][0]["value"], "똠방각하");
}

fn every_dialect_of_csv_gives_the_same_columns() {
    let wanted = columns(&upload(client(), "iris", IRIS)).clone();
    let quoted: Vec<String> = IRIS
        .lines()
        .map(|line| {
            line.split(',')
                .map(|field| format!("\"{field}\""))
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect();
    let dialects = [
        ("semicolon", IRIS.replace(',', ";")),
        ("tab", IRIS.replace(',', "\t")),
        ("bar", IRIS.replace(',', "|")),
        ("quotes", quoted.join("\n")),
        ("CRLF", IRIS.replace('\n', "\r\n")),
        ("byte-order mark", format!("\u{feff}{IRIS}")),
        ("no line break at the end", IRIS.trim_end().to_owned()),
    ];
    for (dialect, csv) in dialects {
        assert_eq!(columns(&upload(client(), "dialect", csv)), &wanted, "{dialect}");
    }
}

fn encoding_and_delimiter_can_be_said_instead_of_detected() {
    let dataset = upload_as(
        "text/csv",
        "name=said&encoding=euc-kr&delimiter=%3B",
        IRIS_CP949.to_vec(),
    );
    assert_eq!(
        columns(&dataset).as_array().unwrap().len(),
        1,
        "no semicolon in it, so one column"
    );
    let dataset = upload_as("text/csv", "name=said&encoding=utf-8&delimiter=%2C", IRIS);
    assert_eq!(columns(&dataset)[0]["name"], "꽃잎길이");
}

fn iris_json_lines() -> String {
    let mut lines = IRIS.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let object = |fields: Vec<&str>| {
        let value = |text: &str| text.parse::<f64>().map_or(json!(text), |number| json!(number));
        let pairs = header
            .iter()
            .zip(fields)
            .map(|(name, text)| ((*name).to_owned(), value(text)));
        Value::Object(pairs.collect()).to_string() + "\n"
    };
    lines.map(object).collect()
}

fn json_lines_give_the_same_columns_as_csv() {
    let dataset = upload_as("application/x-ndjson", "name=lines", iris_json_lines());
    assert_eq!(columns(&dataset), columns(&upload(client(), "iris", IRIS)));
    let dataset = upload_as(
        "application/x-ndjson",
        "name=holes",
        "{\"a\": 1}\n{\"b\": \"x\"}\n{\"a\": null, \"b\": \"y\"}\n",
    );
    assert_eq!(
        (&dataset["rows"], &columns(&dataset)[0]["missing"]),
        (&json!(3), &json!(2))
    );
}

fn bytes_without_a_type_are_sniffed() {
    let wanted = columns(&upload(client(), "iris", IRIS)).clone();
    for body in [IRIS.to_owned(), iris_json_lines()] {
        assert_eq!(
            columns(&upload_as("application/octet-stream", "name=sniffed", body)),
            &wanted
        );
    }
}

fn missing_values_are_counted_and_shown_as_null() {
    let dataset = upload(
        client(),
        "missing",
        "n,t\n1,x\n,\nNA,NA\nn/a,N/A\nnan,NaN\nnull,NULL\n2,y\n",
    );
    assert_eq!(columns(&dataset)[0]["type"], "number");
    assert_eq!(columns(&dataset)[1]["type"], "category");
    assert_eq!(
        (&columns(&dataset)[0]["missing"], &columns(&dataset)[1]["missing"]),
        (&json!(5), &json!(5))
    );
    let preview = client()
        .get(format!("/v1/datasets/{}/rows", id(&dataset)))
        .send()
        .expect(200)
        .json();
    assert_eq!(preview["rows"][0], json!([1.0, "x"]));
    assert_eq!(preview["rows"][2], json!([null, null]));
}

fn one_word_makes_a_column_a_category() {
    let dataset = upload(client(), "word", "n\n1\n2\nabc\n");
    assert_eq!(columns(&dataset)[0]["type"], "category");
    let values: Vec<&str> = columns(&dataset)[0]["categories"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|c| c["value"].as_str())
        .collect();
    assert_eq!(values, ["1", "2", "abc"]);
}

fn quotes_line_breaks_and_doubled_quotes_inside_a_field_are_read() {
    let dataset = upload(
        client(),
        "quotes",
        "t,n\n\"a, b\",1\n\"two\nlines\",2\n\"say \"\"hi\"\"\",3\n",
    );
    let preview = client()
        .get(format!("/v1/datasets/{}/rows", id(&dataset)))
        .send()
        .expect(200)
        .json();
    assert_eq!(
        preview["rows"],
        json!([["a, b", 1.0], ["two\nlines", 2.0], ["say \"hi\"", 3.0]])
    );
}
