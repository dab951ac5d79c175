use chain::{
    Action, BlobHeader, DecodeError, KeyError, KzgOpening, Parameters, Submission, Transaction,
    TransactionError,
};
use erasure::{ForeignCommitment, ForeignKind, Namespace};
use k256::elliptic_curve::PrimeField as _;
use proptest::prelude::*;

use crate::support::{Chain, key, kzg_blob, namespace};

fn chain() -> Chain {
    Chain::new(Parameters::default())
}

fn blob(len: u64) -> BlobHeader {
    BlobHeader { namespace: namespace(1), commitment: [7; 32], len, foreign: vec![] }
}

fn refuse(chain: &Chain, blobs: Vec<BlobHeader>, kzg: Vec<KzgOpening>) -> TransactionError {
    let payload = chain.payload(&key(1), 0, Action::SubmitBlobs { blobs, reservation: None });
    let transaction = key(1).sign(payload, kzg, &chain.genesis.domain()).unwrap();
    transaction.verify(&chain.genesis.domain(), &chain.genesis.parameters).unwrap_err()
}

#[test]
fn a_signed_transaction_survives_its_encoding_and_verifies() {
    let chain = chain();
    let candidate = chain.submit(&key(1), 0, &[(namespace(1), vec![1; 700]), (namespace(2), vec![2; 10])]);
    let transaction = candidate.transaction().transaction().clone();
    let decoded = Transaction::decode(&transaction.encode()).unwrap();
    assert_eq!(decoded, transaction);
    let submission = Submission { transaction, bodies: vec![vec![1; 700], vec![2; 10]] };
    let bytes = submission.encode();
    assert_eq!(Submission::decode(&bytes).unwrap(), submission);
    // A field that nobody knows, and the bodies ahead of the transaction.
    let unknown = [&bytes[..], &[0x18, 1]].concat();
    let (transaction, bodies) = bytes.split_at(bytes.len() - 703 - 12);
    for other in [unknown, [bodies, transaction].concat()] {
        assert_eq!(Submission::decode(&other), Err(DecodeError::NotCanonical));
    }
}

#[test]
fn a_signature_for_another_chain_has_another_signer() {
    let chain = chain();
    let transaction =
        chain.submit(&key(1), 0, &[(namespace(1), vec![1])]).transaction().transaction().clone();
    let other = chain::Domain::new("weft-test", &[0; 32]);
    let refused = transaction.verify(&other, &chain.genesis.parameters);
    assert!(matches!(refused, Err(TransactionError::WrongSigner { .. } | TransactionError::Signature(_))));
}

#[test]
fn blob_lengths_and_counts_have_limits() {
    let chain = chain();
    let limit = chain.genesis.parameters.max_blob_bytes;
    assert_eq!(
        refuse(&chain, vec![blob(0)], vec![]),
        TransactionError::BlobLength { blob: 0, got: 0, limit }
    );
    assert_eq!(
        refuse(&chain, vec![blob(1), blob(limit + 1)], vec![]),
        TransactionError::BlobLength { blob: 1, got: limit + 1, limit }
    );
    assert_eq!(refuse(&chain, vec![], vec![]), TransactionError::BlobCount { got: 0, limit: 64 });
    assert_eq!(refuse(&chain, vec![blob(1); 65], vec![]), TransactionError::BlobCount { got: 65, limit: 64 });
    let error = refuse(&chain, vec![blob(limit); 2], vec![]);
    assert!(matches!(error, TransactionError::TooManyShares { got: 16_385, limit: 16_383 }), "{error:?}");
}

