//! What is signed, and the checks of signatures.
//!
//! Votes sign Tendermint's canonical vote bytes and proposals its canonical proposal bytes, and a
//! validator signs nothing else, so that its key may be in any signer that speaks Tendermint's
//! protocol. The timestamp is the block's time (the epoch for nil), so that all validators sign the
//! same bytes and an engine certificate is a Tendermint commit.
//!
//! A proposal's part needs no signature of its own. It bears that of the fresh proposal, the one
//! without a proof-of-lock round, which covers the header's hash and time; and the header commits to
//! the body, which [`Application::check_body`](crate::Application::check_body) checks. So nobody but
//! the proposer can put a part into the world, nobody can change what it says on the way, and one
//! header cannot come with two bodies, not even from a proposer that lies: what is found valid or
//! invalid is found so for the value that is voted on.

use arc_malachitebft_core_types::{
    NilOrVal, Round, SignedVote, SigningScheme as _, ValidatorProof, VoteExtensionScope, VoteType,
};
use arc_malachitebft_signing::{Error, VerificationResult, Verifier};
use arc_malachitebft_signing_ed25519::{Ed25519, PublicKey, Signature};
use async_trait::async_trait;
use prost::Message;
use tendermint::{Time, account, chain};
use tendermint_proto::v0_38::types::{
    CanonicalBlockId, CanonicalPartSetHeader, CanonicalProposal, CanonicalVote, SignedMsgType,
};

use crate::block_ref::BlockRef;
use crate::context::{Address, Part, Proposal, Vote, WeftContext};

/// The chain's signed bytes: what two chains sign never coincides.
#[derive(Clone, Debug)]
pub(crate) struct SignBytes {
    pub(crate) chain_id: chain::Id,
}

impl SignBytes {
    pub(crate) fn new(chain_id: chain::Id) -> Self {
        Self { chain_id }
    }

    pub(crate) fn vote(&self, vote: &Vote) -> Vec<u8> {
        let kind = match vote.vote_type {
            VoteType::Prevote => SignedMsgType::Prevote,
            VoteType::Precommit => SignedMsgType::Precommit,
        };
        let (block_id, time) = match &vote.value {
            NilOrVal::Nil => (None, Time::unix_epoch()),
            NilOrVal::Val(block) => (Some(canonical_id(block)), block.time()),
        };
        CanonicalVote {
            r#type: kind.into(),
            height: vote.height.to_block().into(),
            round: vote.round.as_i64(),
            block_id,
            timestamp: Some(time.into()),
            chain_id: self.chain_id.to_string(),
        }
        .encode_length_delimited_to_vec()
    }

    pub(crate) fn proposal(&self, proposal: &Proposal) -> Vec<u8> {
        CanonicalProposal {
            r#type: SignedMsgType::Proposal.into(),
            height: proposal.height.to_block().into(),
            round: proposal.round.as_i64(),
            pol_round: proposal.pol_round.as_i64(),
            block_id: Some(canonical_id(&proposal.value)),
            timestamp: Some(proposal.value.time().into()),
            chain_id: self.chain_id.to_string(),
        }
        .encode_length_delimited_to_vec()
    }

    /// What the proposer signs when it proposes `block` afresh in the round of `part`.
    pub(crate) fn fresh(part: &Part, block: BlockRef) -> Proposal {
        let Part { height, round, proposer, .. } = *part;
        Proposal { height, round, value: block, pol_round: Round::Nil, address: proposer }
    }

    /// Whether `part`, whose payload's header is that of `block`, bears the signature of its proposal
    /// with `key`.
    pub(crate) fn check_part(&self, part: &Part, block: BlockRef, key: &PublicKey) -> bool {
        let bytes = self.proposal(&Self::fresh(part, block));
        part.signature.as_ref().is_some_and(|signature| key.verify(&bytes, signature).is_ok())
    }

    /// Whether `vote` is signed with `key`.
    pub(crate) fn check_vote(&self, vote: &SignedVote<WeftContext>, key: &PublicKey) -> bool {
        key.verify(&self.vote(&vote.message), &vote.signature).is_ok()
    }
}

fn canonical_id(block: &BlockRef) -> CanonicalBlockId {
    CanonicalBlockId {
        hash: block.header_hash().to_vec(),
        part_set_header: Some(CanonicalPartSetHeader { total: 1, hash: block.part_set_hash().to_vec() }),
    }
}

/// Checks signatures.
#[derive(Clone, Debug)]
pub(crate) struct EdVerifier(pub(crate) SignBytes);

fn verdict(key: &PublicKey, message: &[u8], signature: &Signature) -> Result<VerificationResult, Error> {
    Ok(VerificationResult::from_bool(key.verify(message, signature).is_ok()))
}

