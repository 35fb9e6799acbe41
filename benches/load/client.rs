//! A client that costs little: one connection, one request at a time, requests written beforehand.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: bool,
    pub(crate) body: Vec<u8>,
}

/// Opened when it is first used, and anew after the server closed it.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

pub(crate) fn request(method: &str, target: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address)?,
        };
        // The server may refuse, and close, before it has read all.
        let _ = stream.write_all(request);
        let (answer, stays_open) = read_answer(&mut stream)?;
        self.stream = stays_open.then_some(stream);
        Ok(answer)
    }

    /// A call that has to succeed, and the JSON it is answered with.
    pub(crate) fn call(&mut self, method: &str, target: &str, content_type: &str, body: &[u8]) -> Value {
        let answer = self.exchange(&request(method, target, content_type, body));
        let answer = answer.unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status < 300, "{method} {target}: {} {text}", answer.status);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {target}: {error}: {text}"))
    }
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// The answer, and whether the connection can be used again.
fn read_answer(stream: &mut TcpStream) -> io::Result<(Answer, bool)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    let mut more = |bytes: &mut Vec<u8>| match stream.read(&mut chunk)? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        read => {
            bytes.extend_from_slice(&chunk[..read]);
            Ok(())
        }
    };
    let head_length = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(&mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_length]).to_ascii_lowercase();
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    let (Some(status), Some(length)) = (status, length) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (retry_after, stays_open) = (header("retry-after").is_some(), header("connection") != Some("close"));
    while bytes.len() < head_length + length {
        more(&mut bytes)?;
    }
    let body = bytes.split_off(head_length);
    Ok((
        Answer {
            status,
            retry_after,
            body,
        },
        stays_open,
    ))
}
