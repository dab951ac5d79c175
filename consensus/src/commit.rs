//! The engine's certificates as Tendermint commits, and back.

use arc_malachitebft_core_types::{
    CommitCertificate, ExtendedCommitCertificate, ExtendedCommitSignature, Round, Validator as _,
    ValidatorSet as _,
};
use arc_malachitebft_signing_ed25519::Signature;
use tendermint::block::{self, Commit, CommitSig};

use crate::block_ref::BlockRef;
use crate::context::{ValidatorSet, WeftContext};

/// One entry per validator, in the set's order: its signature, or that there is none.
pub(crate) fn commit_from_certificate(
    certificate: &CommitCertificate<WeftContext>,
    validators: &ValidatorSet,
) -> Commit {
    let signature_of = |validator: &crate::context::Validator| {
        let address = validator.address();
        let found = certificate
            .commit_signatures
            .iter()
            .find(|entry| entry.address == *address);
        found.map_or(CommitSig::BlockIdFlagAbsent, |entry| {
            CommitSig::BlockIdFlagCommit {
                validator_address: address.to_account(),
                timestamp: certificate.value_id.time(),
                signature: tendermint::Signature::new(entry.signature.to_bytes())
                    .ok()
                    .flatten(),
            }
        })
    };
    Commit {
        height: certificate.height.to_block(),
        round: block::Round::try_from(certificate.round.as_u32().unwrap_or(0)).unwrap_or_default(),
        block_id: certificate.value_id.block_id(),
        signatures: validators.iter().map(signature_of).collect(),
    }
}

/// The certificate that [`commit_from_certificate`] made `commit` of; `None` if it is not a commit
/// of this engine's making (no signature, differing timestamps, another part set).
pub(crate) fn certificate_from_commit(
    commit: &Commit,
) -> Option<ExtendedCommitCertificate<WeftContext>> {
    let mut time = None;
    let mut commit_signatures = Vec::new();
    for entry in &commit.signatures {
        let CommitSig::BlockIdFlagCommit {
            validator_address,
            timestamp,
            signature,
        } = entry
        else {
            continue;
        };
        if *time.get_or_insert(*timestamp) != *timestamp {
            return None;
        }
        let signature = Signature::try_from(signature.as_ref()?.as_bytes()).ok()?;
        let address = (*validator_address).into();
        commit_signatures.push(ExtendedCommitSignature::new(address, signature, None));
    }
    commit_signatures.sort_by_key(|entry| entry.address);
    let value_id = BlockRef::from_parts(commit.block_id.hash, time?);
    (value_id.block_id() == commit.block_id).then_some(ExtendedCommitCertificate {
        height: commit.height.into(),
        round: Round::new(commit.round.value()),
        value_id,
        commit_signatures,
    })
}
