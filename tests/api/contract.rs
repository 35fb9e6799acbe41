//! The served OpenAPI document, held against everything that is sent and answered.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};

const DOCUMENT_URI: &str = "urn:trainyard:openapi";

pub(crate) struct Contract {
    document: Value,
    operations: Vec<Operation>,
    registry: Registry<'static>,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
    exercised: Mutex<BTreeSet<(String, String)>>,
}

pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// JSON pointer of the operation in the document.
    pointer: String,
}

impl Operation {
    pub(crate) fn pointer(&self) -> &str {
        &self.pointer
    }
}

impl Contract {
    pub(crate) fn new(document: Value) -> Self {
        let registry = Registry::new()
            .draft(Draft::Draft202012)
            .add(DOCUMENT_URI, document.clone())
            .and_then(|registry| registry.prepare())
            .expect("every $ref of the document resolves");
        Self {
            operations: operations(&document),
            document,
            registry,
            validators: Mutex::default(),
            exercised: Mutex::default(),
        }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// What the document says of an operation.
    pub(crate) fn of(&self, operation: &Operation) -> &Value {
        self.document
            .pointer(&operation.pointer)
            .expect("operations were read from the document")
    }

    /// The operation that a request is meant for; literal segments win over parameters.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Option<&Operation> {
        let fits = |operation: &&Operation| operation.method == method && template_fits(&operation.path, path);
        self.operations
            .iter()
            .filter(fits)
            .min_by_key(|operation| operation.path.matches('{').count())
    }

    /// A request that the server accepted has to be one that the document allows.
    pub(crate) fn check_accepted_request(
        &self,
        operation: &Operation,
        target: &str,
        content_type: Option<&str>,
        body: &[u8],
    ) {
        let what = format!("{} ({} {target}) was accepted, but", operation.id, operation.method);
        let url = reqwest::Url::parse(&format!("http://localhost{target}")).expect("a target that a URL can have");
        for (name, text) in path_parameters(&operation.path, url.path()) {
            self.check_parameter(operation, "path", name, text, &what);
        }
        for (name, text) in url.query_pairs() {
            self.check_parameter(operation, "query", &name, &text, &what);
        }
        let declared = self
            .document
            .pointer(&format!("{}/requestBody/content", operation.pointer));
        let Some(declared) = declared.and_then(Value::as_object) else {
            assert!(body.is_empty(), "{what} the document has no body for it");
            return;
        };
        assert_eq!(
            declared.len(),
            1,
            "{} has more than one request media type",
            operation.id
        );
        let (media_type, media) = declared.iter().next().expect("one entry");
        let is_binary = media.pointer("/schema/format") == Some(&json!("binary"));
        if is_binary || (body.is_empty() && !self.body_is_required(operation)) {
            return;
        }
        let sent = essence(content_type.unwrap_or(""));
        assert_eq!(&sent, media_type, "{what} the document wants another media type");
        if media_type == "application/json" {
            let value: Value =
                serde_json::from_slice(body).unwrap_or_else(|error| panic!("{what} it isn't JSON: {error}"));
            let at = format!("{}/requestBody/content/application~1json/schema", operation.pointer);
            self.check_schema(&at, &value, &what);
        }
    }

    fn body_is_required(&self, operation: &Operation) -> bool {
        self.document
            .pointer(&format!("{}/requestBody/required", operation.pointer))
            == Some(&json!(true))
    }

    fn check_parameter(&self, operation: &Operation, place: &str, name: &str, text: &str, what: &str) {
        let declared = self.document.pointer(&format!("{}/parameters", operation.pointer));
        let position = declared
            .and_then(Value::as_array)
            .and_then(|list| list.iter().position(|p| p["in"] == place && p["name"] == name));
        let position = position.unwrap_or_else(|| panic!("{what} it has no {place} parameter {name:?}"));
        let at = format!("{}/parameters/{position}/schema", operation.pointer);
        // A parameter is text: it fits when it does as text or as the JSON value that it spells.
        let spelt: Value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        let validator = self.validator(&at);
        let fits = validator.is_valid(&json!(text)) || validator.is_valid(&spelt);
        assert!(fits, "{what} {place} parameter {name}={text} doesn't fit its schema");
    }

