//! The document's operations as requests find them: by path and method.

use std::collections::HashMap;

use axum::extract::{MatchedPath, Request};
use http::Method;
use serde_json::Value;

/// Something about each operation.
pub(super) struct Operations<T>(HashMap<String, Vec<(Method, T)>>);

impl<T> Operations<T> {
    /// What `read` makes of each operation of the document.
    pub(super) fn of(document: &Value, read: impl Fn(&Value) -> T) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let of_path = |(path, operations): (&String, &Value)| {
            let operations = operations.as_object().into_iter().flatten();
            let of_method = |(method, operation): (&String, &Value)| {
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?;
                Some((method, read(operation)))
            };
            (path.clone(), operations.filter_map(of_method).collect())
        };
        Self(paths.map(of_path).collect())
    }

    /// What there is about the request's operation; HEAD is GET without its body.
    pub(super) fn find(&self, request: &Request) -> Option<&T> {
        let path = request.extensions().get::<MatchedPath>()?;
        let method = match request.method() {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        let operations = self.0.get(path.as_str())?.iter();
        operations
            .into_iter()
            .find(|(known, _)| known == method)
            .map(|(_, found)| found)
    }
}
