//! What is signed, and by whom.
//!
//! Votes sign Tendermint's canonical vote bytes and proposals its canonical proposal bytes. The
//! timestamp is the block's time (the epoch for nil), so that all validators sign the same bytes and
//! an engine certificate is a Tendermint commit. Payloads are signed under a domain of their own.

use std::sync::Arc;

use arc_malachitebft_core_types::{
    NilOrVal, Round, SignedExtension, SignedProposal, SignedVote, SigningScheme as _, ValidatorProof,
    VoteExtensionScope, VoteType,
};
use arc_malachitebft_signing::{Error, Signer, VerificationResult, Verifier};
use arc_malachitebft_signing_ed25519::{Ed25519, PrivateKey, PublicKey, Signature};
use async_trait::async_trait;
use bytes::{BufMut, BytesMut};
use prost::Message;
use tendermint::{Time, account, chain};
use tendermint_proto::v0_38::types::{
    CanonicalBlockId, CanonicalPartSetHeader, CanonicalProposal, CanonicalVote, SignedMsgType,
};

use crate::block_ref::BlockRef;
use crate::context::{Address, Part, Proposal, Vote, WeftContext};
use crate::guard::{Guard, Step};
use crate::wire::{Wire, put_bytes};

/// Separates signatures under payloads from those under votes and proposals.
const PART_DOMAIN: &[u8] = b"weft/proposal-part/1";

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

    /// `domain ‖ chain id ‖ height ‖ round ‖ proposer ‖ payload`, strings with their
    /// length before them.
    pub(crate) fn part(&self, part: &Part) -> Vec<u8> {
        let mut out = BytesMut::with_capacity(part.payload.len() + 128);
        out.put_slice(PART_DOMAIN);
        put_bytes(&mut out, self.chain_id.as_bytes());
        part.height.write(&mut out);
        part.round.write(&mut out);
        part.proposer.write(&mut out);
        put_bytes(&mut out, &part.payload);
        out.into()
    }

    /// Whether `part` is signed with `key`.
    pub(crate) fn check_part(&self, part: &Part, key: &PublicKey) -> bool {
        part.signature.as_ref().is_some_and(|signature| key.verify(&self.part(part), signature).is_ok())
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

/// Signs with a validator's consensus key, votes and proposals only with the guard's consent.
#[derive(Clone)]
pub(crate) struct EdSigner {
    key: PrivateKey,
    sign_bytes: SignBytes,
    guard: Arc<Guard>,
}

impl EdSigner {
    pub(crate) fn new(key: PrivateKey, sign_bytes: SignBytes, guard: Guard) -> Self {
        Self { key, sign_bytes, guard: Arc::new(guard) }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    pub(crate) fn address(&self) -> Address {
        address_of(&self.public_key())
    }

    /// Fills in the signature. The caller stores the part before it publishes it, and so never signs
    /// two for one round.
    pub(crate) fn sign_part(&self, part: Part) -> Part {
        let signature = self.key.sign(&self.sign_bytes.part(&part));
        Part { signature: Some(signature), ..part }
    }

    async fn guarded(
        &self,
        step: Step,
        height: u64,
        round: Round,
        message: Vec<u8>,
    ) -> Result<Signature, Error> {
        let guard = Arc::clone(&self.guard);
        let round = round.as_u32().unwrap_or(0);
        let (message, admitted) = tokio::task::spawn_blocking(move || {
            let admitted = guard.admit(step, height, round, &message);
            (message, admitted)
        })
        .await
        .map_err(Error::from_source)?;
        admitted.map_err(Error::from_source)?;
        Ok(self.key.sign(&message))
    }
}

/// The address of an ed25519 key.
pub(crate) fn address_of(key: &PublicKey) -> Address {
    tendermint::PublicKey::from_raw_ed25519(key.as_bytes())
        .map_or(Address::NOBODY, |key| account::Id::from(key).into())
}

#[async_trait]
impl Signer<WeftContext> for EdSigner {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedVote<WeftContext>, Error> {
        let step = match vote.vote_type {
            VoteType::Prevote => Step::Prevote,
            VoteType::Precommit => Step::Precommit,
        };
        let message = self.sign_bytes.vote(&vote);
        let height = vote.height.to_block().value();
        let signature = self.guarded(step, height, vote.round, message).await?;
        Ok(SignedVote::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedProposal<WeftContext>, Error> {
        let message = self.sign_bytes.proposal(&proposal);
        let height = proposal.height.to_block().value();
        let signature = self.guarded(Step::Proposal, height, proposal.round, message).await?;
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

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<WeftContext>, Error> {
        let message = ValidatorProof::<WeftContext>::signing_bytes(&public_key, &peer_id);
        Ok(ValidatorProof::new(public_key, peer_id, self.key.sign(&message)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

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
        let part = Part { height, round, proposer: address, payload: bytes::Bytes::new(), signature: None };
        let proposal = Proposal { height, round, value: sample_block(), pol_round: Round::Nil, address };
        let all = std::collections::BTreeSet::from([
            vote(VoteType::Prevote, block),
            vote(VoteType::Precommit, block),
            vote(VoteType::Prevote, NilOrVal::Nil),
            vote(VoteType::Precommit, NilOrVal::Nil),
            sign_bytes.proposal(&proposal),
            sign_bytes.part(&part),
            ValidatorProof::<WeftContext>::signing_bytes(&[], &[]),
            SignBytes::new("weft-other".parse().unwrap()).part(&part),
        ]);
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn a_payload_is_its_signers_and_nobody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let guard = Guard::open(&directory.path().join("signed")).unwrap();
        let sign_bytes = SignBytes::new("weft-test".parse().unwrap());
        let signer = EdSigner::new(PrivateKey::from([1; 32]), sign_bytes.clone(), guard);
        let unsigned = Part {
            height: Height::new(1).unwrap(),
            round: Round::new(0),
            proposer: signer.address(),
            payload: bytes::Bytes::from_static(b"payload"),
            signature: None,
        };
        let part = signer.sign_part(unsigned.clone());
        let (key, other) = (signer.public_key(), PrivateKey::from([2; 32]).public_key());
        assert!(sign_bytes.check_part(&part, &key));
        assert!(!sign_bytes.check_part(&part, &other));
        assert!(!sign_bytes.check_part(&unsigned, &key));
        for forged in [
            Part { round: Round::new(1), ..part.clone() },
            Part { height: Height::new(2).unwrap(), ..part.clone() },
            Part { payload: bytes::Bytes::from_static(b"payloae"), ..part.clone() },
            Part { proposer: Address([0; 20]), ..part },
        ] {
            assert!(!sign_bytes.check_part(&forged, &key));
        }
    }
}