#[test]
fn the_reserved_namespace_and_unordered_foreign_commitments_are_refused() {
    let chain = chain();
    let reserved = BlobHeader { namespace: Namespace::TRANSACTIONS, ..blob(1) };
    assert_eq!(refuse(&chain, vec![reserved], vec![]), TransactionError::ReservedNamespace { blob: 0 });
    let foreign = |kinds: &[ForeignKind]| BlobHeader {
        foreign: kinds.iter().map(|kind| ForeignCommitment { kind: *kind, value: [0; 32] }).collect(),
        ..blob(1)
    };
    for kinds in [[ForeignKind::Sha256, ForeignKind::Keccak256], [ForeignKind::Sha256, ForeignKind::Sha256]] {
        assert_eq!(refuse(&chain, vec![foreign(&kinds)], vec![]), TransactionError::ForeignOrder { blob: 0 });
    }
}

#[test]
fn kzg_commitments_need_whole_chunks_and_their_openings() {
    let chain = chain();
    let (_, opening) = kzg_blob(1);
    let claimed = |len| BlobHeader { foreign: vec![opening.foreign()], ..blob(len) };
    assert_eq!(
        refuse(&chain, vec![claimed(131_071)], vec![opening.clone()]),
        TransactionError::KzgLength { blob: 0, len: 131_071, chunks: 1 }
    );
    assert_eq!(
        refuse(&chain, vec![claimed(131_072)], vec![]),
        TransactionError::KzgOpenings { claimed: 1, got: 0 }
    );
    let other = KzgOpening { commitment: [0xc0; 48], ..opening.clone() };
    assert_eq!(
        refuse(&chain, vec![claimed(131_072)], vec![other]),
        TransactionError::KzgOpenings { claimed: 1, got: 1 }
    );
}

#[test]
fn a_signature_by_another_key_or_with_a_high_s_is_refused() {
    let chain = chain();
    let domain = chain.genesis.domain();
    let payload = chain.payload(&key(1), 0, Action::SubmitBlobs { blobs: vec![blob(1)], reservation: None });
    let good = key(1).sign(payload.clone(), vec![], &domain).unwrap();
    let verify = |t: Transaction| t.verify(&domain, &chain.genesis.parameters).unwrap_err();

    let stranger = key(2).sign(payload, vec![], &domain).unwrap();
    let wrong = TransactionError::WrongSigner { sender: key(1).address(), signer: key(2).address() };
    assert_eq!(verify(stranger), wrong);

    let mut high = good.clone();
    let s = k256::Scalar::from_repr(<[u8; 32]>::try_from(&good.signature[32..64]).unwrap().into()).unwrap();
    high.signature[32..64].copy_from_slice(&(-s).to_bytes());
    high.signature[64] = if good.signature[64] == 27 { 28 } else { 27 };
    assert_eq!(verify(high), TransactionError::Signature(KeyError::HighS));

    let mut odd = good;
    odd.signature[64] = 1;
    assert_eq!(verify(odd), TransactionError::Signature(KeyError::RecoveryId(1)));
}

#[test]
fn a_second_way_of_writing_a_transaction_is_refused() {
    let chain = chain();
    let bytes = chain.submit(&key(1), 0, &[(namespace(1), vec![1])]).transaction().transaction().encode();
    let mut unknown_field = bytes.clone();
    unknown_field.extend([0x98, 0x06, 0x01]);
    assert_eq!(Transaction::decode(&unknown_field), Err(DecodeError::NotCanonical));
    assert!(Transaction::decode(&bytes[..bytes.len() - 1]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Transaction::decode(&bytes);
        let _ = Submission::decode(&bytes);
        let _ = chain::Block::decode(&bytes);
        let _ = chain::LightBlock::decode(&bytes);
    }

    #[test]
    fn changed_bytes_are_refused_or_another_transaction(at in 0usize..200, flip in 1u8..=255) {
        let chain = chain();
        let original = chain.submit(&key(1), 0, &[(namespace(1), vec![1; 9])]).transaction().transaction().clone();
        let mut bytes = original.encode();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(changed) = Transaction::decode(&bytes)
            && let Ok(verified) = changed.verify(&chain.genesis.domain(), &chain.genesis.parameters)
        {
            prop_assert_eq!(verified.transaction(), &original);
        }
    }
}
