//! A client of the public HTTP API: all that the client verbs and the demo know of a server.

use std::fmt;

use anyhow::{Context, Result};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::views::{Dataset, Job};

/// Which server a client verb speaks to.
#[derive(Default, clap::Args)]
pub(super) struct ServerArgs {
    /// The server's address
    #[arg(
        long,
        env = "TRAINYARD_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    server: String,
    #[command(flatten)]
    key: KeyArg,
}

/// With which key the client comes.
#[derive(Clone, Default, clap::Args)]
pub(super) struct KeyArg {
    /// API key, for a server that asks for one; best through the variable, since others may see the arguments
    #[arg(long, env = "TRAINYARD_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
}

#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    server: String,
    key: KeyArg,
}

impl Client {
    pub(super) fn of(args: &ServerArgs) -> Self {
        Self::new(&args.server, &args.key)
    }

    /// `server` is the server's address, like `http://127.0.0.1:8080`.
    pub(super) fn new(server: &str, key: &KeyArg) -> Self {
        Self {
            http: reqwest::Client::new(),
            server: server.trim_end_matches('/').to_owned(),
            key: key.clone(),
        }
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(self.request(Method::GET, path)).await
    }

    pub(super) async fn get_text(&self, path: &str) -> Result<String> {
        Ok(self.send(self.request(Method::GET, path)).await?.text().await?)
    }

    /// Sends JSON, gets JSON.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// Sends a table as it is; the answer may be of any kind.
    pub(super) async fn post_table(&self, path: &str, table: Table) -> Result<Response> {
        let mut request = self
            .request(Method::POST, path)
            .header("content-type", table.content_type);
        if table.gzip {
            request = request.header("content-encoding", "gzip");
        }
        self.send(request.body(table.content)).await
    }

    pub(super) async fn upload(&self, name: &str, table: Table) -> Result<Dataset> {
        let path = format!("/v1/datasets?{}", query("name", name)?);
        Ok(self.post_table(&path, table).await?.json().await?)
    }

    pub(super) async fn submit(&self, job: &Value) -> Result<Job> {
        self.post("/v1/jobs", job).await
    }

    /// The job's events after the one numbered `last`, as a `text/event-stream`.
    pub(super) async fn events(&self, job: &str, last: &str) -> Result<Response> {
        let mut request = self.request(Method::GET, &format!("/v1/jobs/{job}/events"));
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.server));
        match &self.key.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let answer = self.send(request).await?;
        let path = answer.url().path().to_owned();
        answer
            .json()
            .await
            .with_context(|| format!("{path} answered with something this client doesn't know"))
    }

    /// The answer, unless it is a refusal.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await.map_err(reqwest::Error::without_url);
        let answer =
            answer.with_context(|| format!("no answer from {}; is `trainyard serve` running there?", self.server))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let problem = answer.json().await.unwrap_or(Value::Null);
        Err(Refusal { status, problem }.into())
    }
}

/// A table on its way to the server.
pub(super) struct Table {
    pub(super) content: reqwest::Body,
    pub(super) content_type: &'static str,
    pub(super) gzip: bool,
}

impl Table {
    pub(super) fn csv(content: &'static [u8]) -> Self {
        Self {
            content: content.into(),
            content_type: "text/csv",
            gzip: false,
        }
    }
}

/// `name=value`, encoded for a URL.
pub(super) fn query(name: &str, value: &str) -> Result<String> {
    let url = reqwest::Url::parse_with_params("http://server/", [(name, value)])?;
    Ok(url.query().unwrap_or_default().to_owned())
}

/// An answer that is not a success, as problem+json where the server sent that.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    problem: Value,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: &str| self.problem[name].as_str();
        write!(
            f,
            "{}",
            text("detail").or(text("title")).unwrap_or("the server refused")
        )?;
        write!(f, "\n  answer: {}", self.status)?;
        for fault in self.problem["errors"].as_array().into_iter().flatten() {
            let detail = fault["detail"].as_str().unwrap_or_default();
            match (fault["pointer"].as_str(), &fault["line"], &fault["column"]) {
                (Some(pointer), ..) => write!(f, "\n  at {pointer}: {detail}")?,
                (None, Value::Null, _) => write!(f, "\n  {detail}")?,
                (None, line, Value::Null) => write!(f, "\n  line {line}: {detail}")?,
                (None, line, column) => write!(f, "\n  line {line}, column {column}: {detail}")?,
            }
        }
        if self.status == StatusCode::UNAUTHORIZED {
            write!(f, "\n  a key comes from TRAINYARD_API_KEY or --api-key")?;
        }
        match text("request_id") {
            Some(id) => write!(f, "\n  request: {id}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_shows_every_fault_with_its_place() {
        let refusal = Refusal {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            problem: json!({
                "type": "/problems/invalid-spec", "title": "Invalid spec", "status": 422,
                "detail": "The job: 2 faults, listed in errors.", "request_id": "0193",
                "errors": [{"pointer": "/target", "detail": "target is required"},
                           {"line": 4, "column": 2, "detail": "an open quote"}],
            }),
        };
        let lines = [
            "The job: 2 faults, listed in errors.",
            "  answer: 422 Unprocessable Entity",
            "  at /target: target is required",
            "  line 4, column 2: an open quote",
            "  request: 0193",
        ];
        assert_eq!(refusal.to_string(), lines.join("\n"));
    }

    #[test]
    fn a_refusal_without_a_problem_document_still_says_the_status() {
        let refusal = Refusal {
            status: StatusCode::BAD_GATEWAY,
            problem: Value::Null,
        };
        assert_eq!(refusal.to_string(), "the server refused\n  answer: 502 Bad Gateway");
    }

    #[test]
    fn names_are_encoded_for_the_url() {
        assert_eq!(query("name", "붓꽃 & co").unwrap(), "name=%EB%B6%93%EA%BD%83+%26+co");
    }
}
