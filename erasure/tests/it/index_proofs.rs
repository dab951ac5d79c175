//! Entries, foreign commitments, namespaces, and whole indexes.

use erasure::{
    Axis, DataRootParts, EntryProof, ForeignKind, ForeignProof, Index, Namespace, NamespaceProof,
    OriginalSquare, ProofError, Width, keccak256,
};
use proptest::prelude::*;

use crate::{
    oracle,
    support::{Block, namespace, noise},
};

#[test]
fn every_entry_verifies_and_its_bytes_are_checked() {
    let square = Block::small().commit();
    for (position, entry) in square.index().entries().iter().enumerate() {
        let proof = square.index().prove_entry(position, square.parts()).unwrap();
        assert_eq!(EntryProof::decode(&proof.encode()), Ok(proof.clone()));
        assert!(proof.clone().verify(&[0; 32]).is_err());
        let verified = proof.verify(&square.data_root()).unwrap();
        assert_eq!((verified.entry(), verified.position()), (entry, position as u32));

        let mut bytes = square.blob_bytes(entry).unwrap();
        assert_eq!(verified.check_bytes(&bytes), Ok(()));
        bytes[0] ^= 1;
        let wrong = verified.check_bytes(&bytes);
        assert!(matches!(wrong, Err(ProofError::BlobCommitment { .. })));
        bytes.push(0);
        let (expected, got) = (entry.len, entry.len + 1);
        assert_eq!(verified.check_bytes(&bytes), Err(ProofError::BlobLength { expected, got }));
    }
    assert_eq!(square.index().prove_entry(5, square.parts()), None);
}

#[test]
fn an_entry_that_leaves_the_square_is_refused() {
    let block = Block::small();
    let index_root = block.place().index.root();
    let parts = DataRootParts { width: Width::MIN, axis_root: [7; 32], index_root };
    let verify = |position| {
        let proof = block.place().index.prove_entry(position, parts).unwrap();
        proof.verify(&parts.data_root()).map(|entry| entry.position())
    };
    assert_eq!(verify(1), Ok(1));
    let (expected, got) = (Width::new(4).unwrap(), Width::MIN);
    assert_eq!(verify(2), Err(ProofError::Width { expected, got }));
}

#[test]
fn foreign_commitments_are_proven_with_their_entry() {
    let block = Block::small();
    let square = block.commit();
    let value = keccak256(&block.blobs[0].1);
    let position = square.index().entries().iter().position(|e| e.namespace == namespace(30)).unwrap();
    let entry_proof = square.index().prove_entry(position, square.parts()).unwrap();
    let proof = ForeignProof { entry_proof, kind: ForeignKind::Keccak256, value };
    assert_eq!(ForeignProof::decode(&proof.encode()), Ok(proof.clone()));
    let verify = |proof: &ForeignProof, kind, value| proof.clone().verify(&square.data_root(), kind, value);
    let entry = verify(&proof, ForeignKind::Keccak256, &value).unwrap();
    assert_eq!(entry.foreign(ForeignKind::Keccak256), Some(&value));
    assert_eq!(entry.foreign(ForeignKind::Celestia), None);

    let another = ProofError::Foreign { kind: ForeignKind::Sha256, value };
    assert_eq!(verify(&proof, ForeignKind::Sha256, &value), Err(another.clone()));
    let lie = ForeignProof { kind: ForeignKind::Sha256, ..proof };
    assert_eq!(verify(&lie, ForeignKind::Sha256, &value), Err(another));
}

#[test]
fn all_of_a_namespace_is_proven_or_its_absence() {
    let square = Block::small().commit();
    let counts = [(0, 1), (5, 0), (10, 1), (15, 0), (20, 2), (25, 0), (30, 1), (31, 0), (255, 0)];
    for (id, count) in counts {
        let proof = square.index().prove_namespace(namespace(id), square.parts());
        assert_eq!(NamespaceProof::decode(&proof.encode()), Ok(proof.clone()));
        assert!(proof.clone().verify(&[0; 32], namespace(id)).is_err());
        let verified = proof.verify(&square.data_root(), namespace(id)).unwrap();
        assert_eq!(verified.entries(), square.index().namespace(namespace(id)));
        assert_eq!((verified.entries().len(), verified.is_absent()), (count, count == 0));
    }
    let empty = Block { list: vec![], blobs: vec![] }.commit();
    let proof = empty.index().prove_namespace(namespace(1), empty.parts());
    assert!(proof.verify(&empty.data_root(), namespace(1)).unwrap().is_absent());
}

