//! The task that asks: one connection after the other, one question at a time.

use std::time::Duration;

use arc_malachitebft_signing_ed25519::{PublicKey, Signature};
use tendermint_proto::v0_38::privval::PingRequest;
use tendermint_proto::v0_38::privval::message::Sum;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::{info, warn};

use super::link::Link;
use super::listener::{Listener, hex};
use super::{ANSWERS_WITHIN, Question, SignerError};

/// Pause between two pings, so that a signer that is gone is noticed before a vote needs it.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A question, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) question: Question,
    pub(super) answer: oneshot::Sender<Result<Signature, SignerError>>,
}

/// Serves `inbox` over one connection after the other until nobody asks any more.
pub(super) async fn run(
    listener: Listener,
    key: PublicKey,
    mut link: Option<Link>,
    mut inbox: mpsc::Receiver<Request>,
    connected: watch::Sender<bool>,
) {
    loop {
        let serving = match link.take() {
            Some(link) => link,
            None => {
                let next = listener.next(Some(&key));
                tokio::pin!(next);
                loop {
                    tokio::select! {
                        (link, _) = &mut next => break link,
                        request = inbox.recv() => match request {
                            // Whoever asked may have stopped waiting.
                            Some(request) => drop(request.answer.send(Err(SignerError::Absent))),
                            None => return,
                        },
                    }
                }
            }
        };
        info!(key = hex(key.as_bytes()), "a signer is connected");
        connected.send_replace(true);
        let Some((error, unanswered)) = serve(serving, &key, &mut inbox).await else {
            return;
        };
        // Before anybody hears of it, so that whoever retries waits for the next connection.
        connected.send_replace(false);
        warn!(%error, "the signer is gone");
        if let Some(answer) = unanswered {
            let _ = answer.send(Err(error));
        }
    }
}

type Unanswered = Option<oneshot::Sender<Result<Signature, SignerError>>>;

/// Serves `inbox` until the connection fails, and tells why and who waits in vain; nothing once nobody asks any more.
async fn serve(
    mut link: Link,
    key: &PublicKey,
    inbox: &mut mpsc::Receiver<Request>,
) -> Option<(SignerError, Unanswered)> {
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = inbox.recv() => {
                let Request { question, answer } = request?;
                let signed = timeout(ANSWERS_WITHIN, signature(&mut link, &question, key)).await;
                match signed.unwrap_or(Err(SignerError::Silent)) {
                    Err(error) if error.is_passing() => return Some((error, Some(answer))),
                    signed => drop(answer.send(signed)),
                }
            }
            _ = ping.tick() => {
                let alive = timeout(ANSWERS_WITHIN, link.ask(Sum::PingRequest(PingRequest {}))).await;
                match alive.unwrap_or(Err(SignerError::Silent)) {
                    Ok(Sum::PingResponse(_)) => {}
                    Ok(_) => return Some((SignerError::Unexpected { wanted: "PingResponse" }, None)),
                    Err(error) => return Some((error, None)),
                }
            }
        }
    }
}

async fn signature(link: &mut Link, question: &Question, key: &PublicKey) -> Result<Signature, SignerError> {
    question.answered(link.ask(question.sum.clone()).await?, key)
}
