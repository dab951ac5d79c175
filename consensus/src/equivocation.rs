//! Validators that signed two messages where an honest one signs one, as the engine saw them.

use arc_malachitebft_core_consensus::MisbehaviorEvidence;
use arc_malachitebft_core_types::{NilOrVal, Round, Validator as _, ValidatorSet as _, VoteType};
use arc_malachitebft_signing_ed25519::Signature;
use tendermint::Time;

use crate::block_ref::BlockRef;
use crate::context::{Address, Height, Proposal, Vote, WeftContext};
use crate::validators::ValidatorSet;

/// What was signed twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// A prevote.
    Prevote,
    /// A precommit.
    Precommit,
    /// A proposal.
    Proposal,
}

/// One of two messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedMessage {
    /// Hash and time of the header that it names; none for nil.
    pub block: Option<([u8; 32], Time)>,
    /// A proposal's proof-of-lock round.
    pub pol_round: Option<u32>,
    /// ed25519 signature over Tendermint's canonical bytes.
    pub signature: [u8; 64],
}

/// Two messages of one validator, height, round and kind whose signatures the engine checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// ed25519 key that signed both.
    pub validator: [u8; 32],
    /// What both are.
    pub signed: Signed,
    /// Their height.
    pub height: u64,
    /// Their round.
    pub round: u32,
    /// The one.
    pub first: SignedMessage,
    /// The other.
    pub second: SignedMessage,
}

fn message(block: Option<BlockRef>, pol_round: Round, signature: &Signature) -> SignedMessage {
    SignedMessage {
        block: block.map(|block| (*block.header_hash(), block.time())),
        pol_round: pol_round.as_u32(),
        signature: signature.to_bytes(),
    }
}

fn of_vote(vote: &Vote, signature: &Signature) -> SignedMessage {
    let block = match vote.value {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(block),
    };
    message(block, Round::Nil, signature)
}

fn of_proposal(proposal: &Proposal, signature: &Signature) -> SignedMessage {
    message(Some(proposal.value), proposal.pol_round, signature)
}

/// The engine's findings at a height of `validators`. Messages that name one block contradict nothing and are left
/// out.
pub(crate) fn equivocations(
    evidence: &MisbehaviorEvidence<WeftContext>,
    validators: &ValidatorSet,
) -> Vec<Equivocation> {
    let found = |address: &Address, signed, height: Height, round: Round, first, second| {
        let key = validators.get_by_address(address)?.public_key();
        let round = round.as_u32()?;
        let (validator, height) = (*key.as_bytes(), height.to_block().value());
        let both = Equivocation { validator, signed, height, round, first, second };
        let hash = |message: &SignedMessage| message.block.map(|(hash, _)| hash);
        (hash(&both.first) != hash(&both.second)).then_some(both)
    };
    let votes =
        evidence.votes.iter().flat_map(|(address, pairs)| pairs.iter().map(move |pair| (address, pair)));
    let votes = votes.filter_map(|(address, (one, other))| {
        let signed = match one.message.vote_type {
            VoteType::Prevote => Signed::Prevote,
            VoteType::Precommit => Signed::Precommit,
        };
        let (first, second) =
            (of_vote(&one.message, &one.signature), of_vote(&other.message, &other.signature));
        found(address, signed, one.message.height, one.message.round, first, second)
    });
    let proposals =
        evidence.proposals.iter().flat_map(|(address, pairs)| pairs.iter().map(move |pair| (address, pair)));
    let proposals = proposals.filter_map(|(address, (one, other))| {
        let (first, second) =
            (of_proposal(&one.message, &one.signature), of_proposal(&other.message, &other.signature));
        found(address, Signed::Proposal, one.message.height, one.message.round, first, second)
    });
    votes.chain(proposals).collect()
}
