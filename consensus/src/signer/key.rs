//! A validator's key behind the guard, in this process or in another.

use std::sync::{Arc, Mutex, PoisonError};

use arc_malachitebft_core_types::ValidatorProof;
use arc_malachitebft_signing_ed25519::{PrivateKey, PublicKey, Signature};

use super::message::Message;
use super::metrics::Metrics;
use crate::config::ValidatorKey;
use crate::context::{Address, WeftContext};
use crate::guard::{Guard, GuardError, Step};
use crate::remote::{Question, RemoteSigner, SignerError};
use crate::signing::{SignBytes, address_of};

#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a node has one")]
enum Key {
    Here(Box<PrivateKey>),
    Remote(RemoteSigner),
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSigned {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error("the guard's task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

type Proposed = Option<(Vec<u8>, Signature)>;

/// A validator's key, used with the guard's consent only. Clones are the same one.
#[derive(Clone)]
pub(super) struct GuardedKey {
    key: Key,
    public_key: PublicKey,
    sign_bytes: SignBytes,
    guard: Arc<Guard>,
    /// The last proposal's bytes and signature: the engine asks for what its part bears already, and
    /// a signer that has gone on to the vote would refuse.
    proposed: Arc<Mutex<Proposed>>,
    metrics: Metrics,
}

impl GuardedKey {
    pub(super) fn new(
        key: &ValidatorKey,
        sign_bytes: SignBytes,
        guard: Guard,
        metrics: Metrics,
    ) -> Result<Self, SignerError> {
        let (key, public_key) = match key {
            ValidatorKey::Seed(seed) => {
                let key = PrivateKey::from(*seed);
                let public_key = key.public_key();
                (Key::Here(Box::new(key)), public_key)
            }
            ValidatorKey::Remote(remote) => {
                let public_key = PublicKey::from_bytes(remote.public_key());
                (Key::Remote(remote.clone()), public_key.map_err(|_| SignerError::KeyKind)?)
            }
        };
        metrics.connected.set(i64::from(matches!(key, Key::Here(_))));
        let (guard, proposed) = (Arc::new(guard), Arc::default());
        Ok(Self { key, public_key, sign_bytes, guard, proposed, metrics })
    }

    pub(super) fn address(&self) -> Address {
        address_of(&self.public_key)
    }

    /// The signer in another process, if the key is there.
    pub(super) fn remote(&self) -> Option<&RemoteSigner> {
        match &self.key {
            Key::Here(_) => None,
            Key::Remote(remote) => Some(remote),
        }
    }

    /// A proof that the peer with this id is the validator, if the key is here: privval has no words
    /// for one. Without it peers take this node for one without a vote, and may prefer others when
    /// their places are full, unless they name it among those to keep connections to.
    pub(super) fn prove_peer(&self, peer_id: Vec<u8>) -> Option<ValidatorProof<WeftContext>> {
        let Key::Here(key) = &self.key else {
            return None;
        };
        let public_key = self.public_key.as_bytes().to_vec();
        let signature = key.sign(&ValidatorProof::<WeftContext>::signing_bytes(&public_key, &peer_id));
        Some(ValidatorProof::new(public_key, peer_id, signature))
    }

    /// The signature over `message`, whose place is on disk before the key is used.
    pub(super) async fn sign(&self, message: &Message) -> Result<Signature, NotSigned> {
        let sign_bytes = message.sign_bytes(&self.sign_bytes);
        let is_proposal = message.step() == Step::Proposal;
        if is_proposal {
            let proposed = self.proposed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, signature)) = proposed.as_ref().filter(|(bytes, _)| *bytes == sign_bytes) {
                return Ok(*signature);
            }
        }
        let (height, round) = message.place();
        let (height, round) = (height.to_block().value(), round.as_u32().unwrap_or(0));
        let (guard, step) = (Arc::clone(&self.guard), message.step());
        let (sign_bytes, admitted) = tokio::task::spawn_blocking(move || {
            let admitted = guard.admit(step, height, round, &sign_bytes);
            (sign_bytes, admitted)
        })
        .await?;
        admitted?;
        self.metrics.signatures.inc();
        let signature = match &self.key {
            Key::Here(key) => key.sign(&sign_bytes),
            Key::Remote(remote) => {
                let sum = message.question(&self.sign_bytes);
                let signed = remote.sign(Question { sum, sign_bytes: sign_bytes.clone() }).await;
                if signed.is_err() {
                    self.metrics.missed.inc();
                }
                signed?
            }
        };
        if is_proposal {
            let mut proposed = self.proposed.lock().unwrap_or_else(PoisonError::into_inner);
            *proposed = Some((sign_bytes, signature));
        }
        Ok(signature)
    }
}
