//! Samples, lines and ranges.

use std::num::NonZeroUsize;

use erasure::{
    Axis, Committer, DecodeError, Line, LineSamples, ProofError, RangeProof, SHARE_BYTES, Sample, Width,
};
use proptest::prelude::*;

use crate::{
    oracle::Grid,
    support::{Block, at, everywhere},
};

fn grid(block: &Block) -> Grid {
    let original = block.original();
    let shares: Vec<Vec<u8>> = original.shares().iter().map(|share| share.to_vec()).collect();
    Grid::extend(original.width().get(), &shares)
}

#[test]
fn every_sample_verifies_and_is_the_documented_encoding() {
    for block in [Block::of_width(2), Block::small()] {
        let (square, grid) = (block.commit(), grid(&block));
        for place in everywhere(square.width()) {
            let sample = square.sample(place).unwrap();
            let bytes = sample.encode();
            assert_eq!(bytes, grid.sample(place, square.index().root()));
            assert_eq!(bytes.len(), Sample::bytes(square.width()));
            assert_eq!(Sample::decode(&bytes), Ok(sample.clone()));
            let verified = sample.verify(&square.data_root(), place).unwrap();
            assert_eq!(verified.cell()[..], grid.cell(place)[..]);
            assert_eq!((verified.coordinates(), verified.width()), (place, square.width()));
            assert_eq!(verified.sample().encode(), bytes);
        }
    }
}

#[test]
fn threads_and_reused_buffers_change_nothing() {
    let mut committers: Vec<Committer> =
        [1, 2, 3, 5].into_iter().filter_map(NonZeroUsize::new).map(Committer::new).collect();
    for k in [2, 4, 8, 16, 32, 64, 32, 128] {
        let block = Block::of_width(k);
        let (original, index, square) = (block.original(), block.place().index, block.commit());
        for committer in &mut committers {
            let again = committer.commit(&original, index.clone());
            assert!(again == square);
            assert_eq!(again.original(), original);
            committer.recycle(again);
        }
    }
}

#[test]
fn a_square_holds_at_most_4_3_bytes_for_each_of_its_original() {
    for k in [16, 32, 64, 128] {
        let square = Block::of_width(k).commit();
        let (held, original) = (square.held_bytes(), square.width().shares() * SHARE_BYTES);
        assert!(held >= 4 * original + square.width().shares() * 4 * 32, "k = {k}: {held}");
        assert!(held * 10 <= original * 43, "k = {k}: {held} for {original}");
    }
}

#[test]
fn a_sample_at_width_128_has_the_size_the_design_says() {
    let proof = Sample::bytes(Width::new(128).unwrap()) - (2 + 2 + 2 + 1 + 32);
    assert_eq!(proof, 512 + 8 * 32 + 9 * 32);
    assert_eq!(Sample::MAX_BYTES, 39 + 512 + 10 * 32 + 11 * 32);
}

#[test]
fn a_sample_shows_its_own_place_and_block_only() {
    let square = Block::small().commit();
    let other = Block::of_width(4).commit();
    let place = at(1, 6, Axis::Row);
    let sample = square.sample(place).unwrap();
    for elsewhere in everywhere(square.width()).filter(|elsewhere| *elsewhere != place) {
        let wrong = ProofError::Coordinates { expected: elsewhere, got: place };
        assert_eq!(sample.clone().verify(&square.data_root(), elsewhere), Err(wrong));
    }
    let wrong = ProofError::DataRoot { expected: other.data_root(), got: square.data_root() };
    assert_eq!(sample.verify(&other.data_root(), place), Err(wrong));
    assert_eq!(square.sample(at(8, 0, Axis::Row)), None);
    assert_eq!(square.sample(at(8, 0, Axis::Column)), None);
    assert_eq!(square.sample(at(0, 8, Axis::Column)), None);
}

#[test]
fn a_row_past_the_square_is_not_a_column() {
    let square = Block::small().commit();
    let (place, alias) = (at(3, 5, Axis::Column), at(8 + 5, 3, Axis::Row));
    let mut bytes = square.sample(place).unwrap().encode();
    bytes[2..7].copy_from_slice(&[0, 8 + 5, 0, 3, 0]);
    let sample = Sample::decode(&bytes).unwrap();
    assert_eq!(sample.verify(&square.data_root(), alias), Err(ProofError::Shape));
}

#[test]
fn every_line_verifies_and_shows_all_its_cells() {
    for block in [Block::of_width(2), Block::small()] {
        let (square, n) = (block.commit(), block.original().width().extended());
        for axis in [Axis::Row, Axis::Column] {
            for index in 0..n {
                let line = square.line(axis, index).unwrap();
                assert_eq!(Line::decode(&line.encode()), Ok(line.clone()));
                let other = (axis, (index + 1) % n);
                let wrong = ProofError::Line { expected: other, got: (axis, index) };
                let elsewhere = line.clone().verify(&square.data_root(), other.0, other.1);
                assert_eq!(elsewhere, Err(wrong));
                assert!(line.clone().verify(&[0; 32], axis, index).is_err());
                let line = line.verify(&square.data_root(), axis, index).unwrap();
                for (i, cell) in line.cells().iter().enumerate() {
                    let (row, column) = if axis == Axis::Row { (index, i) } else { (i, index) };
                    assert_eq!(square.cell(row, column), Some(cell));
                }
                assert_eq!(line.cells().len(), n);
            }
            assert_eq!(square.line(axis, n), None);
        }
    }
}

