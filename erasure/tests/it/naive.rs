//! Whole squares against the definition, symbol by symbol and hash by hash.

use erasure::{Axis, Index, OriginalSquare, Width, transaction_blob};
use proptest::prelude::*;

use crate::{
    field::Code,
    oracle::{self, Bytes, Grid, codeword},
    support::noise,
};

/// A square extended by [`Code`], rows before columns.
fn extend(k: usize, shares: &[Bytes]) -> Grid {
    let code = Code::new(k);
    let above: Vec<Vec<Bytes>> = shares.chunks(k).map(|row| code.codeword(row)).collect();
    let columns: Vec<Vec<Bytes>> = (0..2 * k)
        .map(|j| code.codeword(&above.iter().map(|row| row[j].clone()).collect::<Vec<_>>()))
        .collect();
    let rows: Vec<Vec<Bytes>> =
        (0..2 * k).map(|i| columns.iter().map(|column| column[i].clone()).collect()).collect();
    Grid { k, by_row: rows.clone(), by_column: rows }
}

fn agrees(k: usize, bytes: &[u8]) {
    let width = Width::new(k as u32).unwrap();
    let index = Index::place(&transaction_blob(&[]), vec![], width).unwrap().index;
    let index_root = oracle::index_root(index.entries());
    let square = OriginalSquare::from_shares(width, bytes).unwrap().commit(index);
    let shares: Vec<Bytes> = bytes.chunks(512).map(<[u8]>::to_vec).collect();
    let grid = extend(k, &shares);
    for (i, row) in grid.by_row.iter().enumerate() {
        for (j, cell) in row.iter().enumerate() {
            assert_eq!(square.cell(i, j).unwrap()[..], cell[..], "width {k}, cell ({i}, {j})");
        }
    }
    for (i, root) in grid.line_roots().into_iter().enumerate() {
        let (axis, index) = if i < 2 * k { (Axis::Row, i) } else { (Axis::Column, i - 2 * k) };
        assert_eq!(square.root(axis, index), Some(root), "width {k}, {axis} {index}");
    }
    assert_eq!(square.data_root(), oracle::data_root(k, grid.axis_root(), index_root));
}

#[test]
fn squares_of_every_width_to_32_agree_with_the_definition() {
    for k in [2, 4, 8, 16, 32] {
        agrees(k, &noise(k * k * 512, k as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_squares_agree_with_the_definition(log in 1..4u32, seed in any::<u64>(), zero in any::<prop::sample::Index>()) {
        let k = 1 << log;
        let mut bytes = noise(k * k * 512, seed);
        let len = bytes.len();
        bytes[zero.index(len)..].fill(0);
        agrees(k, &bytes);
    }

    #[test]
    fn the_librarys_lines_are_the_definitions(log in 1..6u32, seed in any::<u64>()) {
        let k = 1 << log;
        let line: Vec<Bytes> = noise(k * 512, seed).chunks(512).map(<[u8]>::to_vec).collect();
        prop_assert_eq!(Code::new(k).codeword(&line), codeword(&line));
    }
}
