//! Placement, squares and commitments against the oracle.

use erasure::{
    Axis, BlobMeta, Index, LayoutError, Namespace, OriginalSquare, Width, blob_commitment, transaction_blob,
    transaction_list,
};
use proptest::prelude::*;

use crate::{
    oracle::{self, Grid},
    support::{Block, meta, namespace, noise},
};

fn blocks() -> impl Strategy<Value = Block> {
    let blob = (1..8u8, 1..1800usize, any::<u64>()).prop_map(|(id, len, s)| (id, noise(len, s)));
    let list = prop::collection::vec(any::<u8>(), 0..1200);
    let blobs = prop::collection::vec(blob, 0..12);
    (list, blobs).prop_map(|(list, blobs)| Block { list, blobs })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn squares_roots_and_commitments_agree_with_the_oracle(block in blocks()) {
        let ids = |id: u8| namespace(id).as_bytes().to_vec();
        let blobs: Vec<_> = block.blobs.iter().map(|(id, b)| (ids(*id), b.clone())).collect();
        let (k, shares) = oracle::layout(&block.list, &blobs);
        let (original, square) = (block.original(), block.commit());
        prop_assert_eq!(original.width().get(), k);
        prop_assert_eq!(original.bytes(), shares.concat());
        prop_assert_eq!(original.transaction_list(), Ok(block.list.as_slice()));
        prop_assert_eq!(&square.original(), &original);

        let grid = Grid::extend(k, &shares);
        for (i, row) in grid.by_row.iter().enumerate() {
            for (j, cell) in row.iter().enumerate() {
                prop_assert_eq!(&square.cell(i, j).unwrap()[..], &cell[..]);
            }
        }
        for (i, root) in grid.line_roots().into_iter().enumerate() {
            let (axis, index) = if i < 2 * k { (Axis::Row, i) } else { (Axis::Column, i - 2 * k) };
            prop_assert_eq!(square.root(axis, index), Some(root));
        }
        let index_root = oracle::index_root(square.index().entries());
        prop_assert_eq!(square.index().root(), index_root);
        prop_assert_eq!(square.data_root(), oracle::data_root(k, grid.axis_root(), index_root));

        for (entry, i) in square.index().entries()[1..].iter().zip(block.place().order) {
            let (id, bytes) = &block.blobs[i];
            let commitment = oracle::blob_commitment(&ids(*id), bytes);
            prop_assert_eq!(entry.commitment, commitment);
            prop_assert_eq!(square.blob_commitment(entry), Some(commitment));
            prop_assert_eq!(&square.blob_bytes(entry).unwrap(), bytes);
        }
    }

    #[test]
    fn the_index_sorts_stably_and_leaves_no_gap(block in blocks()) {
        let placement = block.place();
        let entries = placement.index.entries();
        prop_assert_eq!(entries[0].namespace, Namespace::TRANSACTIONS);
        for (i, pair) in entries.windows(2).enumerate() {
            prop_assert_eq!(pair[0].range().end, pair[1].start);
            prop_assert!(pair[0].namespace <= pair[1].namespace);
            if i > 0 && pair[0].namespace == pair[1].namespace {
                prop_assert!(placement.order[i - 1] < placement.order[i]);
            }
        }
        for id in 0..10 {
            let expected: Vec<_> = entries.iter().filter(|e| e.namespace == namespace(id)).collect();
            prop_assert_eq!(placement.index.namespace(namespace(id)).iter().collect::<Vec<_>>(), expected);
        }
    }
}

fn place(blobs: Vec<BlobMeta>, k_max: u32) -> Result<usize, LayoutError> {
    let width = Width::new(k_max).unwrap();
    Index::place(&transaction_blob(b""), blobs, width).map(|placement| placement.width.get())
}

#[test]
fn width_is_the_smallest_that_holds_the_blobs() {
    let blob = |shares: usize| vec![meta(1, &vec![1; shares * 512])];
    assert_eq!(place(vec![], 2), Ok(2));
    assert_eq!(place(blob(3), 2), Ok(2));
    assert_eq!(place(blob(4), 4), Ok(4));
    assert_eq!(place(blob(15), 4), Ok(4));
    assert_eq!(place(blob(16), 8), Ok(8));
    assert_eq!(place(blob(16), 4), Err(LayoutError::TooManyShares { limit: 16, got: 17 }));
    let endless = BlobMeta { len: u64::MAX, ..meta(1, b"x") };
    assert!(matches!(place(vec![endless], 512), Err(LayoutError::TooManyShares { .. })));
}