#[test]
fn a_proof_of_one_namespace_says_nothing_of_another() {
    let square = Block::small().commit();
    let verify = |made_for, asked| {
        let proof = square.index().prove_namespace(namespace(made_for), square.parts());
        proof.verify(&square.data_root(), namespace(asked)).map(|v| v.entries().len())
    };
    let incomplete = |asked| Err(ProofError::Incomplete { namespace: namespace(asked) });
    // The proof for 20 is of the entries (10, 20, 20, 30), and so encloses 15 and 25 too closely.
    for asked in [0, 5, 10, 15, 25, 30, 31] {
        assert_eq!(verify(20, asked), incomplete(asked));
    }
    // Two neighbours without an entry between them show the absence of all that lies between.
    assert_eq!(verify(12, 17), Ok(0));
    assert_eq!(verify(12, 20), incomplete(20));
    assert_eq!(verify(31, 30), incomplete(30));
    assert_eq!(verify(31, 200), Ok(0));
}

/// A namespace proof over entries `first..end`, whatever they are, with these siblings.
fn forge(index: &Index, parts: DataRootParts, first: u32, end: u32, siblings: &[[u8; 32]]) -> NamespaceProof {
    let entries = &index.entries()[first as usize..end as usize];
    let mut bytes = (parts.width.get() as u16).to_be_bytes().to_vec();
    bytes.extend(parts.axis_root);
    bytes.extend((index.entries().len() as u32).to_be_bytes());
    bytes.extend(first.to_be_bytes());
    bytes.extend((end - first).to_be_bytes());
    entries.iter().for_each(|entry| bytes.extend(entry.encode()));
    bytes.extend(siblings.concat());
    NamespaceProof::decode(&bytes).unwrap()
}

#[test]
fn an_entry_left_out_or_put_in_is_refused() {
    let square = Block::small().commit();
    let (index, parts, root) = (square.index(), square.parts(), square.data_root());
    let leaf: Vec<_> = index.entries().iter().map(oracle::entry_leaf).collect();
    let pair = oracle::entry_inner(leaf[0], leaf[1]);
    let twenty = namespace(20);
    // Entries: transactions, 10, 20, 20, 30. Paths that lead to the root, over too little or too much.
    let cases: [(u32, u32, &[[u8; 32]]); 5] = [
        (1, 3, &[leaf[0], leaf[3], leaf[4]]),
        (3, 5, &[leaf[2], pair]),
        (2, 4, &[pair, leaf[4]]),
        (1, 4, &[leaf[0], leaf[4]]),
        (0, 5, &[]),
    ];
    for (first, end, siblings) in cases {
        let proof = forge(index, parts, first, end, siblings);
        let wrong = ProofError::Incomplete { namespace: twenty };
        assert_eq!(proof.verify(&root, twenty), Err(wrong), "{first}..{end}");
    }
    let honest = forge(index, parts, 1, 5, &[leaf[0]]);
    assert_eq!(honest, index.prove_namespace(twenty, parts));
    assert!(honest.verify(&root, twenty).is_ok());
}

#[test]
fn a_whole_index_is_checked_against_the_data_root() {
    let square = Block::small().commit();
    let index = Index::decode(&square.index().encode()).unwrap();
    assert_eq!(&index, square.index());
    let verified = index.clone().verify(square.parts(), &square.data_root()).unwrap();
    assert_eq!((verified.index(), *verified.data_root()), (square.index(), square.data_root()));
    let other = Block::of_width(4).commit();
    assert!(index.clone().verify(square.parts(), &other.data_root()).is_err());
    assert!(index.verify(other.parts(), &other.data_root()).is_err());
}

#[test]
fn an_index_under_a_square_wider_than_needed_is_refused() {
    let index = Block::of_width(2).place().index;
    let wide = Width::new(4).unwrap();
    let square = OriginalSquare::from_shares(wide, &noise(16 * 512, 0)).unwrap().commit(index.clone());
    let wrong = ProofError::Width { expected: Width::MIN, got: wide };
    assert_eq!(index.verify(square.parts(), &square.data_root()), Err(wrong));
    assert!(square.line(Axis::Row, 7).unwrap().verify(&square.data_root(), Axis::Row, 7).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn indexes_of_any_size_prove_their_entries_and_namespaces(
        ids in prop::collection::vec(1..12u8, 0..40),
    ) {
        let blobs = ids.iter().map(|id| (*id, vec![*id])).collect();
        let square = Block { list: vec![1, 2, 3], blobs }.commit();
        let (index, parts, root) = (square.index(), square.parts(), square.data_root());
        for position in 0..index.entries().len() {
            prop_assert!(index.prove_entry(position, parts).unwrap().verify(&root).is_ok());
        }
        for id in 0..14 {
            let verified = index.prove_namespace(namespace(id), parts).verify(&root, namespace(id));
            let expected = if id == 0 { 1 } else { ids.iter().filter(|i| **i == id).count() };
            prop_assert_eq!(verified.unwrap().entries().len(), expected);
        }
        let last = Namespace::from_user_id([255; 10]);
        prop_assert!(index.prove_namespace(last, parts).verify(&root, last).unwrap().is_absent());
    }
}
