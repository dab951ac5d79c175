//! Signing with a validator's key, wherever it is.
//!
//! ```text
//!  engine ─ vote ─▶ guard ─▶ key in this process ────────────────────────▶ signature
//!                        └─▶ signer in another ─▶ answers ───────────────▶ signature
//!                                              └▶ does not: "unsigned" ──▶ engine drops it
//!                                                   owed ─ signer is back ─▶ late vote, to engine and peers
//! ```
//!
//! The engine takes an error of its signer for a failure of its own and stops. So a vote that a remote
//! signer does not sign goes back with a signature that is none: the engine finds it wrong and does
//! not count it, [`WeftCodec`](crate::codec::WeftCodec) refuses to send it. To the network this node
//! was silent. But the engine never votes twice in a step, and where the votes of a round need this
//! one, nobody gets to the next: so what the signer owes of the latest round is asked for again when a
//! signer is there, and goes to the engine and to the peers like a vote that travelled slowly. It is
//! the vote that the engine decided on, admitted by the guard before.
//!
//! A refusal of the guard is an error still, and ends the engine: it means that the record of what
//! was signed is ahead of the engine's own, and somebody should look.

mod debts;
mod key;
mod message;
mod metrics;

use std::sync::Arc;

use arc_malachitebft_core_consensus::SignedConsensusMsg;
use arc_malachitebft_core_types::{
    SignedExtension, SignedProposal, SignedVote, ValidatorProof, VoteExtensionScope,
};
use arc_malachitebft_metrics::SharedRegistry;
use arc_malachitebft_signing::{Error, Signer};
use arc_malachitebft_signing_ed25519::Signature;
use async_trait::async_trait;
use tracing::{error, info, warn};

use self::debts::Debts;
use self::key::{GuardedKey, NotSigned};
use self::message::Message;
use self::metrics::Metrics;
use crate::block_ref::BlockRef;
use crate::config::ValidatorKey;
use crate::context::{Address, Part, Proposal, Vote, WeftContext};
use crate::guard::Guard;
use crate::remote::SignerError;
use crate::signing::SignBytes;

/// Stands in the place of a signature that there is not.
pub(crate) fn unsigned() -> Signature {
    Signature::from_bytes([0; 64])
}

/// Signs for the engine. Clones are the same one.
#[derive(Clone)]
pub(crate) struct ConsensusSigner {
    key: GuardedKey,
    debts: Arc<Debts>,
    metrics: Metrics,
}