#[async_trait]
impl Verifier<WeftContext> for EdVerifier {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        verdict(key, &self.0.vote(vote), signature)
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        verdict(key, &self.0.proposal(proposal), signature)
    }

    /// There are no extensions, so none is valid.
    async fn verify_signed_vote_extension(
        &self,
        _scope: &VoteExtensionScope<WeftContext>,
        _extension: &(),
        _signature: &Signature,
        _key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(
        &self,
        proof: &ValidatorProof<WeftContext>,
    ) -> Result<VerificationResult, Error> {
        match Ed25519::decode_public_key(&proof.public_key) {
            Ok(key) => verdict(&key, &proof.preimage(), &proof.signature),
            Err(_) => Ok(VerificationResult::Invalid),
        }
    }
}

/// The address of an ed25519 key.
pub(crate) fn address_of(key: &PublicKey) -> Address {
    tendermint::PublicKey::from_raw_ed25519(key.as_bytes())
        .map_or(Address::NOBODY, |key| account::Id::from(key).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use arc_malachitebft_signing_ed25519::PrivateKey;

    use super::*;
    use crate::context::Height;

    fn sample_block() -> BlockRef {
        let time = Time::from_unix_timestamp(1_700_000_000, 123_456_789).unwrap();
        BlockRef::from_parts(tendermint::Hash::Sha256([7; 32]), time)
    }

    /// The engine's sign bytes against tendermint-rs's own for the same vote.
    #[test]
    fn votes_sign_tendermints_canonical_bytes() {
        let chain_id: chain::Id = "weft-test".parse().unwrap();
        for (vote_type, kind) in [
            (VoteType::Prevote, tendermint::vote::Type::Prevote),
            (VoteType::Precommit, tendermint::vote::Type::Precommit),
        ] {
            for value in [NilOrVal::Nil, NilOrVal::Val(sample_block())] {
                let (block_id, time) = match &value {
                    NilOrVal::Nil => (None, Time::unix_epoch()),
                    NilOrVal::Val(block) => (Some(block.block_id()), block.time()),
                };
                let vote = Vote {
                    vote_type,
                    height: Height::new(1_234).unwrap(),
                    round: Round::new(3),
                    value,
                    address: Address([9; 20]),
                };
                let expected = tendermint::Vote {
                    vote_type: kind,
                    height: 1_234u32.into(),
                    round: 3u16.into(),
                    block_id,
                    timestamp: Some(time),
                    validator_address: account::Id::new([9; 20]),
                    validator_index: 0u32.try_into().unwrap(),
                    signature: None,
                    extension: Vec::new(),
                    extension_signature: None,
                };
                let ours = SignBytes::new(chain_id.clone()).vote(&vote);
                assert_eq!(ours, expected.into_signable_vec(chain_id.clone()));
            }
        }
    }

    #[test]
    fn every_kind_of_message_signs_bytes_of_its_own() {
        let sign_bytes = SignBytes::new("weft-test".parse().unwrap());
        let (height, round, address) = (Height::new(1).unwrap(), Round::new(0), Address([1; 20]));
        let vote = |vote_type, value| sign_bytes.vote(&Vote { vote_type, height, round, value, address });
        let block = NilOrVal::Val(sample_block());
        let proposal = Proposal { height, round, value: sample_block(), pol_round: Round::Nil, address };
        let all = std::collections::BTreeSet::from([
            vote(VoteType::Prevote, block),
            vote(VoteType::Precommit, block),
            vote(VoteType::Prevote, NilOrVal::Nil),
            vote(VoteType::Precommit, NilOrVal::Nil),
            sign_bytes.proposal(&proposal),
            ValidatorProof::<WeftContext>::signing_bytes(&[], &[]),
            SignBytes::new("weft-other".parse().unwrap()).proposal(&proposal),
        ]);
        assert_eq!(all.len(), 7);
    }

    #[test]
    fn a_part_is_its_proposers_and_nobody_elses() {
        let sign_bytes = SignBytes::new("weft-test".parse().unwrap());
        let key = PrivateKey::from([1; 32]);
        let unsigned = Part {
            height: Height::new(1).unwrap(),
            round: Round::new(0),
            proposer: address_of(&key.public_key()),
            payload: bytes::Bytes::new(),
            signature: None,
        };
        let block = sample_block();
        let signature = key.sign(&sign_bytes.proposal(&SignBytes::fresh(&unsigned, block)));
        let part = Part { signature: Some(signature), ..unsigned.clone() };
        let (key, other) = (key.public_key(), PrivateKey::from([2; 32]).public_key());
        assert!(sign_bytes.check_part(&part, block, &key));
        assert!(!sign_bytes.check_part(&part, block, &other));
        assert!(!sign_bytes.check_part(&unsigned, block, &key));
        let later = BlockRef::from_parts(tendermint::Hash::Sha256([7; 32]), Time::unix_epoch());
        assert!(!sign_bytes.check_part(&part, later, &key));
        for forged in
            [Part { round: Round::new(1), ..part.clone() }, Part { height: Height::new(2).unwrap(), ..part }]
        {
            assert!(!sign_bytes.check_part(&forged, block, &key));
        }
    }
}
