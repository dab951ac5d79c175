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

use std::sync::{Arc, Mutex, PoisonError};

use arc_malachitebft_core_consensus::SignedConsensusMsg;
use arc_malachitebft_core_types::{
    NilOrVal, Round, SignedExtension, SignedProposal, SignedVote, ValidatorProof, VoteExtensionScope,
    VoteType,
};
use arc_malachitebft_metrics::SharedRegistry;
use arc_malachitebft_metrics::prometheus::metrics::counter::Counter;
use arc_malachitebft_metrics::prometheus::metrics::gauge::Gauge;
use arc_malachitebft_signing::{Error, Signer};
use arc_malachitebft_signing_ed25519::{PrivateKey, PublicKey, Signature};
use async_trait::async_trait;
use tendermint::Time;
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{SignProposalRequest, SignVoteRequest};
use tendermint_proto::v0_38::types as raw;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::block_ref::BlockRef;
use crate::config::ValidatorKey;
use crate::context::{Address, Height, Part, Proposal, Vote, WeftContext};
use crate::guard::{Guard, GuardError, Step};
use crate::remote::{Question, RemoteSigner, SignerError};
use crate::signing::{SignBytes, address_of};

/// Stands in the place of a signature that there is not.
pub(crate) fn unsigned() -> Signature {
    Signature::from_bytes([0; 64])
}

/// Something to sign.
#[derive(Clone, Debug)]
enum Message {
    Vote(Vote),
    Proposal(Proposal),
}

impl Message {
    fn place(&self) -> (Height, Round) {
        match self {
            Self::Vote(vote) => (vote.height, vote.round),
            Self::Proposal(proposal) => (proposal.height, proposal.round),
        }
    }

    fn step(&self) -> Step {
        match self {
            Self::Vote(Vote { vote_type: VoteType::Prevote, .. }) => Step::Prevote,
            Self::Vote(_) => Step::Precommit,
            Self::Proposal(_) => Step::Proposal,
        }
    }

    fn sign_bytes(&self, chain: &SignBytes) -> Vec<u8> {
        match self {
            Self::Vote(vote) => chain.vote(vote),
            Self::Proposal(proposal) => chain.proposal(proposal),
        }
    }

    fn signed(self, signature: Signature) -> SignedConsensusMsg<WeftContext> {
        match self {
            Self::Vote(vote) => SignedConsensusMsg::Vote(SignedVote::new(vote, signature)),
            Self::Proposal(proposal) => {
                SignedConsensusMsg::Proposal(SignedProposal::new(proposal, signature))
            }
        }
    }

    /// As privval asks for it. A signer makes the canonical bytes of the chain's id and all fields
    /// but address and index.
    fn question(&self, chain: &SignBytes) -> Sum {
        let chain_id = chain.chain_id.to_string();
        let block_id = |block: &BlockRef| raw::BlockId::from(block.block_id());
        match self {
            Self::Vote(vote) => {
                let (block_id, time) = match &vote.value {
                    // What CometBFT sends for nil: an id of empty hashes.
                    NilOrVal::Nil => {
                        let part_set_header = Some(raw::PartSetHeader::default());
                        (raw::BlockId { hash: Vec::new(), part_set_header }, Time::unix_epoch())
                    }
                    NilOrVal::Val(block) => (block_id(block), block.time()),
                };
                let kind = match vote.vote_type {
                    VoteType::Prevote => raw::SignedMsgType::Prevote,
                    VoteType::Precommit => raw::SignedMsgType::Precommit,
                };
                let vote = raw::Vote {
                    r#type: kind.into(),
                    height: vote.height.to_block().into(),
                    // The engine's rounds are at most Tendermint's.
                    round: vote.round.as_i64() as i32,
                    block_id: Some(block_id),
                    timestamp: Some(time.into()),
                    validator_address: vote.address.0.to_vec(),
                    ..Default::default()
                };
                Sum::SignVoteRequest(SignVoteRequest { vote: Some(vote), chain_id })
            }
            Self::Proposal(proposal) => {
                let proposal = raw::Proposal {
                    r#type: raw::SignedMsgType::Proposal.into(),
                    height: proposal.height.to_block().into(),
                    round: proposal.round.as_i64() as i32,
                    pol_round: proposal.pol_round.as_i64() as i32,
                    block_id: Some(block_id(&proposal.value)),
                    timestamp: Some(proposal.value.time().into()),
                    signature: Vec::new(),
                };
                Sum::SignProposalRequest(SignProposalRequest { proposal: Some(proposal), chain_id })
            }
        }
    }
}

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

/// `weft_consensus_…`: how often the key was used in vain, and whether it is at hand.
#[derive(Clone, Debug, Default)]
struct Metrics {
    signatures: Counter,
    missed: Counter,
    late: Counter,
    connected: Gauge,
}

impl Metrics {
    fn register(registry: &SharedRegistry) -> Self {
        let metrics = Self::default();
        let Self { signatures, missed, late, connected } = metrics.clone();
        registry.with_prefix("weft_consensus", |registry| {
            registry.register("signatures", "Signatures asked for", signatures);
            registry.register(
                "signatures_missed",
                "Signatures asked for that the signer did not give",
                missed,
            );
            registry.register("signatures_late", "Signatures that the signer gave when asked again", late);
            registry.register("signer_connected", "1 while the validator's key is at hand", connected);
        });
        metrics
    }
}

/// What the signer owes of the latest round that it owes anything of, in the order of the round's steps.
#[derive(Debug, Default)]
struct Debts {
    owed: Mutex<Vec<Message>>,
    more: Notify,
}

