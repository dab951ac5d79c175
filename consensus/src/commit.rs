//! The engine's certificates as Tendermint commits, and back.

use arc_malachitebft_core_types::{
    CommitCertificate, ExtendedCommitCertificate, ExtendedCommitSignature, Round, Validator as _,
    ValidatorSet as _,
};
use arc_malachitebft_signing_ed25519::Signature;
use tendermint::block::{self, Commit, CommitSig};

use crate::block_ref::BlockRef;
use crate::context::WeftContext;
use crate::validators::{Validator, ValidatorSet};

/// One entry per validator, in the set's order: its signature, or that there is none.
pub(crate) fn commit_from_certificate(
    certificate: &CommitCertificate<WeftContext>,
    validators: &ValidatorSet,
) -> Commit {
    let signature_of = |validator: &Validator| {
        let address = validator.address();
        let found = certificate.commit_signatures.iter().find(|entry| entry.address == *address);
        found.map_or(CommitSig::BlockIdFlagAbsent, |entry| CommitSig::BlockIdFlagCommit {
            validator_address: address.to_account(),
            timestamp: certificate.value_id.time(),
            signature: tendermint::Signature::new(entry.signature.to_bytes()).ok().flatten(),
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
pub(crate) fn certificate_from_commit(commit: &Commit) -> Option<ExtendedCommitCertificate<WeftContext>> {
    let mut time = None;
    let mut commit_signatures = Vec::new();
    for entry in &commit.signatures {
        let CommitSig::BlockIdFlagCommit { validator_address, timestamp, signature } = entry else {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use arc_malachitebft_core_types::CommitSignature;
    use tendermint::validator;

    use super::*;
    use crate::test_blocks::header;

    #[test]
    fn a_certificate_survives_as_a_commit_and_anything_else_is_refused() {
        let key = |seed: u8| {
            let key = arc_malachitebft_signing_ed25519::PrivateKey::from([seed; 32]).public_key();
            tendermint::PublicKey::from_raw_ed25519(key.as_bytes()).unwrap()
        };
        let infos = (1..=4).map(|seed| validator::Info::new(key(seed), 1u32.into())).collect();
        let validators = ValidatorSet::try_from(&validator::Set::without_proposer(infos)).unwrap();
        let signed = validators.iter().take(3);
        let block = BlockRef::of(&header(7, 0));
        let certificate = CommitCertificate::<WeftContext> {
            height: block::Height::from(7u32).into(),
            round: Round::new(2),
            value_id: block,
            commit_signatures: signed
                .map(|v| CommitSignature::new(*v.address(), Signature::from_bytes([1; 64])))
                .collect(),
        };
        let commit = commit_from_certificate(&certificate, &validators);
        assert_eq!(commit.signatures.len(), 4);
        assert!(commit.signatures[3].is_absent());
        let mut back = certificate_from_commit(&commit).unwrap().trim_vote_extensions();
        back.commit_signatures.sort_by_key(|entry| entry.address);
        let mut expected = certificate;
        expected.commit_signatures.sort_by_key(|entry| entry.address);
        assert_eq!(back, expected);

        let mut other = commit.clone();
        other.block_id.part_set_header = block::parts::Header::new(2, commit.block_id.hash).unwrap();
        assert_eq!(certificate_from_commit(&other), None);
        let mut other = commit.clone();
        if let CommitSig::BlockIdFlagCommit { timestamp, .. } = &mut other.signatures[1] {
            *timestamp = tendermint::Time::unix_epoch();
        }
        assert_eq!(certificate_from_commit(&other), None);
        let mut other = commit;
        other.signatures.clear();
        assert_eq!(certificate_from_commit(&other), None);
    }
}
