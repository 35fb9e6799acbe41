//! `trainyard openapi`: the HTTP API's document, as the server gives it at /openapi.json.

use std::io::{ErrorKind, Write};

use anyhow::Result;

pub(super) fn run() -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", crate::api::document_json().trim_end()) {
        // `trainyard openapi | head` has what it wanted.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
