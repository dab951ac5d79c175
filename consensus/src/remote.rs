//! A validator's key in another process, over Tendermint's privval protocol as of CometBFT v0.38.
//!
//! ```text
//!  ConsensusSigner ── sign(vote or proposal) ──▶ task ══ PubKeyRequest, PingRequest,
//!                  ◀── signature, or why not ──        SignVoteRequest, SignProposalRequest ══▶ signer
//! ```
//!
//! The node listens and the signer dials, as with CometBFT's `priv_validator_laddr`; one signer at a time. Messages are
//! `tendermint.privval.Message`, length-delimited, plain over a Unix socket and under SecretConnection over TCP.
//!
//! What holds:
//! * A signature is handed on only after it was verified over this node's own sign bytes. A signer that signs another
//!   timestamp, as CometBFT allows it to, is refused: all validators of a block sign the same bytes.
//! * A signer with another key than the validator's is turned away, and so is, over TCP, one with another peer id than
//!   the address names.
//! * No request takes longer than [`ANSWERS_WITHIN`], after at most as long for a ping before it. A signer that is silent or breaks a rule of the protocol is
//!   disconnected, so that a late answer is never taken for that to another question; one that refuses stays.
//!
//! A [`SignerError`] costs a signature, never the engine.

mod address;
mod link;

use std::io;
use std::time::Duration;

use arc_malachitebft_signing_ed25519::{PublicKey, Signature};
use cometbft_p2p::IdentitySecret;
use prost::DecodeError;
use tendermint_proto::v0_38::crypto::{PublicKey as RawPublicKey, public_key};
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{PingRequest, PubKeyRequest, RemoteSignerError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::{info, warn};

pub use address::{AddressError, SignerAddress};
#[cfg(any(test, fuzzing))]
pub(crate) use link::read_delimited;
use link::{Link, Socket};

/// How long a signer may take to answer; hardware takes up to 200 ms. The engine waits meanwhile, but not for a second
/// answer of a signer that was silent.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Pause between two pings, so that a signer that is gone is noticed before a vote needs it.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Pause after a signer was turned away.
const PAUSE: Duration = Duration::from_millis(200);

/// Requests that may wait; the engine has one at a time, proposals and late votes another each.
const REQUESTS: usize = 8;

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The operator is at fault.
    #[error("cannot listen for a signer at {address}: {source}")]
    Listen {
        /// Where.
        address: SignerAddress,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody has dialled in. Retry when somebody has.
    #[error("no signer is connected")]
    Absent,
    /// Retry over the next connection.
    #[error("the signer did not answer within {ANSWERS_WITHIN:?}")]
    Silent,
    /// Retry over the next connection.
    #[error("the connection to the signer broke: {0}")]
    Io(#[from] io::Error),
    /// The peer could not prove who it is, or bytes were changed on the way.
    #[error("SecretConnection with the signer failed: {0}")]
    Secret(String),
    /// What came is no privval message of CometBFT v0.38.
    #[error("the signer does not speak the privval protocol of CometBFT v0.38: {0}")]
    Malformed(#[from] DecodeError),
    /// More than any answer takes.
    #[error("the signer announced a message of {got} bytes, at most {limit} are allowed")]
    TooLong {
        /// Allowed.
        limit: usize,
        /// Announced.
        got: usize,
    },
    /// An answer to something else.
    #[error("the signer answered something else than it was asked: a {wanted} was expected")]
    Unexpected {
        /// What would have been an answer.
        wanted: &'static str,
    },
    /// Another validator's signer.
    #[error("the signer holds the key {got}, this validator's is {expected}: point it at its own node")]
    Key {
        /// This validator's public key, in hexadecimal.
        expected: String,
        /// The signer's.
        got: String,
    },
    /// The signer's key is of another kind.
    #[error("the signer holds no ed25519 key")]
    KeyKind,
    /// Somebody else than the signer that the address names dialled in.
    #[error("a peer with the id {got} dialled in, the signer's is {expected}")]
    Peer {
        /// As the address says.
        expected: String,
        /// The peer's.
        got: String,
    },
    /// The signer does not want to sign this, for instance because it has signed something else in this round.
    #[error("the signer refused: {description} (code {code})")]
    Refused {
        /// Its words.
        description: String,
        /// Its number for them.
        code: i32,
    },
    /// The signer signed with a time of its own.
    #[error("the signer signed another timestamp than it was asked to: its votes cannot be counted here")]
    Timestamp,
    /// The signer signed something else, for instance for another chain.
    #[error(
        "the signer's signature is not one over what it was asked to sign: does it know this chain's id?"
    )]
    Signature,
}

impl SignerError {
    /// Whether the same question can have another answer over another connection.
    pub(crate) fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Timestamp | Self::Signature)
    }

    fn secret(error: cometbft_p2p::Error) -> Self {
        match error {
            cometbft_p2p::Error::Io(error) => Self::Io(error),
            cometbft_p2p::Error::Decode(error) => Self::Malformed(error),
            cometbft_p2p::Error::MessageSize { size } => {
                Self::TooLong { limit: cometbft_p2p::MAX_MSG_LEN, got: size }
            }
            error => Self::Secret(error.to_string()),
        }
    }
}

