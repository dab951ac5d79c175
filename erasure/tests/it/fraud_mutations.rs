//! Every bit of every fraud proof counts, and no accusation of a valid block verifies, however changed.

use erasure::{
    Axis, Digest, FalseForeign, ForeignCommitment, ForeignKind, FraudError, FraudProof, KzgOpening, SplitCell,
};
use proptest::prelude::*;

use crate::{
    accusations::{accusations, proofs, smallest, split},
    adversary::{Proposal, Rules, Wrong, kzg, meta},
    fraud::verify,
    support::{at, noise, none_survives},
};

fn verifies(bytes: &[u8], data_root: &Digest) -> bool {
    FraudProof::decode(bytes).is_ok_and(|proof| {
        assert_eq!(proof.encode(), bytes, "an encoding is canonical");
        proof.verify(data_root, &Rules).is_ok()
    })
}

#[test]
fn the_documented_encoding_of_a_split_cell_is_the_one_made() {
    let wrong = Wrong::new(&smallest(), |grid| grid.by_column[1][2][5] ^= 1);
    let samples = [Axis::Row, Axis::Column].map(|axis| wrong.sample(at(1, 2, axis)));
    let proof = SplitCell::new(&samples[0], &samples[1]).unwrap();
    assert_eq!(FraudProof::SplitCell(proof).encode()[1..], split(&wrong, 1, 2));
}

#[test]
fn every_changed_bit_of_a_proof_is_caught() {
    for (name, proof, data_root) in proofs() {
        assert_eq!(verify(&proof, &data_root), Ok(()), "{name}");
        let bytes = proof.encode();
        none_survives(&name, &bytes, 0..8 * bytes.len(), |bytes| verifies(bytes, &data_root));
        assert!((0..bytes.len()).all(|len| FraudProof::decode(&bytes[..len]).is_err()), "{name}");
        assert!(FraudProof::decode(&[&bytes[..], &[0]].concat()).is_err(), "{name}");
    }
}

#[test]
fn no_accusation_of_a_valid_block_verifies_with_any_bit_changed() {
    let proposal = smallest();
    let data_root = proposal.commit().data_root();
    for (name, bytes) in accusations(&proposal) {
        let decoded = FraudProof::decode(&bytes).unwrap().verify(&data_root, &Rules);
        assert!(matches!(decoded, Err(FraudError::Unfounded { .. })), "{name}: {decoded:?}");
        none_survives(&name, &bytes, 0..8 * bytes.len(), |bytes| verifies(bytes, &data_root));
    }
}

#[test]
fn no_proof_of_another_block_verifies_against_a_valid_one() {
    let valid = smallest().commit().data_root();
    for (name, proof, _) in proofs() {
        assert!(verify(&proof, &valid).is_err(), "{name}");
    }
}

#[test]
fn every_changed_bit_of_a_kzg_opening_and_one_of_each_field_element_are_caught() {
    let mut bytes = noise(131_072, 3);
    bytes.iter_mut().step_by(32).for_each(|high| *high &= 0x3f);
    let mut wrong = Proposal { metas: vec![meta(9, &bytes, &[])], blobs: vec![bytes.clone()] };
    wrong.metas[0].foreign = vec![ForeignCommitment { kind: ForeignKind::Eip4844, value: [1; 32] }];
    let square = wrong.commit();
    let (commitment, proof) = kzg(&bytes);
    let opening = KzgOpening { chunk: 0, commitment, proof };
    let proof = FraudProof::FalseForeign(FalseForeign::opened(&square, 1, opening).unwrap());
    assert_eq!(verify(&proof, &square.data_root()), Ok(()));
    let bytes = proof.encode();
    let chunk = bytes.len() - 131_072;
    // An element of 32 bytes and one bit: in turn every bit of an element.
    let bits = (chunk * 8..bytes.len() * 8).step_by(32 * 8 + 1).chain((chunk - 2 - 97) * 8..chunk * 8);
    none_survives("opening", &bytes, bits, |bytes| verifies(bytes, &square.data_root()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_spliced_accusation_of_a_valid_block_verifies(
        chosen in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        junk in prop::collection::vec(any::<u8>(), 0..80),
        cut in 0..80usize,
    ) {
        let proposal = Proposal::small();
        let data_root = proposal.commit().data_root();
        for all in [accusations(&proposal), proofs().into_iter().map(|(n, p, _)| (n, p.encode())).collect()] {
            let (name, bytes) = &all[chosen.index(all.len())];
            let place = place.index(bytes.len());
            let tail = (place + cut).min(bytes.len());
            let spliced = [&bytes[..place], &junk, &bytes[tail..]].concat();
            prop_assert!(!verifies(&spliced, &data_root), "{}", name);
        }
    }
}
