//! What a validator signs of consensus, and how a signer in another process is asked for it.

use arc_malachitebft_core_consensus::SignedConsensusMsg;
use arc_malachitebft_core_types::{NilOrVal, Round, SignedProposal, SignedVote, VoteType};
use arc_malachitebft_signing_ed25519::Signature;
use tendermint::Time;
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{SignProposalRequest, SignVoteRequest};
use tendermint_proto::v0_38::types as raw;

use crate::block_ref::BlockRef;
use crate::context::{Height, Proposal, Vote, WeftContext};
use crate::guard::Step;
use crate::signing::SignBytes;

/// Something to sign.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Vote(Vote),
    Proposal(Proposal),
}

impl Message {
    pub(super) fn place(&self) -> (Height, Round) {
        match self {
            Self::Vote(vote) => (vote.height, vote.round),
            Self::Proposal(proposal) => (proposal.height, proposal.round),
        }
    }

    pub(super) fn step(&self) -> Step {
        match self {
            Self::Vote(Vote { vote_type: VoteType::Prevote, .. }) => Step::Prevote,
            Self::Vote(_) => Step::Precommit,
            Self::Proposal(_) => Step::Proposal,
        }
    }

    pub(super) fn sign_bytes(&self, chain: &SignBytes) -> Vec<u8> {
        match self {
            Self::Vote(vote) => chain.vote(vote),
            Self::Proposal(proposal) => chain.proposal(proposal),
        }
    }

    pub(super) fn signed(self, signature: Signature) -> SignedConsensusMsg<WeftContext> {
        match self {
            Self::Vote(vote) => SignedConsensusMsg::Vote(SignedVote::new(vote, signature)),
            Self::Proposal(proposal) => {
                SignedConsensusMsg::Proposal(SignedProposal::new(proposal, signature))
            }
        }
    }

    /// As privval asks for it. A signer makes the canonical bytes of the chain's id and all fields
    /// but address and index.
    pub(super) fn question(&self, chain: &SignBytes) -> Sum {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

    use super::*;
    use crate::context::Address;
    use crate::fuzz::{block, vote};

    #[test]
    fn a_signer_that_goes_by_the_fields_of_the_question_signs_the_nodes_bytes() {
        let chain = SignBytes::new("weft-test".parse().unwrap());
        let mut messages = Vec::new();
        for vote_type in [VoteType::Prevote, VoteType::Precommit] {
            for value in [NilOrVal::Nil, NilOrVal::Val(block())] {
                messages.push(Message::Vote(Vote { vote_type, ..vote(value).message }));
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
}
