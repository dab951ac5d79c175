//! Evidence that a validator contradicted itself: two messages of one height, round and step, signed with one consensus
//! key, for different blocks; or two attestations of one height, signed with one attestation key.
//!
//! It is checked from the signatures alone. An honest validator keeps a durable record of what it signed and never
//! signs two such messages, so there is no excuse and no time limit: whoever has stake when the evidence is included
//! loses a part of it and its place, once, whoever reports.
//!
//! Messages of consensus are Tendermint's canonical votes and proposals, as the consensus engine signs them: a vote's timestamp is
//! the block's time, the epoch's for nil; the part set is one part whose hash follows from the header's.

use erasure::sha256;
use prost::Message as _;
use tendermint::{
    Time,
    crypto::{default::signature, signature::Verifier as _},
};
use tendermint_proto::v0_38::types::{
    CanonicalBlockId, CanonicalPartSetHeader, CanonicalProposal, CanonicalVote, SignedMsgType,
};

use crate::{
    Height,
    bls::{AttestationKey, AttestationSignature},
    certificate::{AttestationData, check_attested},
    codec,
    eip712::Domain,
    genesis::Genesis,
};

/// Separates the part set hash from every other hash of a header hash.
const PART_SET_DOMAIN: &[u8] = b"weft/part-set/1";

/// What a validator signs at most once in a round, numbered as in Tendermint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// First vote.
    Prevote = 1,
    /// Second vote.
    Precommit = 2,
    /// The proposer's claim.
    Proposal = 32,
}

impl Step {
    /// The step with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Prevote, Self::Precommit, Self::Proposal].into_iter().find(|step| *step as u32 == number)
    }
}

/// One of the two messages, without what both share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStep {
    /// Hash and time of the header that it names; none for a vote for nil.
    pub block: Option<([u8; 32], Time)>,
    /// A proposal's proof-of-lock round; none for votes and for fresh proposals.
    pub pol_round: Option<u32>,
    /// ed25519 signature over the canonical bytes.
    pub signature: [u8; 64],
}

/// Two messages of one validator that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "rare, and never many at once")]
pub enum Evidence {
    /// Of consensus.
    Equivocation(Equivocation),
    /// Attestations.
    DoubleAttestation(DoubleAttestation),
}

/// The key that contradicted itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Culprit {
    /// ed25519, of the votes.
    Consensus([u8; 32]),
    /// BLS12-381, of the attestations.
    Attestation(AttestationKey),
}

impl Culprit {
    /// The key's bytes: 32 or 96.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Consensus(key) => key,
            Self::Attestation(key) => key.as_bytes(),
        }
    }
}

impl Evidence {
    /// Who contradicted itself.
    pub fn culprit(&self) -> Culprit {
        match self {
            Self::Equivocation(equivocation) => Culprit::Consensus(equivocation.validator),
            Self::DoubleAttestation(double) => Culprit::Attestation(double.validator),
        }
    }

    /// The messages contradict each other and are signed with the key on this chain.
    pub fn check(&self, genesis: &Genesis) -> Result<(), EvidenceError> {
        match self {
            Self::Equivocation(equivocation) => equivocation.check(&genesis.chain_id),
            Self::DoubleAttestation(double) => double.check(&genesis.domain()),
        }
    }

    /// Canonical protobuf bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode_evidence(self)
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode_evidence_bytes(bytes)
    }
}

/// Two attestations of one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleAttestation {
    /// The attestation key that signed both.
    pub validator: AttestationKey,
    /// The one, with its signature.
    pub first: (AttestationData, AttestationSignature),
    /// The other.
    pub second: (AttestationData, AttestationSignature),
}

