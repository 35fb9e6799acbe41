//! /openapi.json: what the document promises of itself, beyond what every other trial holds it to.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::client::contract;
use crate::fixtures::client;
use crate::trials;

trials![
    the_served_document_is_the_committed_one,
    the_command_prints_the_committed_document,
    every_operation_says_what_it_does_under_a_name_of_its_own,
    every_operation_has_one_request_media_type_and_lists_its_errors,
    requests_allow_no_unknown_fields,
    variants_are_named_and_told_apart_by_their_type,
    no_schema_is_empty_or_lost,
    examples_fit_their_schemas,
    the_derived_3_0_document_has_the_same_operations,
    the_reference_page_needs_no_network,
];

const REFRESH: &str = "run `trainyard openapi > openapi/openapi.json`";

fn committed() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");
    std::fs::read_to_string(path).expect("openapi/openapi.json is in the tree")
}

fn document() -> &'static Value {
    contract().document()
}

/// Calls `visit` with every JSON pointer and value of a document.
fn walk(at: &str, value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(at, value);
    let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| walk(&format!("{at}/{}", escape(name)), value, visit)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, value)| walk(&format!("{at}/{i}"), value, visit)),
        _ => {}
    }
}

fn the_served_document_is_the_committed_one() {
    let committed: Value = serde_json::from_str(&committed()).expect("JSON");
    walk("", document(), &mut |at, value| {
        let is_leaf = !value.is_object() && !value.is_array();
        assert!(
            !is_leaf || committed.pointer(at) == Some(value),
            "{REFRESH}: it differs at {at}: {value}"
        );
    });
    assert!(document() == &committed, "{REFRESH}: it has more than is served");
    assert!(
        document()["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1."))
    );
}

fn the_command_prints_the_committed_document() {
    let output = Command::new(env!("CARGO_BIN_EXE_trainyard"))
        .arg("openapi")
        .output()
        .expect("it runs");
    assert!(
        String::from_utf8_lossy(&output.stdout).trim_end() == committed().trim_end(),
        "{REFRESH}"
    );
}

fn every_operation_says_what_it_does_under_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for operation in contract().operations() {
        let said = contract().of(operation);
        assert!(
            said["summary"].as_str().is_some_and(|summary| !summary.is_empty()),
            "{} has no summary",
            operation.id
        );
        assert!(
            said["tags"].as_array().is_some_and(|tags| tags.len() == 1),
            "{} has no tag",
            operation.id
        );
        let is_verb_noun = operation.id.split('_').count() >= 2
            && operation
                .id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
        assert!(is_verb_noun, "{} is not <verb>_<noun>", operation.id);
        assert!(names.insert(&operation.id), "{} is there twice", operation.id);
    }
}

fn every_operation_has_one_request_media_type_and_lists_its_errors() {
    for operation in contract().operations() {
        let said = contract().of(operation);
        if let Some(content) = said["requestBody"]["content"].as_object() {
            assert_eq!(content.len(), 1, "{}", operation.id);
        }
        let responses = said["responses"].as_object().expect("responses");
        assert!(
            !responses.contains_key("default"),
            "{} lists a default answer",
            operation.id
        );
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{}",
            operation.id
        );
    }
}

/// The named schemas that a request body reaches.
fn request_schemas() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Value> = contract()
        .operations()
        .iter()
        .map(|o| contract().of(o)["requestBody"].clone())
        .collect();
    while let Some(value) = open.pop() {
        walk("", &value, &mut |at, value| {
            let Some(reference) = value.as_str().filter(|_| at.ends_with("/$ref")) else {
                return;
            };
            if found.insert(reference.trim_start_matches('#').to_owned()) {
                open.push(
                    document()
                        .pointer(reference.trim_start_matches('#'))
                        .expect("it resolves")
                        .clone(),
                );
            }
        });
    }
    found
}

