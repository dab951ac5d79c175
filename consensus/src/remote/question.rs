//! What a signer is asked, and what counts as an answer.

use arc_malachitebft_signing_ed25519::{PublicKey, Signature};
use tendermint_proto::v0_38::privval::message::Sum;

use super::SignerError;

/// What to sign: the question, the bytes that the answer has to be a signature over, and the time in them.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) sum: Sum,
    pub(crate) sign_bytes: Vec<u8>,
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
                (_, Some(error)) => return Err(error.into()),
                (Some(vote), None) => (vote.timestamp, vote.signature),
                (None, None) => return Err(SignerError::Unexpected { wanted: "vote" }),
            },
            (Sum::SignedProposalResponse(answer), false) => match (answer.proposal, answer.error) {
                (_, Some(error)) => return Err(error.into()),
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
