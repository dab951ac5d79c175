//! Requests to one node, and the way from node to node.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use super::error::{Attempt, ClientError, Fault, RejectedNode};
use crate::{ErrorBody, ErrorCode, ErrorDetail};

/// A node that does not accept a connection by then is tried last.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A request other than an upload is answered by then, waiting for a transaction included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// Bytes of a JSON answer at most: a light block of thousands of validators, or the index of a full block.
pub(super) const JSON_LIMIT_BYTES: u64 = 32 << 20;

/// A node's base URL and its place in the list.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) url: String,
    at: usize,
}

/// The nodes, the one to ask first, and those caught lying.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    nodes: Vec<Node>,
    first: AtomicUsize,
    rejected: Mutex<Vec<RejectedNode>>,
}

impl Transport {
    pub(super) fn new(urls: &[String]) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ClientError::Local(error.to_string()))?;
        let nodes = urls.iter().enumerate().map(|(at, url)| parse(at, url)).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(ClientError::NoNode);
        }
        Ok(Self { http, nodes, first: AtomicUsize::new(0), rejected: Mutex::default() })
    }

    pub(super) fn rejected(&self) -> Vec<RejectedNode> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn reject(&self, node: RejectedNode) {
        tracing::warn!(url = node.url, proof = %node.proof, reason = node.reason, "node rejected");
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).push(node);
    }

    /// Has the node after `node` asked first from now on.
    fn turn_from(&self, node: usize) {
        self.first.store((node + 1) % self.nodes.len(), Ordering::Relaxed);
    }

    /// Has another node asked first from now on.
    pub(super) fn turn(&self) {
        self.turn_from(self.first.load(Ordering::Relaxed));
    }

    /// Blames a node that failed in the middle of an answer, and has the next one asked first.
    pub(super) fn pass_over(&self, node: &Node, fault: Fault) {
        tracing::debug!(url = node.url, ?fault, "node passed over");
        self.turn_from(node.at);
        if let Fault::Lied(proof, reason) = fault {
            self.reject(RejectedNode { url: node.url.clone(), proof, reason });
        }
    }

    /// Nodes not rejected, the one that answered last first.
    fn order(&self) -> impl Iterator<Item = Node> {
        let first = self.first.load(Ordering::Relaxed);
        let rejected = self.rejected();
        let nodes = self.nodes.iter().cycle().skip(first).take(self.nodes.len()).cloned().collect::<Vec<_>>();
        nodes.into_iter().filter(move |node| rejected.iter().all(|r| r.url != node.url))
    }

    /// Asks node after node until one answers; remembers those that lie. That one refuses is believed only when no
    /// other node answers.
    pub(super) async fn any<T, F, Fut>(&self, ask: F) -> Result<(Node, T), ClientError>
    where
        F: Fn(Node) -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        let mut attempts = Vec::new();
        let mut lie = None;
        let mut unknown = None;
        let mut refused = None;
        for node in self.order() {
            let url = node.url.clone();
            match ask(node.clone()).await {
                Ok(answer) => {
                    self.first.store(node.at, Ordering::Relaxed);
                    return Ok((node, answer));
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(reason)) => attempts.push(Attempt { url, reason }),
                Err(Fault::Answer(detail)) if !may_work_elsewhere(detail.code) => {
                    refused.get_or_insert(ClientError::Refused { url, detail });
                }
                Err(Fault::Answer(detail)) => {
                    attempts.push(Attempt { url: url.clone(), reason: detail.message.clone() });
                    if detail.code == ErrorCode::UnknownTransaction {
                        unknown = Some(ClientError::Refused { url, detail });
                    }
                }
                Err(Fault::Lied(proof, reason)) => {
                    let rejected = RejectedNode { url, proof, reason };
                    self.reject(rejected.clone());
                    lie = Some(ClientError::LyingNode(rejected));
                }
            }
        }
        // With every node rejected earlier, the first lie is why nothing can be asked.
        let earlier = || self.rejected().into_iter().next().map(ClientError::LyingNode);
        let nobody = if attempts.is_empty() { earlier() } else { None };
        Err(refused.or(lie).or(unknown).or(nobody).unwrap_or(ClientError::Unreachable { attempts }))
    }

    pub(super) fn get(&self, node: &Node, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", node.url))
    }

    pub(super) fn put(&self, node: &Node, path: &str) -> RequestBuilder {
        self.http.put(format!("{}{path}", node.url))
    }

    pub(super) fn post(&self, node: &Node, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", node.url))
    }
}

fn parse(at: usize, text: &str) -> Result<Node, ClientError> {
    let bad = |reason: String| ClientError::Url { url: text.to_owned(), reason };
    let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    match url.scheme() {
        "http" => Ok(Node { url: text.trim_end_matches('/').to_owned(), at }),
        "https" => Err(bad(
            "this build speaks plain HTTP; every answer is verified, put TLS in a proxy if you need it"
                .into(),
        )),
        other => Err(bad(format!("scheme {other} is not http"))),
    }
}

/// Whether another node, or the same one later, may answer where this one gave such an error.
pub(super) fn may_work_elsewhere(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unreachable
            | ErrorCode::PoolFull
            | ErrorCode::TooManyRequests
            | ErrorCode::TooSlow
            | ErrorCode::UnknownTransaction
            | ErrorCode::Other
    )
}

/// Sends a request; a response that is an error becomes a fault.
pub(super) async fn send(request: RequestBuilder) -> Result<Response, Fault> {
    let response = request.send().await.map_err(|error| Fault::Passing(cause(&error)))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = read(response, JSON_LIMIT_BYTES).await?;
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody { error }) => Err(Fault::Answer(Box::new(error))),
        Err(_) => Err(Fault::Passing(format!("answered {status}, without the API's error body"))),
    }
}

/// Sends a request for JSON.
pub(super) async fn json<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Fault> {
    let body = read(send(request).await?, JSON_LIMIT_BYTES).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Fault::Passing(format!("answered with something else: {error}")))
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(mut response: Response, limit: u64) -> Result<Bytes, Fault> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Fault::Passing(cause(&error)))? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(Fault::Passing(format!("answered with more than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The innermost reason, without the URL that is named anyway.
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl ErrorDetail {
    /// Whether this is the answer that a namespace is proven absent.
    pub(super) fn is_absent(&self) -> bool {
        self.code == ErrorCode::Absent
    }
}
