//! A client that checks every request the server accepts and every answer against the document.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::contract::Contract;
use crate::server::Server;

static CONTRACT: OnceLock<Contract> = OnceLock::new();

/// What the server under test says of itself; fetched once.
pub(crate) fn contract() -> &'static Contract {
    CONTRACT.get().expect("main fetched the document")
}

pub(crate) fn set_contract(document: Value) {
    assert!(
        CONTRACT.set(Contract::new(document)).is_ok(),
        "the document is fetched once"
    );
}

/// The document as the server gives it, before there is anything to check it with.
pub(crate) fn fetch_document(client: &Client) -> Value {
    let document = client.http.get(format!("{}/openapi.json", client.address));
    runtime()
        .block_on(async { document.send().await?.json().await })
        .expect("the server gives its document")
}

/// Drives the I/O of all clients, so that trials read as plain sequences of calls.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

impl Server {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address())
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    address: Arc<str>,
    http: reqwest::Client,
    key: Option<Arc<str>>,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        // The server ends a connection that is idle for 20 s. One that is taken from the pool in that moment would fail a trial
        // that has nothing to do with it. The timeout is only to turn a hang into a failure.
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_idle_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(120))
            .build()
            .expect("a client");
        Self {
            address: address.into(),
            http,
            key: None,
        }
    }

    /// The same client, but with this API key in every call.
    pub(crate) fn with_key(&self, secret: &str) -> Self {
        Self {
            key: Some(secret.into()),
            ..self.clone()
        }
    }

    /// The same with connections of its own.
    pub(crate) fn anew(&self) -> Self {
        Self {
            key: self.key.clone(),
            ..Self::new(&self.address)
        }
    }

    /// `host:port` of the server, for raw sockets.
    pub(crate) fn authority(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    pub(crate) fn call(&self, method: &str, target: impl Into<String>) -> Call<'_> {
        let (method, target) = (method.to_owned(), target.into());
        let call = Call {
            client: self,
            method,
            target,
            headers: HeaderMap::new(),
            body: Vec::new(),
            beyond_the_document: false,
        };
        match &self.key {
            Some(secret) => call.header("authorization", &format!("Bearer {secret}")),
            None => call,
        }
    }

    pub(crate) fn get(&self, target: impl Into<String>) -> Call<'_> {
        self.call("GET", target)
    }

    pub(crate) fn post(&self, target: impl Into<String>) -> Call<'_> {
        self.call("POST", target)
    }

    pub(crate) fn delete(&self, target: impl Into<String>) -> Call<'_> {
        self.call("DELETE", target)
    }
}

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Call<'c> {
    client: &'c Client,
    method: String,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
    beyond_the_document: bool,
}

impl Call<'_> {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header value"));
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// The server takes more here than the document can say, such as names in any case.
    pub(crate) fn beyond_the_document(mut self) -> Self {
        self.beyond_the_document = true;
        self
    }

    fn request(&self) -> reqwest::RequestBuilder {
        let method = self.method.parse().expect("a method");
        let url = format!("{}{}", self.client.address, self.target);
        let request = self.client.http.request(method, url).headers(self.headers.clone());
        if self.body.is_empty() {
            request
        } else {
            request.body(self.body.clone())
        }
    }

    pub(crate) fn send(self) -> Answer {
        let answer = self.send_raw();
        self.check(&answer);
        answer
    }

    /// Sends without holding anything against the document.
    pub(crate) fn send_raw(&self) -> Answer {
        let exchange = async {
            let response = self.request().send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Ok::<_, reqwest::Error>((status, headers, response.bytes().await?.to_vec()))
        };
        let what = format!("{} {}", self.method, self.target);
        let (status, headers, body) = runtime()
            .block_on(exchange)
            .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        Answer {
            what,
            status,
            headers,
            body,
        }
    }

    /// Sends without looking at the answer, for cleaning up while a trial fails.
    pub(crate) fn send_and_forget(self) {
        let _ = runtime().block_on(async { self.request().send().await });
    }

    /// Opens an event stream; it is read to its end with [`Events`].
    pub(crate) fn events(self) -> Events {
        let request = self.request().header("accept", "text/event-stream");
        let response = runtime().block_on(async { request.send().await }).expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer {
            what: format!("{} {}", self.method, self.target),
            status,
            headers,
            body: Vec::new(),
        };
        self.check(&answer);
        answer.expect(200);
        Events(Box::pin(
            response
                .bytes_stream()
                .eventsource()
                .map(|event| event.expect("an event")),
        ))
    }

    fn check(&self, answer: &Answer) {
        let what = &answer.what;
        assert!(
            answer.header("x-request-id").is_some_and(|id| !id.is_empty()),
            "{what}: no x-request-id"
        );
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{what}: {policy:?}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
        assert_ne!(answer.status, 500, "{what}: the server failed: {}", answer.text());
        if answer.status >= 400 {
            answer.check_problem();
        }
        let path = self.target.split('?').next().expect("a first part");
        let Some(operation) = contract().operation(&self.method, path) else {
            assert!(
                answer.status >= 400,
                "{what}: answered {}, but isn't in the document",
                answer.status
            );
            return;
        };
        let content_type = answer.header("content-type");
        contract().check_answer(operation, answer.status, content_type, &answer.body);
        if answer.status < 300 && !self.beyond_the_document {
            let sent_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            contract().check_accepted_request(operation, &self.target, sent_type, &self.body);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    what: String,
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("a header of visible ASCII"))
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {:.1000}", self.what, self.text());
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text()))
    }

    /// The body of a refusal of this status and kind, such as `invalid-spec`.
    pub(crate) fn problem(self, status: u16, kind: &str) -> Value {
        let answer = self.expect(status);
        let problem = answer.json();
        assert_eq!(
            problem["type"],
            format!("/problems/{kind}"),
            "{}: {problem}",
            answer.what
        );
        problem
    }

    /// RFC 9457 as the contract has it.
    fn check_problem(&self) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{}: {}",
            self.what,
            self.status
        );
        let problem = self.json();
        let text = |name: &str| problem[name].as_str().filter(|text| !text.is_empty());
        let shape_is_right = text("type").is_some_and(|kind| kind.starts_with("/problems/"))
            && text("title").is_some()
            && text("detail").is_some()
            && problem["status"] == self.status
            && text("request_id") == self.header("x-request-id");
        assert!(
            shape_is_right,
            "{}: not a problem of the contract: {problem}",
            self.what
        );
        for fault in problem["errors"].as_array().into_iter().flatten() {
            // In a query the pointer is the parameter's name.
            let is_pointer = |at: &str| at.is_empty() || at.starts_with('/') || self.status == 400;
            let pointer_is_right = fault["pointer"].as_str().is_none_or(is_pointer);
            let is_placed = fault["pointer"].is_string() || fault["line"].is_u64();
            let is_told = fault["detail"].as_str().is_some_and(|detail| !detail.is_empty());
            assert!(pointer_is_right && is_placed && is_told, "{}: {problem}", self.what);
        }
    }
}

/// The events of a job, one after another, to the end of the stream.
pub(crate) struct Events(std::pin::Pin<Box<dyn Stream<Item = Event> + Send>>);

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        runtime().block_on(self.0.next())
    }
}
