//! Repair of honest squares from few cells, and of wrong ones into an accusation.

use erasure::{Axis, CommittedSquare, Coordinates, DataRootParts, Repair, RepairError, Sample, Width};
use proptest::prelude::*;

use crate::{
    oracle::{self, Grid},
    support::{Block, at, everywhere},
};

fn start(square: &CommittedSquare) -> Repair {
    Repair::new(square.data_root(), square.parts()).unwrap()
}

/// Adds the cells at these places, through alternating axes.
fn add(repair: &mut Repair, square: &CommittedSquare, places: impl IntoIterator<Item = (usize, usize)>) {
    for (i, (row, column)) in places.into_iter().enumerate() {
        let place = at(row, column, if i % 2 == 0 { Axis::Row } else { Axis::Column });
        let sample = square.sample(place).unwrap().verify(&square.data_root(), place).unwrap();
        repair.add(&sample).unwrap();
    }
}

fn assert_repairs(square: &CommittedSquare, places: impl IntoIterator<Item = (usize, usize)>) {
    let mut repair = start(square);
    add(&mut repair, square, places);
    let repaired = repair.finish().unwrap();
    assert_eq!(repaired.original(), square.original());
    assert_eq!(&repaired.commit(square.index().clone()).unwrap(), square);
}

fn block(rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Vec<(usize, usize)> {
    rows.flat_map(|row| columns.clone().map(move |column| (row, column))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_sixty_percent_of_a_square_repair_it(order in Just((0..32 * 32).collect::<Vec<usize>>()).prop_shuffle()) {
        let square = Block::of_width(16).commit();
        assert_repairs(&square, order[..32 * 32 * 6 / 10].iter().map(|i| (i / 32, i % 32)));
    }

    #[test]
    fn k_cells_of_any_k_lines_repair_a_square(
        lines in Just((0..16).collect::<Vec<usize>>()).prop_shuffle(),
        places in Just((0..16).collect::<Vec<usize>>()).prop_shuffle(),
        by_row in any::<bool>(),
    ) {
        let square = Block::of_width(8).commit();
        let cells = (0..64).map(|i| (lines[i / 8], (places[i % 8] + i / 8) % 16));
        assert_repairs(&square, cells.map(|(a, b)| if by_row { (a, b) } else { (b, a) }));
    }
}

#[test]
fn any_quadrant_repairs_a_square() {
    for k in [2, 4, 16] {
        let square = Block::of_width(k).commit();
        for (row, column) in [(0, 0), (0, k), (k, 0), (k, k)] {
            assert_repairs(&square, block(row..row + k, column..column + k));
        }
    }
}

#[test]
fn k_lines_repair_a_square() {
    let square = Block::of_width(4).commit();
    for (axis, first) in [(Axis::Row, 3), (Axis::Column, 4)] {
        let mut repair = start(&square);
        for index in first..first + 4 {
            let line = square.line(axis, index).unwrap().verify(&square.data_root(), axis, index);
            repair.add_line(&line.unwrap()).unwrap();
        }
        assert_eq!(repair.missing().count(), 32);
        assert_eq!(repair.finish().unwrap().commit(square.index().clone()), Ok(square.clone()));
    }
}

/// Which cells follow from these when lines with half of their cells are decoded, one at a time.
fn oracle_decodes(n: usize, cells: &[(usize, usize)]) -> std::collections::BTreeSet<(usize, usize)> {
    let mut known: std::collections::BTreeSet<_> = cells.iter().copied().collect();
    loop {
        let before = known.len();
        for i in 0..n {
            for line in [block(i..i + 1, 0..n), block(0..n, i..i + 1)] {
                if line.iter().filter(|cell| known.contains(cell)).count() >= n / 2 {
                    known.extend(line);
                }
            }
        }
        if known.len() == before {
            return known;
        }
    }
}

proptest! {
    #[test]
    fn repair_gets_as_far_as_decoding_line_by_line_can(
        order in Just((0..64).collect::<Vec<usize>>()).prop_shuffle(),
        count in 0..45usize,
    ) {
        let square = Block::of_width(4).commit();
        let cells: Vec<_> = order[..count].iter().map(|i| (i / 8, i % 8)).collect();
        let decodable = oracle_decodes(8, &cells);
        let mut repair = start(&square);
        add(&mut repair, &square, cells);
        match repair.finish() {
            Ok(repaired) => {
                prop_assert!(block(0..4, 0..4).iter().all(|cell| decodable.contains(cell)));
                prop_assert_eq!(repaired.original(), square.original());
            }
            Err(error) => {
                let missing = 64 - decodable.len();
                prop_assert_eq!(error, RepairError::NotEnough { missing, cells: 64 });
                prop_assert!(repair.missing().all(|cell| !decodable.contains(&cell)));
            }
        }
    }
}

#[test]
fn a_withheld_subgrid_of_k_plus_one_lines_stops_repair_until_one_cell_of_it_comes() {
    for k in [2, 4, 16] {
        let square = Block::of_width(k).commit();
        let withheld = |(row, column): &(usize, usize)| *row < k + 1 && *column < k + 1;
        let mut repair = start(&square);
        add(&mut repair, &square, block(0..2 * k, 0..2 * k).into_iter().filter(|c| !withheld(c)));
        let (missing, cells) = ((k + 1) * (k + 1), 4 * k * k);
        assert_eq!(repair.finish(), Err(RepairError::NotEnough { missing, cells }));
        assert!(repair.missing().all(|cell| withheld(&cell)));
        add(&mut repair, &square, [(k, 1)]);
        assert_eq!(repair.finish().unwrap().original(), square.original());
    }
}

#[test]
fn parts_of_other_blocks_are_refused() {
    let (square, other) = (Block::of_width(4).commit(), Block::small().commit());
    let (expected, got) = (square.data_root(), other.data_root());
    let wrong = Err(RepairError::OtherBlock { expected, got });
    assert_eq!(Repair::new(expected, other.parts()), wrong.clone().map(|()| start(&square)));
    let mut repair = start(&square);
    let place = at(0, 0, Axis::Row);
    let sample = other.sample(place).unwrap().verify(&got, place).unwrap();
    assert_eq!(repair.add(&sample), wrong);
    let line = other.line(Axis::Row, 0).unwrap().verify(&got, Axis::Row, 0).unwrap();
    assert_eq!(repair.add_line(&line), wrong);
    add(&mut repair, &square, block(0..4, 0..4));
    let committed = repair.finish().unwrap().commit(other.index().clone());
    assert!(matches!(committed, Err(RepairError::OtherBlock { .. })));
}

/// A block whose proposer committed to this grid, whatever it holds.
struct Wrong(Grid, DataRootParts);

impl Wrong {
    fn new(change: impl FnOnce(&mut Grid)) -> Self {
        let original = Block::small().original();
        let shares: Vec<Vec<u8>> = original.shares().iter().map(|share| share.to_vec()).collect();
        let mut grid = Grid::extend(4, &shares);
        change(&mut grid);
        let index_root = Block::small().place().index.root();
        let parts = DataRootParts { width: Width::new(4).unwrap(), axis_root: grid.axis_root(), index_root };
        assert_eq!(parts.data_root(), oracle::data_root(4, grid.axis_root(), index_root));
        Self(grid, parts)
    }

    fn add(
        &self,
        repair: &mut Repair,
        places: impl IntoIterator<Item = Coordinates>,
    ) -> Result<(), RepairError> {
        places.into_iter().try_for_each(|place| {
            let sample = Sample::decode(&self.0.sample(place, self.1.index_root)).unwrap();
            repair.add(&sample.verify(&self.1.data_root(), place).unwrap())
        })
    }

    fn repair(&self) -> Repair {
        Repair::new(self.1.data_root(), self.1).unwrap()
    }
}

#[test]
fn two_cells_proven_at_one_place_accuse_the_block() {
    let wrong = Wrong::new(|grid| grid.by_column[2][3][0] ^= 1);
    let added = wrong.add(&mut wrong.repair(), everywhere(wrong.1.width));
    assert_eq!(added, Err(RepairError::Split { row: 2, column: 3 }));
}

#[test]
fn a_line_that_is_no_codeword_accuses_the_block() {
    let wrong = Wrong::new(|grid| {
        grid.by_row[1][6][9] ^= 1;
        grid.by_column[1][6][9] ^= 1;
    });
    // All but one cell of Q0, and row 1 has one cell more than needed.
    let mut repair = wrong.repair();
    let cells = block(0..2, 1..8).into_iter().map(|(row, column)| at(row, column, Axis::Row));
    wrong.add(&mut repair, cells).unwrap();
    assert_eq!(repair.finish(), Err(RepairError::Inconsistent { axis: Axis::Row, index: 1 }));
    // Decoded from cells that agree, the square is another than the committed one.
    let mut repair = wrong.repair();
    wrong.add(&mut repair, block(0..4, 0..4).into_iter().map(|(r, c)| at(r, c, Axis::Column))).unwrap();
    let (expected, honest) = (wrong.1.axis_root, Block::small().commit().parts().axis_root);
    assert_eq!(repair.finish(), Err(RepairError::AxisRoot { expected, got: honest }));
}