impl ConsensusSigner {
    pub(crate) fn new(
        key: &ValidatorKey,
        sign_bytes: SignBytes,
        guard: Guard,
        registry: &SharedRegistry,
    ) -> Result<Self, SignerError> {
        let metrics = Metrics::register(registry);
        let key = GuardedKey::new(key, sign_bytes, guard, metrics.clone())?;
        Ok(Self { key, debts: Arc::default(), metrics })
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    /// See [`GuardedKey::prove_peer`].
    pub(crate) fn prove_peer(&self, peer_id: Vec<u8>) -> Option<ValidatorProof<WeftContext>> {
        self.key.prove_peer(peer_id)
    }

    /// Fills in the signature of the fresh proposal of `block`, which `part` carries. The caller
    /// stores the part before it publishes it.
    pub(crate) async fn sign_part(&self, part: Part, block: BlockRef) -> Result<Part, NotSigned> {
        let signature = self.key.sign(&Message::Proposal(SignBytes::fresh(&part, block))).await?;
        Ok(Part { signature: Some(signature), ..part })
    }

    /// For the engine: a missing signature is no error.
    async fn sign_or_owe(&self, message: Message) -> Result<Signature, Error> {
        match self.key.sign(&message).await {
            Ok(signature) => Ok(signature),
            Err(NotSigned::Signer(reason)) => {
                let ((height, round), step) = (message.place(), message.step());
                error!(%height, %round, ?step, %reason, "not signed");
                if reason.is_passing() {
                    self.debts.add(message);
                }
                Ok(unsigned())
            }
            Err(error) => Err(Error::from_source(error)),
        }
    }

    /// What is signed after all, for the engine and the peers. Cancel-safe; never resolves for a key
    /// in this process.
    pub(crate) async fn late(&self) -> SignedConsensusMsg<WeftContext> {
        let Some(remote) = self.key.remote() else {
            return std::future::pending().await;
        };
        let mut connected = remote.connected();
        loop {
            self.metrics.connected.set(i64::from(*connected.borrow_and_update()));
            let owed = self.debts.first().filter(|_| *connected.borrow());
            let Some(message) = owed else {
                tokio::select! {
                    () = self.debts.more.notified() => {}
                    changed = connected.changed() => if changed.is_err() {
                        // The signer's task ends with its last user, which is not this one.
                        return std::future::pending().await;
                    },
                }
                continue;
            };
            let ((height, round), step) = (message.place(), message.step());
            match self.key.sign(&message).await {
                Ok(signature) => {
                    self.debts.remove(&message);
                    self.metrics.late.inc();
                    info!(%height, %round, ?step, "signed late");
                    return message.signed(signature);
                }
                // The connection is gone, and with it the reason to ask again at once.
                Err(NotSigned::Signer(reason)) if reason.is_passing() => {}
                Err(reason) => {
                    self.debts.remove(&message);
                    warn!(%height, %round, ?step, %reason, "not signed late either");
                }
            }
        }
    }
}

#[async_trait]
impl Signer<WeftContext> for ConsensusSigner {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedVote<WeftContext>, Error> {
        let signature = self.sign_or_owe(Message::Vote(vote.clone())).await?;
        Ok(SignedVote::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedProposal<WeftContext>, Error> {
        let signature = self.sign_or_owe(Message::Proposal(proposal.clone())).await?;
        Ok(SignedProposal::new(proposal, signature))
    }

    /// Extensions are disabled at every height; the engine never calls this.
    async fn sign_vote_extension(
        &self,
        _scope: VoteExtensionScope<WeftContext>,
        _extension: (),
    ) -> Result<SignedExtension<WeftContext>, Error> {
        Err(Error::new())
    }

    /// The engine never calls this; see [`ConsensusSigner::prove_peer`].
    async fn sign_validator_proof(
        &self,
        _public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<WeftContext>, Error> {
        self.prove_peer(peer_id).ok_or_else(Error::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use arc_malachitebft_codec::Codec as _;
    use arc_malachitebft_core_types::{NilOrVal, Round, VoteType};
    use arc_malachitebft_signing_ed25519::PrivateKey;

    use super::*;
    use crate::codec::WeftCodec;
    use crate::fuzz::{block, part, vote};
    use crate::guard::Step;
    use crate::remote::{RemoteSigner, SignerConfig};
    use crate::wire::DecodeError;

    #[tokio::test]
    async fn without_its_signer_a_validator_is_silent_and_owes_the_votes_of_one_round() {
        let directory = tempfile::tempdir().unwrap();
        let config = SignerConfig {
            address: format!("unix://{}", directory.path().join("signer").display()).parse().unwrap(),
            chain_id: "weft-test".into(),
            identity_seed: [0; 32],
            public_key: Some(*PrivateKey::from([1; 32]).public_key().as_bytes()),
        };
        let key = ValidatorKey::Remote(RemoteSigner::listen(config).await.unwrap());
        let guard = Guard::open(&directory.path().join("signed")).unwrap();
        let chain = SignBytes::new("weft-test".parse().unwrap());
        let signer = ConsensusSigner::new(&key, chain, guard, SharedRegistry::global()).unwrap();
        assert_eq!(signer.prove_peer(Vec::new()), None);
        for (vote_type, round) in [(VoteType::Prevote, 0), (VoteType::Prevote, 1), (VoteType::Precommit, 1)] {
            let vote = Vote { vote_type, round: Round::new(round), ..vote(NilOrVal::Nil).message };
            let vote = signer.sign_vote(vote).await.unwrap();
            assert_eq!(WeftCodec.encode(&SignedConsensusMsg::Vote(vote)), Err(DecodeError::Unsigned));
        }
        let owed: Vec<_> = signer.debts.all().iter().map(|m| (m.place().1, m.step())).collect();
        assert_eq!(owed, [(Round::new(1), Step::Prevote), (Round::new(1), Step::Precommit)]);

        let part = Part { proposer: signer.address(), signature: None, ..part() };
        let proposed = signer.sign_part(part, block()).await;
        assert!(matches!(proposed, Err(NotSigned::Signer(SignerError::Absent))), "{proposed:?}");
        assert_eq!(signer.debts.all().len(), 2, "a proposal that was never made is owed");
    }
}
