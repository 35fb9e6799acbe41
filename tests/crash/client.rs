//! Calls to a server that may vanish in the middle of any of them.

use std::sync::OnceLock;

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::runtime::Runtime;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

#[derive(Clone)]
pub(crate) struct Client {
    address: String,
    http: reqwest::Client,
}

/// The server went away before it answered: nobody knows whether it has done what was asked.
#[derive(Debug)]
pub(crate) struct Unanswered;

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self {
            address: address.to_owned(),
            http,
        }
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), Unanswered> {
        let exchange = async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.bytes().await?.to_vec()))
        };
        runtime().block_on(exchange).map_err(|_| Unanswered)
    }

    pub(crate) fn get(&self, target: &str) -> Result<(u16, Vec<u8>), Unanswered> {
        self.send(self.http.get(format!("{}{target}", self.address)))
    }

    /// A document that has to be there.
    pub(crate) fn document(&self, target: &str) -> Value {
        let (status, body) = self.get(target).expect("the server is up");
        assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Creates something; sent again with the same `key` it is created once.
    pub(crate) fn create(
        &self,
        target: &str,
        content_type: &str,
        body: Vec<u8>,
        key: &str,
    ) -> Result<Value, Unanswered> {
        let request = self.http.post(format!("{}{target}", self.address)).body(body);
        let (status, body) = self.send(
            request
                .header("content-type", content_type)
                .header("idempotency-key", key),
        )?;
        assert!(
            status == 201 || status == 202,
            "{target}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(serde_json::from_slice(&body).expect("JSON"))
    }

    /// A document sent and one answered.
    #[cfg(feature = "failpoints")]
    pub(crate) fn send_json(&self, target: &str, body: String) -> Result<Value, Unanswered> {
        let request = self.http.post(format!("{}{target}", self.address)).body(body);
        let (status, body) = self.send(request.header("content-type", "application/json"))?;
        assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&body));
        Ok(serde_json::from_slice(&body).expect("JSON"))
    }

    #[cfg(feature = "failpoints")]
    pub(crate) fn delete(&self, target: &str) -> Result<u16, Unanswered> {
        let deleted = self.send(self.http.delete(format!("{}{target}", self.address)))?;
        Ok(deleted.0)
    }

    /// Moves a job; `None` when its state has no such move any more.
    pub(crate) fn post(&self, target: &str) -> Option<Value> {
        let request = self.http.post(format!("{}{target}", self.address));
        let (status, body) = self.send(request).expect("the server is up");
        assert!(
            status == 200 || status == 409,
            "{target}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        (status == 200).then(|| serde_json::from_slice(&body).expect("JSON"))
    }

    /// Reads a job's events, from the one after `last` on, until one is the wanted.
    pub(crate) fn follow(&self, job: &str, last: u64, wanted: impl Fn(&str, &Value) -> bool) -> u64 {
        let request = self.http.get(format!("{}/v1/jobs/{job}/events", self.address));
        runtime().block_on(async {
            let answer = request
                .header("last-event-id", last)
                .send()
                .await
                .expect("the server is up");
            let mut events = answer.bytes_stream().eventsource();
            while let Some(event) = events.next().await {
                let event = event.expect("an event");
                let data = serde_json::from_str(&event.data).expect("JSON");
                if wanted(&event.event, &data) {
                    return event.id.parse().expect("a number");
                }
            }
            panic!("the stream of {job} ended without the wanted event");
        })
    }

    /// The status of an answer; whatever it is.
    pub(crate) fn try_post(&self, target: &str, content_type: &str, body: Vec<u8>) -> Result<u16, Unanswered> {
        let request = self.http.post(format!("{}{target}", self.address)).body(body);
        Ok(self.send(request.header("content-type", content_type))?.0)
    }

    /// The names of a job's events, to the end of the stream; `listening` is called once there is a stream.
    pub(crate) fn event_names(&self, job: &str, listening: impl FnOnce()) -> Vec<String> {
        let request = self.http.get(format!("{}/v1/jobs/{job}/events", self.address));
        runtime().block_on(async {
            let answer = request.send().await.expect("the server is up");
            listening();
            let events = answer.bytes_stream().eventsource();
            events.map(|event| event.expect("an event").event).collect().await
        })
    }

    /// The job once it is done.
    pub(crate) fn wait(&self, job: &str) -> Value {
        loop {
            let job = self.document(&format!("/v1/jobs/{job}?wait=30"));
            if job["done"] == true {
                return job;
            }
        }
    }

    /// What a finished job came to: the hash of its weights and its history.
    pub(crate) fn outcome(&self, job: &Value) -> (Value, Value) {
        assert_eq!(job["status"], "succeeded", "{job}");
        let model = self.document(&format!("/v1/models/{}", job["model"].as_str().expect("a model")));
        let history = self.document(&format!("/v1/jobs/{}/history", job["id"].as_str().expect("an id")));
        (model["weights_sha256"].clone(), history)
    }
}