/// What to sign: the question, the bytes that the answer has to be a signature over, and the time in them.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) sum: Sum,
    pub(crate) sign_bytes: Vec<u8>,
}

#[derive(Debug)]
struct Request {
    question: Question,
    answer: oneshot::Sender<Result<Signature, SignerError>>,
}

/// How to find the signer.
#[derive(Clone, Debug)]
pub struct SignerConfig {
    /// Where to listen.
    pub address: SignerAddress,
    /// The chain, as the signer knows it.
    pub chain_id: String,
    /// Seed of the ed25519 key that this node shows to a signer over TCP.
    pub identity_seed: [u8; 32],
    /// The validator's public key, if known.
    pub public_key: Option<[u8; 32]>,
}

/// A signer in another process. Clones are the same one; its socket is closed once all are dropped.
#[derive(Clone, Debug)]
pub struct RemoteSigner {
    requests: mpsc::Sender<Request>,
    connected: watch::Receiver<bool>,
    public_key: PublicKey,
    address: SignerAddress,
}

impl RemoteSigner {
    /// Listens. Without a key in `config`, waits for the first signer and takes its key for the validator's.
    ///
    /// # Errors
    /// The address cannot be listened on, or the key in `config` is none.
    pub async fn listen(config: SignerConfig) -> Result<Self, SignerError> {
        let SignerConfig { address, chain_id, identity_seed, public_key } = config;
        let failed = |source| SignerError::Listen { address: address.clone(), source };
        let socket = Socket::bind(&address).await.map_err(failed)?;
        let address = socket.address(&address);
        let identity = IdentitySecret::from_bytes(&identity_seed);
        let node_id = cometbft_p2p::PublicKey::from(&identity).peer_id();
        info!(%address, %node_id, chain_id, "waits for a signer");
        let expected = public_key.map(key_of).transpose()?;
        let listener = Listener { socket, identity, chain_id };
        let (public_key, first) = match expected {
            Some(key) => (key, None),
            None => {
                let (link, key) = listener.next(None).await;
                (key, Some(link))
            }
        };
        let (requests, inbox) = mpsc::channel(REQUESTS);
        let (connection, connected) = watch::channel(false);
        tokio::spawn(run(listener, public_key, first, inbox, connection));
        Ok(Self { requests, connected, public_key, address })
    }

    /// The validator's public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        *self.public_key.as_bytes()
    }

    /// Where it listens; a TCP port that was 0 is the actual one.
    #[must_use]
    pub fn address(&self) -> &SignerAddress {
        &self.address
    }

    /// Whether a signer is connected; changes as it comes and goes.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Asks the signer. Whoever stops waiting costs it a signature and nothing else.
    pub(crate) async fn sign(&self, question: Question) -> Result<Signature, SignerError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { question, answer }).await.map_err(|_| SignerError::Absent)?;
        answered.await.unwrap_or(Err(SignerError::Absent))
    }
}