impl Debts {
    /// Adds a debt; those of earlier rounds are of no use to anybody.
    fn add(&self, message: Message) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.retain(|other| other.place() >= message.place());
        owed.push(message);
        self.more.notify_one();
    }

    fn first(&self) -> Option<Message> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    fn remove(&self, message: &Message) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.retain(|other| (other.place(), other.step()) != (message.place(), message.step()));
    }
}

type Proposed = Option<(Vec<u8>, Signature)>;

/// Signs votes and proposals with the guard's consent. Clones are the same one.
#[derive(Clone)]
pub(crate) struct ConsensusSigner {
    key: Key,
    public_key: PublicKey,
    sign_bytes: SignBytes,
    guard: Arc<Guard>,
    /// The last proposal's bytes and signature: the engine asks for what its part bears already, and
    /// a signer that has gone on to the vote would refuse.
    proposed: Arc<Mutex<Proposed>>,
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
        let metrics = Metrics::register(registry);
        metrics.connected.set(i64::from(matches!(key, Key::Here(_))));
        let (guard, proposed, debts) = (Arc::new(guard), Arc::default(), Arc::default());
        Ok(Self { key, public_key, sign_bytes, guard, proposed, debts, metrics })
    }

    pub(crate) fn address(&self) -> Address {
        address_of(&self.public_key)
    }

    /// A proof that the peer with this id is the validator, if the key is here: privval has no words
    /// for one. Without it peers take this node for one without a vote, and may prefer others when
    /// their places are full, unless they name it among those to keep connections to.
    pub(crate) fn prove_peer(&self, peer_id: Vec<u8>) -> Option<ValidatorProof<WeftContext>> {
        let Key::Here(key) = &self.key else {
            return None;
        };
        let public_key = self.public_key.as_bytes().to_vec();
        let signature = key.sign(&ValidatorProof::<WeftContext>::signing_bytes(&public_key, &peer_id));
        Some(ValidatorProof::new(public_key, peer_id, signature))
    }

    /// Fills in the signature of the fresh proposal of `block`, which `part` carries. The caller
    /// stores the part before it publishes it.
    pub(crate) async fn sign_part(&self, part: Part, block: BlockRef) -> Result<Part, NotSigned> {
        let signature = self.sign(&Message::Proposal(SignBytes::fresh(&part, block))).await?;
        Ok(Part { signature: Some(signature), ..part })
    }

    async fn sign(&self, message: &Message) -> Result<Signature, NotSigned> {
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

    /// For the engine: a missing signature is no error.
    async fn sign_or_owe(&self, message: Message) -> Result<Signature, Error> {
        match self.sign(&message).await {
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
        let Key::Remote(remote) = &self.key else {
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
            match self.sign(&message).await {
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
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

    use arc_malachitebft_codec::Codec as _;

    use super::*;
    use crate::codec::WeftCodec;
    use crate::remote::SignerConfig;
    use crate::wire::DecodeError;

    fn block() -> BlockRef {
        let time = Time::from_unix_timestamp(1_700_000_000, 123_456_789).unwrap();
        BlockRef::from_parts(tendermint::Hash::Sha256([7; 32]), time)
    }

    fn vote(vote_type: VoteType, round: u32, value: NilOrVal<BlockRef>) -> Vote {
        let (height, round) = (Height::new(1_234).unwrap(), Round::new(round));
        Vote { vote_type, height, round, value, address: Address([9; 20]) }
    }

    #[test]
    fn a_signer_that_goes_by_the_fields_of_the_question_signs_the_nodes_bytes() {
        let chain = SignBytes::new("weft-test".parse().unwrap());
        let mut messages = Vec::new();
        for vote_type in [VoteType::Prevote, VoteType::Precommit] {
            for value in [NilOrVal::Nil, NilOrVal::Val(block())] {
                messages.push(Message::Vote(vote(vote_type, 3, value)));
            }
        }
        for pol_round in [Round::Nil, Round::new(0), Round::new(2)] {
            let (height, round, address) = (Height::new(1_234).unwrap(), Round::new(3), Address([9; 20]));
            let proposal = Proposal { height, round, value: block(), pol_round, address };
            messages.push(Message::Proposal(proposal));
        }
        for message in messages {
            let signed = match message.question(&chain) {
                Sum::SignVoteRequest(request) => {
                    tendermint::vote::SignVoteRequest::try_from(request).unwrap().into_signable_vec()
                }
                Sum::SignProposalRequest(request) => {
                    tendermint::proposal::SignProposalRequest::try_from(request).unwrap().into_signable_vec()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(signed, message.sign_bytes(&chain), "{message:?}");
        }
    }

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
            let vote = signer.sign_vote(vote(vote_type, round, NilOrVal::Nil)).await.unwrap();
            assert_eq!(WeftCodec.encode(&SignedConsensusMsg::Vote(vote)), Err(DecodeError::Unsigned));
        }
        let owed: Vec<_> =
            signer.debts.owed.lock().unwrap().iter().map(|m| (m.place().1, m.step())).collect();
        assert_eq!(owed, [(Round::new(1), Step::Prevote), (Round::new(1), Step::Precommit)]);

        let part = Part {
            height: Height::new(1_234).unwrap(),
            round: Round::new(2),
            proposer: signer.address(),
            payload: bytes::Bytes::new(),
            signature: None,
        };
        let proposed = signer.sign_part(part, block()).await;
        assert!(matches!(proposed, Err(NotSigned::Signer(SignerError::Absent))), "{proposed:?}");
        assert_eq!(signer.debts.owed.lock().unwrap().len(), 2, "a proposal that was never made is owed");
    }
}
