//! The nodes, and the way from one to the next.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use reqwest::{Method, Url};

use super::{
    error::{Attempt, ClientError, Fault, RejectedNode},
    hedge::{Node, Pulse, Race, SLOW, SLOW_FOR, Step},
    request::Request,
};
use crate::{ErrorCode, ErrorDetail};

/// A node that does not accept a connection by then is tried last.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A request other than an upload is answered by then, waiting for a transaction included.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// The nodes, the one to ask first, those that are slow, and those caught lying.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    urls: Vec<String>,
    first: AtomicUsize,
    slow_until: Mutex<Vec<Option<Instant>>>,
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
        let urls = urls.iter().map(|url| parse(url)).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Err(ClientError::NoNode);
        }
        let slow_until = Mutex::new(vec![None; urls.len()]);
        Ok(Self { http, urls, first: AtomicUsize::new(0), slow_until, rejected: Mutex::default() })
    }

    pub(super) fn rejected(&self) -> Vec<RejectedNode> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn reject(&self, node: RejectedNode) {
        tracing::warn!(url = node.url, proof = %node.proof, reason = node.reason, "node rejected");
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).push(node);
    }

    /// Has another node asked first from now on.
    pub(super) fn turn(&self) {
        let next = (self.first.load(Ordering::Relaxed) + 1) % self.urls.len();
        self.first.store(next, Ordering::Relaxed);
    }

    fn slow_until(&self) -> MutexGuard<'_, Vec<Option<Instant>>> {
        self.slow_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark_slow(&self, node: &Node, now: Instant) {
        if let Some(until) = self.slow_until().get_mut(node.at) {
            if until.is_none_or(|until| until <= now) {
                tracing::debug!(url = node.url, "node is slow");
            }
            *until = Some(now + SLOW_FOR);
        }
    }

    /// Nodes not rejected: `open` before all, the one that answered last before the others, the slow ones last.
    fn order(&self, open: Option<&Node>, now: Instant) -> VecDeque<Node> {
        let first = self.first.load(Ordering::Relaxed);
        let (rejected, slow_until) = (self.rejected(), self.slow_until().clone());
        let node = |(at, url): (usize, &String)| match open {
            Some(open) if open.at == at => open.clone(),
            _ => Node { url: url.clone(), at, pulse: Pulse::until(now) },
        };
        let cycled = self.urls.iter().enumerate().cycle().skip(first).take(self.urls.len());
        let mut nodes: Vec<_> = cycled.map(node).collect();
        nodes.retain(|node| rejected.iter().all(|rejected| rejected.url != node.url));
        let slow = |at: usize| slow_until.get(at).copied().flatten().filter(|until| *until > now);
        nodes.sort_by_key(|node| (open.is_none_or(|open| open.at != node.at), slow(node.at)));
        nodes.into()
    }

    /// Asks nodes, each other one when those before failed or are slow, until one answers; remembers those that lie.
    /// That one refuses is believed only when no other node answers.
    pub(super) async fn any<T, F, Fut>(&self, ask: F) -> Result<(Node, T), ClientError>
    where
        F: Fn(Node) -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        self.any_from(None, ask).await
    }

    /// As [`Self::any`], where a connection to one node is open already.
    pub(super) async fn any_from<T, F, Fut>(
        &self,
        open: Option<&Node>,
        ask: F,
    ) -> Result<(Node, T), ClientError>
    where
        F: Fn(Node) -> Fut,
        Fut: Future<Output = Result<T, Fault>>,
    {
        let mut race = Race::new(self.order(open, Instant::now()));
        let mut answers = FuturesUnordered::new();
        let mut failures = Failures::default();
        loop {
            let now = Instant::now();
            race.slow(now).for_each(|node| self.mark_slow(node, now));
            let until = match race.step(now) {
                Step::Ask(node) => {
                    node.pulse.allow(SLOW);
                    let answer = ask(node.clone());
                    answers.push(async move { (node, answer.await) });
                    continue;
                }
                Step::Wait(until) => until,
                Step::Over => {
                    let silent = race.slow(now).map(|node| node.url.clone());
                    return Err(failures.into_error(silent, self.rejected()));
                }
            };
            let slow = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            let (node, answer) = tokio::select! {
                biased;
                Some(answer) = answers.next() => answer,
                () = slow => continue,
            };
            match answer {
                Ok(answer) => {
                    self.first.store(node.at, Ordering::Relaxed);
                    return Ok((node, answer));
                }
                Err(fault) => {
                    race.fail(&node, matches!(fault, Fault::Answer(_)));
                    failures.add(self, node.url, fault)?;
                }
            }
        }
    }

    pub(super) fn get(&self, node: &Node, path: &str) -> Request {
        self.request(Method::GET, node, path)
    }

    pub(super) fn put(&self, node: &Node, path: &str) -> Request {
        self.request(Method::PUT, node, path)
    }

    pub(super) fn post(&self, node: &Node, path: &str) -> Request {
        self.request(Method::POST, node, path)
    }

    fn request(&self, method: Method, node: &Node, path: &str) -> Request {
        Request::new(self.http.request(method, format!("{}{path}", node.url)), node)
    }
}