struct Listener {
    socket: Socket,
    identity: IdentitySecret,
    chain_id: String,
}

impl Listener {
    /// The next signer that may sign: one with the `expected` key, or with any.
    async fn next(&self, expected: Option<&PublicKey>) -> (Link, PublicKey) {
        loop {
            match self.try_next(expected).await {
                Ok(signer) => return signer,
                Err(error) => warn!(%error, "turned a signer away"),
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_next(&self, expected: Option<&PublicKey>) -> Result<(Link, PublicKey), SignerError> {
        let stream = self.socket.accept().await?;
        let greeting = async {
            let mut link = stream.secure(&self.identity).await?;
            let question = Sum::PubKeyRequest(PubKeyRequest { chain_id: self.chain_id.clone() });
            let key = match link.ask(question).await? {
                Sum::PubKeyResponse(answer) => match (answer.pub_key, answer.error) {
                    (_, Some(error)) => return Err(refused(error)),
                    (Some(RawPublicKey { sum: Some(public_key::Sum::Ed25519(bytes)) }), None) => {
                        key_of(bytes.try_into().map_err(|_| SignerError::KeyKind)?)?
                    }
                    _ => return Err(SignerError::KeyKind),
                },
                _ => return Err(SignerError::Unexpected { wanted: "PubKeyResponse" }),
            };
            match expected {
                Some(expected) if *expected != key => {
                    Err(SignerError::Key { expected: hex(expected.as_bytes()), got: hex(key.as_bytes()) })
                }
                _ => Ok((link, key)),
            }
        };
        timeout(ANSWERS_WITHIN, greeting).await.unwrap_or(Err(SignerError::Silent))
    }
}

fn key_of(bytes: [u8; 32]) -> Result<PublicKey, SignerError> {
    PublicKey::from_bytes(bytes).map_err(|_| SignerError::KeyKind)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(error: RemoteSignerError) -> SignerError {
    SignerError::Refused { description: error.description, code: error.code }
}

/// Serves `inbox` over one connection after the other until nobody asks any more.
async fn run(
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
                let signed = timeout(ANSWERS_WITHIN, signature(&mut link, question, key)).await;
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

async fn signature(link: &mut Link, question: Question, key: &PublicKey) -> Result<Signature, SignerError> {
    let answer = link.ask(question.sum.clone()).await?;
    question.answered(answer, key)
}

impl Question {
    /// The signature in `answer`, if it is one over what was asked.
    pub(crate) fn answered(&self, answer: Sum, key: &PublicKey) -> Result<Signature, SignerError> {
        let asked = match &self.sum {
            Sum::SignVoteRequest(request) => request.vote.as_ref().and_then(|vote| vote.timestamp),
            Sum::SignProposalRequest(request) => request.proposal.as_ref().and_then(|claim| claim.timestamp),
            _ => None,
        };
        let of_vote = matches!(self.sum, Sum::SignVoteRequest(_));
        let (time, signature) = match (answer, of_vote) {
            (Sum::SignedVoteResponse(answer), true) => match (answer.vote, answer.error) {
                (_, Some(error)) => return Err(refused(error)),
                (Some(vote), None) => (vote.timestamp, vote.signature),
                (None, None) => return Err(SignerError::Unexpected { wanted: "vote" }),
            },
            (Sum::SignedProposalResponse(answer), false) => match (answer.proposal, answer.error) {
                (_, Some(error)) => return Err(refused(error)),
                (Some(proposal), None) => (proposal.timestamp, proposal.signature),
                (None, None) => return Err(SignerError::Unexpected { wanted: "proposal" }),
            },
            (_, true) => return Err(SignerError::Unexpected { wanted: "SignedVoteResponse" }),
            (_, false) => return Err(SignerError::Unexpected { wanted: "SignedProposalResponse" }),
        };
        if time.unwrap_or_default() != asked.unwrap_or_default() {
            return Err(SignerError::Timestamp);
        }
        let signature = Signature::from_bytes(signature.try_into().map_err(|_| SignerError::Signature)?);
        key.verify(&self.sign_bytes, &signature).map_err(|_| SignerError::Signature)?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests;
