//! A request to one node, and what comes back.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use reqwest::{
    RequestBuilder, Response,
    header::{CONTENT_LENGTH, HeaderMap, HeaderName},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Progress,
    error::Fault,
    hedge::{Node, Pulse, SLOW},
};
use crate::ErrorBody;

/// Bytes of a JSON answer at most: a light block of thousands of validators, or the index of a full block.
pub(super) const JSON_LIMIT_BYTES: u64 = 32 << 20;

/// The slowest line over which nothing is sent to a second node while the first still receives it. What the kernel
/// holds of an upload gives no sign of life, and that may be all of it.
const LINE_BYTES_PER_SECOND: f64 = (512 << 10) as f64;

/// Bytes handed to the connection, and reported, at a time.
const UPLOAD_PIECE_BYTES: usize = 64 * 1024;

/// A request, and how long its node may be silent before it answers.
#[derive(Debug)]
pub(super) struct Request {
    builder: RequestBuilder,
    pulse: Pulse,
    silence: Duration,
}

impl Request {
    pub(super) fn new(builder: RequestBuilder, node: &Node) -> Self {
        Self { builder, pulse: node.pulse.clone(), silence: SLOW }
    }

    /// The node may be silent for so long.
    pub(super) fn silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    pub(super) fn timeout(self, timeout: Duration) -> Self {
        Self { builder: self.builder.timeout(timeout), ..self }
    }

    pub(super) fn header(self, name: HeaderName, value: &'static str) -> Self {
        Self { builder: self.builder.header(name, value), ..self }
    }

    pub(super) fn json(self, body: &impl Serialize) -> Self {
        Self { builder: self.builder.json(body), ..self }
    }

    pub(super) fn body(self, body: Bytes) -> Self {
        Self { builder: self.builder.body(body), ..self }
    }

    /// A long body: each piece that the connection takes is a sign of life.
    pub(super) fn upload(self, body: Bytes, progress: Option<Progress>) -> Self {
        let length = body.len();
        let silence = self.silence + Duration::from_secs_f64(length as f64 / LINE_BYTES_PER_SECOND);
        let pulse = self.pulse.clone();
        let pieces = (0..length).step_by(UPLOAD_PIECE_BYTES).map(move |start| {
            let end = (start + UPLOAD_PIECE_BYTES).min(length);
            pulse.allow(silence);
            if let Some(progress) = &progress {
                progress(end as u64);
            }
            Ok::<_, std::convert::Infallible>(body.slice(start..end))
        });
        let pieces = reqwest::Body::wrap_stream(stream::iter(pieces));
        Self { builder: self.builder.header(CONTENT_LENGTH, length).body(pieces), silence, ..self }
    }
}

/// A node's answer, of which each part is a sign of life.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response,
    pulse: Pulse,
    silence: Duration,
}

impl Answer {
    /// The node may be silent for so long at a time.
    pub(super) fn silence(self, silence: Duration) -> Self {
        self.pulse.allow(silence);
        Self { silence, ..self }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next part; none at the end. Cancel safe.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        let chunk = self.response.chunk().await.map_err(|error| Fault::Passing(cause(&error)))?;
        self.pulse.allow(self.silence);
        Ok(chunk)
    }
}

/// Sends a request; a response that is an error becomes a fault.
pub(super) async fn send(request: Request) -> Result<Answer, Fault> {
    let Request { builder, pulse, silence } = request;
    pulse.allow(silence);
    let response = builder.send().await.map_err(|error| Fault::Passing(cause(&error)))?;
    let status = response.status();
    let answer = Answer { response, pulse, silence: SLOW }.silence(SLOW);
    if status.is_success() {
        return Ok(answer);
    }
    let body = read(answer, JSON_LIMIT_BYTES).await?;
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody { error }) => Err(Fault::Answer(Box::new(error))),
        Err(_) => Err(Fault::Passing(format!("answered {status}, without the API's error body"))),
    }
}

/// Sends a request for JSON.
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Fault> {
    let body = read(send(request).await?, JSON_LIMIT_BYTES).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Fault::Passing(format!("answered with something else: {error}")))
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(mut answer: Answer, limit: u64) -> Result<Bytes, Fault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(Fault::Passing(format!("answered with more than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The innermost reason, without the URL that is named anyway.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