    /// Status, content type and body of an answer have to be listed for its operation.
    pub(crate) fn check_answer(&self, operation: &Operation, status: u16, content_type: Option<&str>, body: &[u8]) {
        let what = format!("{} answered {status}, but", operation.id);
        let listed = [status.to_string(), format!("{}XX", status / 100)]
            .into_iter()
            .find(|key| {
                self.document
                    .pointer(&format!("{}/responses/{key}", operation.pointer))
                    .is_some()
            })
            .unwrap_or_else(|| panic!("{what} the document doesn't list it: {}", String::from_utf8_lossy(body)));
        self.exercised
            .lock()
            .unwrap()
            .insert((operation.id.clone(), listed.clone()));
        let at = self.resolve(&format!("{}/responses/{listed}", operation.pointer));
        let Some(content) = self
            .document
            .pointer(&format!("{at}/content"))
            .and_then(Value::as_object)
        else {
            assert!(body.is_empty(), "{what} with a body, which the document doesn't have");
            return;
        };
        let sent = essence(content_type.unwrap_or(""));
        assert!(
            content.contains_key(&sent),
            "{what} as {sent:?}, and the document lists {:?}",
            content.keys()
        );
        if sent == "application/json" || sent.ends_with("+json") {
            let value: Value =
                serde_json::from_slice(body).unwrap_or_else(|error| panic!("{what} not as JSON: {error}"));
            self.check_schema(
                &format!("{at}/content/{}/schema", sent.replace('/', "~1")),
                &value,
                &what,
            );
        }
    }

    /// A value against the schema at a pointer of the document.
    pub(crate) fn check_schema(&self, pointer: &str, value: &Value, what: &str) {
        let validator = self.validator(pointer);
        let faults: Vec<String> = validator
            .iter_errors(value)
            .take(5)
            .map(|e| format!("{}: {:.300}", e.instance_path(), e.to_string()))
            .collect();
        assert!(
            faults.is_empty(),
            "{what} it doesn't fit {pointer}:\n  {}\n{value:.600}",
            faults.join("\n  ")
        );
    }

    fn validator(&self, pointer: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap();
        let make = || {
            let reference = format!("{DOCUMENT_URI}#{}", pointer.replace('{', "%7B").replace('}', "%7D"));
            let options = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true);
            let built = options.with_registry(&self.registry).build(&json!({"$ref": reference}));
            Arc::new(built.unwrap_or_else(|error| panic!("{pointer} of the document is no schema: {error}")))
        };
        validators.entry(pointer.to_owned()).or_insert_with(make).clone()
    }

    /// The pointer itself, or the one that a `$ref` there leads to.
    fn resolve(&self, pointer: &str) -> String {
        let reference = self.document.pointer(pointer).and_then(|value| value["$ref"].as_str());
        reference.map_or(pointer.to_owned(), |reference| {
            reference.trim_start_matches('#').to_owned()
        })
    }

    /// What the document lists and no trial has seen. A 5XX is a failure of the server or of its disk,
    /// which no client can cause; those have tests of their own.
    pub(crate) fn never_exercised(&self) -> Vec<String> {
        let exercised = self.exercised.lock().unwrap();
        let mut missing = Vec::new();
        for operation in &self.operations {
            let responses = self.document.pointer(&format!("{}/responses", operation.pointer));
            for status in responses
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(|map| map.keys())
            {
                if !status.starts_with('5') && !exercised.contains(&(operation.id.clone(), status.clone())) {
                    missing.push(format!(
                        "{} {status} ({} {})",
                        operation.id, operation.method, operation.path
                    ));
                }
            }
        }
        missing
    }
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths is an object") {
        for (method, operation) in item.as_object().expect("a path item is an object") {
            let Some(id) = operation["operationId"].as_str() else {
                continue;
            };
            operations.push(Operation {
                id: id.to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
                pointer: format!("/paths/{}/{method}", path.replace('/', "~1")),
            });
        }
    }
    operations
}

fn template_fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(wanted, got): (&&str, &&str)| wanted == got || (wanted.starts_with('{') && !got.is_empty());
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}

fn path_parameters<'a>(template: &'a str, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let segments = template.split('/').zip(path.split('/'));
    segments.filter_map(|(wanted, got)| Some((wanted.strip_prefix('{')?.strip_suffix('}')?, got)))
}

/// A media type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}