/// How those failed that were asked.
#[derive(Debug, Default)]
struct Failures {
    attempts: Vec<Attempt>,
    lie: Option<ClientError>,
    unknown: Option<ClientError>,
    refused: Option<ClientError>,
}

impl Failures {
    /// Gives back what asking elsewhere does not help.
    fn add(&mut self, transport: &Transport, url: String, fault: Fault) -> Result<(), ClientError> {
        match fault {
            Fault::Passing(reason) => self.attempts.push(Attempt { url, reason }),
            Fault::Answer(detail) if !may_work_elsewhere(detail.code) => {
                self.refused.get_or_insert(ClientError::Refused { url, detail });
            }
            Fault::Answer(detail) => {
                self.attempts.push(Attempt { url: url.clone(), reason: detail.message.clone() });
                if detail.code == ErrorCode::UnknownTransaction {
                    self.unknown = Some(ClientError::Refused { url, detail });
                }
            }
            Fault::Lied(proof, reason) => {
                let rejected = RejectedNode { url, proof, reason };
                transport.reject(rejected.clone());
                self.lie = Some(ClientError::LyingNode(rejected));
            }
            Fault::Final(error) => return Err(error),
        }
        Ok(())
    }

    fn into_error(
        mut self,
        silent: impl Iterator<Item = String>,
        rejected: Vec<RejectedNode>,
    ) -> ClientError {
        self.attempts.extend(silent.map(|url| Attempt { url, reason: "is silent".into() }));
        // With every node rejected earlier, the first lie is why nothing can be asked.
        let earlier = || rejected.into_iter().next().map(ClientError::LyingNode);
        let nobody = if self.attempts.is_empty() { earlier() } else { None };
        let known = self.refused.or(self.lie).or(self.unknown).or(nobody);
        known.unwrap_or(ClientError::Unreachable { attempts: self.attempts })
    }
}

fn parse(text: &str) -> Result<String, ClientError> {
    let bad = |reason: String| ClientError::Url { url: text.to_owned(), reason };
    let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    match url.scheme() {
        "http" => Ok(text.trim_end_matches('/').to_owned()),
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

impl ErrorDetail {
    /// Whether this is the answer that a namespace is proven absent.
    pub(super) fn is_absent(&self) -> bool {
        self.code == ErrorCode::Absent
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    fn ats(nodes: VecDeque<Node>) -> Vec<usize> {
        nodes.into_iter().map(|node| node.at).collect()
    }

    #[test]
    fn slow_nodes_are_asked_last_until_they_are_tried_again() {
        let urls: Vec<_> = (1..=4).map(|port| format!("http://localhost:{port}")).collect();
        let transport = Transport::new(&urls).unwrap();
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let nodes = transport.order(None, start);
        transport.turn();
        assert_eq!(ats(transport.order(None, start)), [1, 2, 3, 0]);
        transport.mark_slow(&nodes[2], start);
        transport.mark_slow(&nodes[1], start + second);
        assert_eq!(ats(transport.order(None, start + second)), [3, 0, 2, 1], "slow ones longest ago first");
        assert_eq!(ats(transport.order(Some(&nodes[1]), start + second)), [1, 3, 0, 2]);
        assert_eq!(ats(transport.order(None, start + SLOW_FOR)), [2, 3, 0, 1]);
        assert_eq!(ats(transport.order(None, start + SLOW_FOR + second)), [1, 2, 3, 0]);
    }
}