#[test]
fn blobs_that_no_block_may_hold_are_refused() {
    let empty = BlobMeta { len: 0, ..meta(1, b"") };
    assert_eq!(place(vec![empty], 4), Err(LayoutError::EmptyBlob { start: 1 }));
    assert_eq!(place(vec![meta(0, b"x")], 4), Err(LayoutError::ReservedNamespace { start: 1 }));
    let mut unsorted = meta(1, b"x");
    unsorted.foreign.reverse();
    assert!(matches!(place(vec![unsorted], 4), Err(LayoutError::Foreign(_))));
}

#[test]
fn transaction_blobs_carry_their_own_length() {
    let place = |blob: &[u8]| Index::place(blob, vec![], Width::MAX).map(|placement| placement.width.get());
    assert_eq!(transaction_list(&transaction_blob(b"abc")), Ok(&b"abc"[..]));
    assert_eq!(transaction_blob(b"abc"), b"\0\0\0\x03abc");
    let wrong = LayoutError::TransactionBlobLength { declared: 3, got: 4 };
    assert_eq!(place(b"\0\0\0\x03abcd"), Err(wrong));
    let short = LayoutError::TransactionBlobLength { declared: 3, got: 2 };
    assert_eq!(place(b"\0\0\0\x03ab"), Err(short));
    assert!(place(b"\0\0").is_err());
    assert_eq!(place(&transaction_blob(&vec![0; (1 << 20) - 4])), Ok(64));
    let (limit, got) = (1 << 20, (1 << 20) + 1);
    let long = Err(LayoutError::TransactionBlobTooLong { limit, got });
    assert_eq!(place(&transaction_blob(&vec![0; (1 << 20) - 3])), long);
    assert!(transaction_list(&[0xff; 600]).is_err());
}

#[test]
fn building_refuses_blobs_that_are_not_the_index_s() {
    let block = Block::small();
    let (placement, transactions) = (block.place(), transaction_blob(&block.list));
    let blobs: Vec<&[u8]> = placement.order.iter().map(|i| block.blobs[*i].1.as_slice()).collect();
    let build = |blobs: &[&[u8]]| OriginalSquare::build(&placement, &transactions, blobs);
    assert!(build(&blobs).is_ok());
    assert_eq!(build(&blobs[1..]), Err(LayoutError::BlobCount { expected: 4, got: 3 }));
    let longer = [&[0; 2][..], blobs[1], blobs[2], blobs[3]];
    assert_eq!(build(&longer), Err(LayoutError::BlobLength { start: 1, expected: 1, got: 2 }));
}

#[test]
fn squares_are_read_back_from_their_bytes() {
    let square = Block::small().original();
    assert_eq!(OriginalSquare::from_shares(square.width(), square.bytes()), Ok(square.clone()));
    assert!(OriginalSquare::from_shares(square.width(), &square.bytes()[1..]).is_err());
    assert!(OriginalSquare::from_shares(Width::MIN, square.bytes()).is_err());
    assert_eq!(square.clone().into_bytes(), square.bytes());
}

#[test]
fn a_square_shows_bytes_that_are_not_what_its_index_commits_to() {
    let block = Block::small();
    let mut bytes = block.original().into_bytes();
    let index = block.place().index;
    let width = index.width();
    // The last byte of the second entry's only share: padding, which should be zero.
    bytes[2 * 512 - 1] = 1;
    let square = OriginalSquare::from_shares(width, &bytes).unwrap().commit(index);
    let wrong = |entry: &&erasure::IndexEntry| square.blob_commitment(entry) != Some(entry.commitment);
    let entries: Vec<u32> = square.index().entries().iter().filter(wrong).map(|e| e.start).collect();
    assert_eq!(entries, [1]);
    let blob = square.blob_bytes(&square.index().entries()[1]).unwrap();
    assert_eq!(blob_commitment(&namespace(10), &blob), square.index().entries()[1].commitment);
}

#[test]
fn places_outside_of_the_square_have_nothing() {
    let square = Block::small().commit();
    let mut entry = square.index().entries()[1].clone();
    entry.start = 16;
    assert_eq!(square.blob_bytes(&entry), None);
    assert_eq!(square.blob_commitment(&entry), None);
    assert_eq!(square.cell(0, 8), None);
    assert_eq!(square.cell(8, 0), None);
    assert_eq!(square.root(Axis::Row, 8), None);
    assert_eq!(square.root(Axis::Column, 8), None);
}