impl DoubleAttestation {
    /// Both are of one height, say different things, and are signed with the key on the chain of `domain`.
    pub fn check(&self, domain: &Domain) -> Result<(), EvidenceError> {
        let [(first, _), (second, _)] = [&self.first, &self.second];
        if first.height == 0 || first.height != second.height {
            return Err(EvidenceError::Malformed);
        }
        if first == second {
            return Err(EvidenceError::SameBlock);
        }
        [&self.first, &self.second].into_iter().try_for_each(|(data, signature)| {
            check_attested(&self.validator, data, signature, domain).map_err(|_| EvidenceError::Signature)
        })
    }
}

/// Two messages of consensus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The consensus key that signed both.
    pub validator: [u8; 32],
    /// What was signed twice.
    pub step: Step,
    /// At this height.
    pub height: Height,
    /// In this round.
    pub round: u32,
    /// The one.
    pub first: SignedStep,
    /// The other.
    pub second: SignedStep,
}

impl Equivocation {
    /// The canonical bytes that `message` is a signature over, on the chain with this id.
    pub fn sign_bytes(&self, message: &SignedStep, chain_id: &str) -> Vec<u8> {
        let height = i64::try_from(self.height).unwrap_or(i64::MAX);
        let round = i64::from(self.round);
        let time = message.block.map_or(Time::unix_epoch(), |(_, time)| time);
        let block_id = message.block.map(|(hash, _)| CanonicalBlockId {
            hash: hash.to_vec(),
            part_set_header: Some(CanonicalPartSetHeader {
                total: 1,
                hash: sha256(&[PART_SET_DOMAIN, &hash].concat()).to_vec(),
            }),
        });
        let vote = |kind: SignedMsgType| CanonicalVote {
            r#type: kind.into(),
            height,
            round,
            block_id: block_id.clone(),
            timestamp: Some(time.into()),
            chain_id: chain_id.into(),
        };
        match self.step {
            Step::Prevote => vote(SignedMsgType::Prevote).encode_length_delimited_to_vec(),
            Step::Precommit => vote(SignedMsgType::Precommit).encode_length_delimited_to_vec(),
            Step::Proposal => CanonicalProposal {
                r#type: SignedMsgType::Proposal.into(),
                height,
                round,
                pol_round: message.pol_round.map_or(-1, i64::from),
                block_id,
                timestamp: Some(time.into()),
                chain_id: chain_id.into(),
            }
            .encode_length_delimited_to_vec(),
        }
    }

    /// Both messages are well formed, name different blocks and are signed with the key on the chain with this id.
    pub fn check(&self, chain_id: &str) -> Result<(), EvidenceError> {
        let proposal = self.step == Step::Proposal;
        for message in [&self.first, &self.second] {
            if (proposal && message.block.is_none()) || (!proposal && message.pol_round.is_some()) {
                return Err(EvidenceError::Malformed);
            }
        }
        if i64::try_from(self.height).is_err() || self.height == 0 {
            return Err(EvidenceError::Malformed);
        }
        let hash = |message: &SignedStep| message.block.map(|(hash, _)| hash);
        if hash(&self.first) == hash(&self.second) {
            return Err(EvidenceError::SameBlock);
        }
        let key = tendermint::PublicKey::from_raw_ed25519(&self.validator).ok_or(EvidenceError::Signature)?;
        [&self.first, &self.second].into_iter().try_for_each(|message| {
            let signature = tendermint::Signature::new(message.signature).ok().flatten();
            let bytes = self.sign_bytes(message, chain_id);
            signature
                .and_then(|signature| signature::Verifier.verify(key, &bytes, &signature).ok())
                .ok_or(EvidenceError::Signature)
        })
    }
}

/// Why two messages are no evidence. The submitter is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// A proposal for nil, a vote with a proof-of-lock round, no height, or two heights.
    #[error("evidence: no validator signs such messages")]
    Malformed,
    /// Signing one thing twice is no contradiction.
    #[error("evidence: both messages say the same")]
    SameBlock,
    /// Not both are the key's, for this chain.
    #[error("evidence: the key did not sign both messages on this chain")]
    Signature,
}