#[test]
fn cells_of_a_line_share_their_paths_and_show_nothing_else() {
    let square = Block::small().commit();
    let (root, grid) = (square.data_root(), grid(&Block::small()));
    for (axis, index) in [(Axis::Row, 5), (Axis::Column, 2)] {
        for set in 1..256u16 {
            let places: Vec<u16> = (0..8).filter(|place| set >> place & 1 == 1).collect();
            let proof = square.line_samples(axis, index, &places).unwrap();
            let bytes = proof.encode();
            assert_eq!(LineSamples::decode(&bytes), Ok(proof.clone()));
            let listed: Vec<usize> = places.iter().map(|place| usize::from(*place)).collect();
            assert_eq!(bytes, grid.line_samples(axis, index, &listed, square.parts().index_root));
            assert!(bytes.len() <= 2 + 1 + 2 + 2 + 32 + places.len() * (2 + 512 + 3 * 32) + 4 * 32);
            let other = if axis == Axis::Row { Axis::Column } else { Axis::Row };
            assert!(proof.clone().verify(&root, other, index, &places).is_err());
            assert!(proof.clone().verify(&root, axis, index + 1, &places).is_err());
            assert!(proof.clone().verify(&root, axis, index, &places[1..]).is_err());
            assert!(proof.clone().verify(&[0; 32], axis, index, &places).is_err());
            let verified = proof.verify(&root, axis, index, &places).unwrap();
            for ((at, cell), place) in verified.cells().zip(&places) {
                let expected =
                    if axis == Axis::Row { (index as u16, *place) } else { (*place, index as u16) };
                assert_eq!((at.row, at.column), expected);
                assert_eq!(square.cell(at.row.into(), at.column.into()), Some(cell));
            }
            assert_eq!(verified.cells().count(), places.len());
        }
        let whole: Vec<u16> = (0..8).collect();
        let bytes = square.line_samples(axis, index, &whole).unwrap().encode();
        assert_eq!(bytes.len(), 39 + 8 * (2 + 512) + 4 * 32);
        for places in [&[][..], &[3, 3], &[4, 2], &[0, 8]] {
            assert_eq!(square.line_samples(axis, index, places), None);
        }
        assert_eq!(square.line_samples(axis, 8, &[0]), None);
    }
}

#[test]
fn every_range_of_shares_verifies_and_no_other_does() {
    let block = Block::small();
    let (square, bytes) = (block.commit(), block.original().into_bytes());
    let ranges = (0..16).flat_map(|start| (start + 1..=16).map(move |end| start..end));
    for range in ranges {
        let proof = square.range(range.clone()).unwrap();
        assert_eq!(RangeProof::decode(&proof.encode()), Ok(proof.clone()));
        let elsewhere = range.start + 1..range.end + 1;
        assert!(proof.clone().verify(&square.data_root(), elsewhere).is_err());
        assert!(proof.clone().verify(&[0; 32], range.clone()).is_err());
        let verified = proof.verify(&square.data_root(), range.clone()).unwrap();
        let expected = &bytes[range.start as usize * 512..range.end as usize * 512];
        assert_eq!((verified.start(), verified.bytes()), (range.start, expected));
    }
    for (start, end) in [(3, 3), (4, 3), (16, 17), (0, 17), (0, u32::MAX)] {
        assert_eq!(square.range(start..end), None);
    }
}

#[test]
fn a_range_costs_its_shares_and_logarithmically_many_hashes() {
    let square = Block::of_width(32).commit();
    let whole = square.range(0..1024).unwrap().encode().len();
    assert_eq!(whole, 2 + 4 + 4 + 32 + 1024 * 512 + 32 * (32 + 2));
    let claimed = RangeProof::decode(&[0, 4, 0, 0, 0, 9, 0, 0, 0, 8]);
    let wrong = DecodeError::Bound { what: "shares", min: 1, max: 7, got: 8 };
    assert_eq!(claimed, Err(wrong));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn proofs_of_larger_squares_verify(
        log in 3..6u32,
        row in any::<prop::sample::Index>(),
        column in any::<prop::sample::Index>(),
        length in any::<prop::sample::Index>(),
    ) {
        let square = Block::of_width(1 << log).commit();
        let (n, root) = (square.width().extended(), square.data_root());
        for axis in [Axis::Row, Axis::Column] {
            let place = at(row.index(n), column.index(n), axis);
            prop_assert!(square.sample(place).unwrap().verify(&root, place).is_ok());
            let line = square.line(axis, row.index(n)).unwrap();
            prop_assert!(line.verify(&root, axis, row.index(n)).is_ok());
        }
        let shares = n * n / 4;
        let start = column.index(shares);
        let range = start as u32..(start + 1 + length.index(shares - start)) as u32;
        prop_assert!(square.range(range.clone()).unwrap().verify(&root, range).is_ok());
    }
}