fn requests_allow_no_unknown_fields() {
    for pointer in request_schemas() {
        let schema = document().pointer(&pointer).expect("it resolves");
        if schema.get("properties").is_some() {
            assert_eq!(schema["additionalProperties"], json!(false), "{pointer}");
        }
    }
}

fn variants_are_named_and_told_apart_by_their_type() {
    walk("", document(), &mut |at, value| {
        let Some(discriminator) = value.get("discriminator").filter(|d| d.is_object()) else {
            return;
        };
        let mapping = discriminator["mapping"]
            .as_object()
            .unwrap_or_else(|| panic!("{at} has no mapping"));
        let variants = value["oneOf"].as_array().unwrap_or_else(|| panic!("{at} has no oneOf"));
        assert_eq!(mapping.len(), variants.len(), "{at}");
        for (name, reference) in mapping {
            let schema = document().pointer(reference.as_str().unwrap_or("").trim_start_matches('#'));
            let kind = &schema.unwrap_or_else(|| panic!("{at}: {reference} leads nowhere"))["properties"]["type"];
            let values = kind
                .get("const")
                .map_or_else(|| kind["enum"].clone(), |only| json!([only]));
            assert_eq!(values, json!([name]), "{at}: the type of {reference}");
        }
    });
}

fn no_schema_is_empty_or_lost() {
    walk("", document(), &mut |at, value| {
        if at.ends_with("/schema") {
            assert!(
                value.as_object().is_some_and(|schema| !schema.is_empty()),
                "{at} says nothing: {value}"
            );
        }
        if let Some(reference) = value.as_str().filter(|_| at.ends_with("/$ref")) {
            assert!(
                document().pointer(reference.trim_start_matches('#')).is_some(),
                "{at}: {reference} leads nowhere"
            );
        }
    });
}

fn examples_fit_their_schemas() {
    let mut count = 0;
    walk("", document(), &mut |at, value| {
        let Some(holder) = at.strip_suffix("/example") else {
            return;
        };
        let schema = match document().pointer(&format!("{holder}/schema")) {
            Some(_) => format!("{holder}/schema"),
            None => holder.to_owned(),
        };
        contract().check_schema(&schema, value, &format!("the example at {at} is given, but"));
        count += 1;
    });
    assert!(count > 10, "there are examples");
}

fn the_derived_3_0_document_has_the_same_operations() {
    let derived = client().get("/openapi-3.0.json").send().expect(200).json();
    assert!(
        derived["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.0."))
    );
    for operation in contract().operations() {
        let id = derived.pointer(&format!("{}/operationId", operation.pointer()));
        assert_eq!(id, Some(&json!(operation.id)));
    }
    walk("", &derived, &mut |at, value| {
        assert!(
            !value.get("type").is_some_and(Value::is_array),
            "{at}: 3.0 has no list of types"
        );
        assert!(
            value.get("const").is_none() || at.contains("/properties"),
            "{at}: 3.0 has no const"
        );
        assert!(
            value.get("examples").is_none_or(|examples| !examples.is_array()),
            "{at}: 3.0 has no list of examples"
        );
        assert!(
            value.get("exclusiveMinimum").is_none_or(|least| !least.is_number()),
            "{at}: a flag in 3.0"
        );
    });
}

fn the_reference_page_needs_no_network() {
    // The page and its files are for people and not in the document.
    let page = client().get("/docs").send_raw().expect(200).text();
    assert!(page.contains("<html") && !page.contains("://"), "{page:.500}");
    let files = page
        .split(['"', '\''])
        .filter(|text| text.ends_with(".js") || text.ends_with(".css"));
    let mut shows_the_document = false;
    for file in files {
        let file = file.trim_start_matches("./").trim_start_matches("/docs/");
        let text = client().get(format!("/docs/{file}")).send_raw().expect(200).text();
        shows_the_document |= text.contains("/openapi.json");
    }
    assert!(shows_the_document);
}
