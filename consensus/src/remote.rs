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
mod error;
mod link;
mod listener;
mod question;
mod serve;
#[cfg(test)]
mod tests;

use std::time::Duration;

use arc_malachitebft_signing_ed25519::{PublicKey, Signature};
use cometbft_p2p::IdentitySecret;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

pub use address::{AddressError, SignerAddress};
pub use error::SignerError;
use link::Socket;
#[cfg(any(test, fuzzing))]
pub(crate) use link::read_delimited;
use listener::{Listener, key_of};
pub(crate) use question::Question;
use serve::{Request, run};

/// How long a signer may take to answer; hardware takes up to 200 ms. The engine waits meanwhile, but not for a second
/// answer of a signer that was silent.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Requests that may wait; the engine has one at a time, proposals and late votes another each.
const REQUESTS: usize = 8;

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
