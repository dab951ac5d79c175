use chain::{BlobHeader, BodyError, CheckedBlob};
use erasure::ForeignKind;

use crate::support::{kzg_blob, namespace};

#[test]
fn a_body_is_checked_against_length_commitment_and_hashes() {
    let bytes = vec![5u8; 1_000];
    let kinds = [ForeignKind::Keccak256, ForeignKind::Sha256, ForeignKind::Celestia, ForeignKind::AnyTrust];
    let header = BlobHeader::describe(namespace(1), &bytes, &kinds, &[]);
    let check = |header: &BlobHeader, bytes: &[u8]| CheckedBlob::check(header, &[], bytes.into());
    assert_eq!(check(&header, &bytes).unwrap().bytes()[..], bytes[..]);
    assert_eq!(check(&header, &bytes[1..]), Err(BodyError::Length { announced: 1_000, got: 999 }));
    let mut other = bytes.clone();
    other[999] = 6;
    assert_eq!(check(&header, &other), Err(BodyError::Commitment));
    for (at, kind) in kinds.into_iter().enumerate() {
        let mut false_claim = header.clone();
        false_claim.foreign[at].value[0] ^= 1;
        assert_eq!(check(&false_claim, &bytes), Err(BodyError::Foreign(kind)));
    }
}

#[test]
fn kzg_openings_are_checked_in_a_batch() {
    let chunks: Vec<_> = (1..=2).map(kzg_blob).collect();
    let bytes: Vec<u8> = chunks.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    let openings: Vec<_> = chunks.iter().map(|(_, opening)| opening.clone()).collect();
    let header = BlobHeader::describe(namespace(1), &bytes, &[ForeignKind::Eip4844], &openings);
    CheckedBlob::check(&header, &openings, bytes.clone().into()).unwrap();

    let mut wrong_proof = openings.clone();
    wrong_proof[1].proof = openings[0].proof;
    assert_eq!(CheckedBlob::check(&header, &wrong_proof, bytes.clone().into()), Err(BodyError::KzgProof));

    let mut other = bytes.clone();
    other[40] ^= 1;
    let other_header = BlobHeader::describe(namespace(1), &other, &[ForeignKind::Eip4844], &openings);
    assert_eq!(CheckedBlob::check(&other_header, &openings, other.into()), Err(BodyError::KzgProof));

    let mut large = bytes;
    large[131_072] = 0xff;
    let large_header = BlobHeader::describe(namespace(1), &large, &[ForeignKind::Eip4844], &openings);
    let refused = CheckedBlob::check(&large_header, &openings, large.into());
    assert_eq!(refused, Err(BodyError::NotCanonical { chunk: 1 }));
}
