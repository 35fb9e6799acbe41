//! Tables that can't be read, each with the line and the column where reading ends.

use super::Place::Line;
use super::{Case, Place};
use crate::fixtures::client;

pub(super) fn cases() -> Vec<Case> {
    [csv(), json_lines(), forms()].into_iter().flatten().collect()
}

fn table(name: &'static str, content_type: &'static str, body: Vec<u8>, place: Option<Place>) -> Case {
    let call = move || client().post("/v1/datasets").body(content_type, body);
    Case::new(name, 422, "invalid-dataset", call).places(place.into_iter().collect::<Vec<_>>())
}

fn csv() -> Vec<Case> {
    let csv = |name, body: &[u8], place| table(name, "text/csv", body.to_vec(), place);
    let million_columns = vec!["c"; 1_000_000].join(",") + "\n";
    vec![
        csv("an empty file", b"", None),
        csv("only white space", b"\n\n  \n", None),
        csv("only a header", b"a,b\n", None),
        csv("a row that is too short", b"a,b,c\n1,2,3\n4,5\n", Some(Line(3, 3))),
        csv("a row that is too long", b"a,b\n1,2\n3,4,5\n", Some(Line(3, 3))),
        csv("a NUL", b"a,b\n1,2\n3,\x00\n", Some(Line(3, 2))),
        csv("bytes of no encoding", b"a,b\n1,2\n\xff\xff\xff,4\n", Some(Line(3, 1))),
        csv("a duplicate column", b"a,b,a\n1,2,3\n", Some(Line(1, 3))),
        csv("a column without a name", b"a,,c\n1,2,3\n", Some(Line(1, 2))),
        csv("a quote that stays open", b"a,b\n1,2\n3,\"4\n5,6\n", Some(Line(3, 2))),
        csv("an infinity", b"a,b\n1,2\n3,inf\n", Some(Line(3, 2))),
        csv(
            "a number too large for 32 bits",
            b"a,b\n1,2\n1e39,4\n",
            Some(Line(3, 1)),
        ),
        csv("a million columns", million_columns.as_bytes(), None),
        csv(
            "a field of 5 MiB",
            format!("a,b\n1,{}\n", "x".repeat(5 << 20)).as_bytes(),
            Some(Line(2, 2)),
        ),
        csv("an image", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00", None),
        Case::new("not the encoding that was said", 422, "invalid-dataset", || {
            client()
                .post("/v1/datasets?encoding=utf-8")
                .body("text/csv", b"a,b\n1,\xb2\xc9\n".as_slice())
        })
        .places([Line(2, 2)]),
    ]
}

fn json_lines() -> Vec<Case> {
    let lines = |name, body: &[u8], place| table(name, "application/x-ndjson", body.to_vec(), place);
    vec![
        lines("json lines without a line", b"", None),
        lines("a line that is no JSON", b"{\"a\": 1}\n{\"a\": \n", None),
        lines("a line that is no object", b"{\"a\": 1}\n[1]\n", None),
        lines("an object inside a line", b"{\"a\": 1}\n{\"a\": {\"b\": 2}}\n", None),
        lines("an array inside a line", b"{\"a\": 1}\n{\"a\": [2]}\n", None),
        lines("a number too large in a line", b"{\"a\": 1}\n{\"a\": 1e39}\n", None),
        lines("a name given twice in a line", b"{\"a\": 1, \"a\": 2}\n", None),
    ]
}

fn forms() -> Vec<Case> {
    let form = |name, status, kind, body: &'static [u8]| {
        Case::new(name, status, kind, move || {
            client()
                .post("/v1/datasets/form")
                .body("multipart/form-data; boundary=line", body)
        })
    };
    vec![
        form(
            "a form without a file",
            422,
            "invalid-dataset",
            b"--line\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n--line--\r\n",
        ),
        form(
            "a form that breaks off",
            400,
            "malformed-request",
            b"--line\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\na,b\n1,2\n",
        ),
        form(
            "a form with an empty file",
            422,
            "invalid-dataset",
            b"--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.csv\"\r\n\r\n\r\n--line--\r\n",
        ),
    ]
}
