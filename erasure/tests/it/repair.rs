//! Repair of honest squares from few cells, and of wrong ones into an accusation.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
};

use erasure::{
    Axis, CommittedSquare, Committer, Coordinates, DataRootParts, FraudProof, LineSamples, Repair,
    RepairError, Sample, Width,
};
use proptest::prelude::*;

use crate::{
    adversary::Rules,
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
fn oracle_decodes(n: usize, cells: &[(usize, usize)]) -> BTreeSet<(usize, usize)> {
    let mut known: BTreeSet<_> = cells.iter().copied().collect();
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
fn a_repair_that_starts_over_keeps_nothing() {
    let mut committer = Committer::new(NonZeroUsize::new(2).unwrap());
    let mut repair = start(&Block::of_width(4).commit());
    for block_of in [Block::of_width(4), Block::small(), Block::of_width(16), Block::small()] {
        let square = block_of.commit();
        repair.restart(square.data_root(), square.parts()).unwrap();
        let k = square.width().get();
        assert_eq!(repair.missing().count(), 4 * k * k);
        assert!(matches!(repair.finish_with(&mut committer), Err(RepairError::NotEnough { .. })));
        add(&mut repair, &square, block(1..k + 1, k - 1..2 * k - 1));
        let repaired = repair.finish_with(&mut committer).unwrap().commit(square.index().clone()).unwrap();
        assert_eq!(repaired, square);
        committer.recycle(repaired);
    }
    let (square, other) = (Block::small().commit(), Block::of_width(4).commit());
    assert!(repair.restart(square.data_root(), other.parts()).is_err());
}

#[test]
fn cells_proven_together_repair_a_square() {
    let square = Block::of_width(4).commit();
    let mut repair = start(&square);
    for (axis, index) in [(Axis::Row, 6), (Axis::Column, 1), (Axis::Row, 0), (Axis::Column, 5)] {
        let samples = square.line_samples(axis, index, &[1, 2, 4, 7]).unwrap();
        assert_eq!(samples.line(), (axis, index));
        let verified = samples.verify(&square.data_root(), axis, index, &[1, 2, 4, 7]).unwrap();
        repair.add_samples(&verified).unwrap();
        repair.add_samples(&verified).unwrap();
    }
    assert!(matches!(repair.finish(), Err(RepairError::NotEnough { .. })));
    for index in [2, 3] {
        let samples = square.line_samples(Axis::Row, index, &[0, 3, 4, 6]).unwrap();
        repair
            .add_samples(&samples.verify(&square.data_root(), Axis::Row, index, &[0, 3, 4, 6]).unwrap())
            .unwrap();
    }
    assert_eq!(&repair.finish().unwrap().commit(square.index().clone()).unwrap(), &square);
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
    let samples = other.line_samples(Axis::Row, 0, &[0, 3]).unwrap().verify(&got, Axis::Row, 0, &[0, 3]);
    assert_eq!(repair.add_samples(&samples.unwrap()), wrong);
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

    /// The same, those of each line in one proof.
    fn add_together(
        &self,
        repair: &mut Repair,
        places: impl IntoIterator<Item = Coordinates>,
    ) -> Result<(), RepairError> {
        let mut lines = BTreeMap::<_, BTreeSet<usize>>::new();
        for Coordinates { row, column, axis } in places {
            let (index, place) = if axis == Axis::Row { (row, column) } else { (column, row) };
            lines.entry((index, axis as u8)).or_default().insert(place.into());
        }
        lines.into_iter().try_for_each(|((index, number), places)| {
            let (axis, index) = (if number == 0 { Axis::Row } else { Axis::Column }, usize::from(index));
            let places: Vec<usize> = places.into_iter().collect();
            let proof = LineSamples::decode(&self.0.line_samples(axis, index, &places, self.1.index_root));
            let places: Vec<u16> = places.iter().map(|place| *place as u16).collect();
            let verified = proof.unwrap().verify(&self.1.data_root(), axis, index, &places).unwrap();
            repair.add_samples(&verified)
        })
    }

    fn repair(&self) -> Repair {
        Repair::new(self.1.data_root(), self.1).unwrap()
    }

    /// Whether every line of both grids is one codeword and the grids agree.
    fn is_right(&self) -> bool {
        let shares: Vec<Vec<u8>> = self.0.by_row[..4].iter().flat_map(|row| row[..4].to_vec()).collect();
        let honest = Grid::extend(4, &shares);
        honest.by_row == self.0.by_row && honest.by_row == self.0.by_column
    }

    /// Checks the material of a fraud proof: it becomes a proof that holds against this block.
    fn assert_proves(&self, error: &RepairError) {
        let RepairError::Inconsistent(found) = error else { panic!("{error}") };
        let proof = FraudProof::try_from(&**found).unwrap();
        proof.verify(&self.1.data_root(), &Rules).unwrap();
    }
}

#[test]
fn two_cells_proven_at_one_place_accuse_the_block() {
    let wrong = Wrong::new(|grid| grid.by_column[2][3][0] ^= 1);
    let error = wrong.add(&mut wrong.repair(), everywhere(wrong.1.width)).unwrap_err();
    assert_eq!(error.to_string(), "the block commits to two different cells at (2, 3)");
    wrong.assert_proves(&error);
}

#[test]
fn a_line_that_is_no_codeword_accuses_the_block() {
    let wrong = Wrong::new(|grid| {
        grid.by_row[1][6][9] ^= 1;
        grid.by_column[1][6][9] ^= 1;
    });
    // By its row's tree, all but one cell of Q0, and row 1 has one cell more than needed.
    let mut repair = wrong.repair();
    let cells = block(0..2, 1..8).into_iter().map(|(row, column)| at(row, column, Axis::Row));
    wrong.add(&mut repair, cells).unwrap();
    let error = repair.finish().unwrap_err();
    assert_eq!(error.to_string(), "the block commits to a row 1 of no codeword");
    wrong.assert_proves(&error);
    // By columns' trees only, rows are guesses: the square decoded is another than the committed one, and
    // nothing proves why, until a cell brings row 1's root.
    let mut repair = wrong.repair();
    wrong.add(&mut repair, block(0..4, 0..4).into_iter().map(|(r, c)| at(r, c, Axis::Column))).unwrap();
    assert!(matches!(repair.finish(), Err(RepairError::NotEnough { .. })));
    wrong.add(&mut repair, [at(1, 7, Axis::Row)]).unwrap();
    wrong.assert_proves(&repair.finish().unwrap_err());
}

/// A proposer's junk: at these places of the square as rows' trees see it, and as columns' do.
fn junk() -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    let scattered = prop::collection::vec((0..8usize, 0..8usize, 1..4u8), 0..6);
    // Junk under every other cell of all lines but the original ones hides one cell of each.
    let checkerboard = (0..2usize, 1..4u8).prop_map(|(parity, axes)| {
        let places = block(0..8, 0..8).into_iter().filter(move |(row, column)| (row + column) % 2 == parity);
        places.map(|(row, column)| (row, column, axes)).collect()
    });
    let line = (0..8usize, 1..4u8).prop_map(|(row, axes)| (0..8).map(|column| (row, column, axes)).collect());
    prop_oneof![4 => scattered, 1 => checkerboard, 1 => line]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_committed_square_ends_repaired_or_proven_wrong_once_its_cells_are_here(
        junk in junk(),
        order in Just((0..128).collect::<Vec<usize>>()).prop_shuffle(),
        first in 0..128usize,
        together in any::<bool>(),
    ) {
        let wrong = Wrong::new(|grid| for (row, column, axes) in &junk {
            let change = (row * 8 + column + 1) as u8;
            if axes & 1 != 0 { grid.by_row[*row][*column][5] ^= change; }
            if axes & 2 != 0 { grid.by_column[*row][*column][5] ^= change; }
        });
        let places: Vec<Coordinates> = everywhere(wrong.1.width).collect();
        let (mut repair, mut ended) = (wrong.repair(), None);
        for part in [&order[..first], &order[first..]] {
            let cells = part.iter().map(|i| places[*i]);
            let added = if together {
                wrong.add_together(&mut repair, cells)
            } else {
                wrong.add(&mut repair, cells)
            };
            match added.and_then(|()| repair.finish()) {
                Err(RepairError::NotEnough { .. }) => {
                    let unlock = repair.unlock().unwrap();
                    prop_assert!(0 < unlock.needed && unlock.needed <= unlock.cells.len());
                }
                outcome => {
                    ended = Some(outcome);
                    break;
                }
            }
        }
        match ended.expect("all cells through all lines are enough") {
            Ok(_) => prop_assert!(wrong.is_right()),
            Err(error) => {
                prop_assert!(!wrong.is_right());
                wrong.assert_proves(&error);
            }
        }
    }

    #[test]
    fn the_cells_that_unlock_the_next_line_do(
        order in Just((0..64).collect::<Vec<usize>>()).prop_shuffle(),
        by_row in any::<bool>(),
    ) {
        let square = Block::of_width(4).commit();
        let mut repair = start(&square);
        let axis = if by_row { Axis::Row } else { Axis::Column };
        let cells = order[..12].iter().map(|i| at(i / 8, i % 8, axis));
        for place in cells {
            repair.add(&square.sample(place).unwrap().verify(&square.data_root(), place).unwrap()).unwrap();
        }
        while let Err(error) = repair.finish() {
            let RepairError::NotEnough { missing, .. } = error else { panic!("{error}") };
            let unlock = repair.unlock().unwrap();
            for place in unlock.cells.iter().take(unlock.needed) {
                let sample = square.sample(*place).unwrap().verify(&square.data_root(), *place);
                repair.add(&sample.unwrap()).unwrap();
            }
            let now = repair.clone().finish().map(drop);
            if let Err(RepairError::NotEnough { missing: now, .. }) = now {
                prop_assert!(now + unlock.needed < missing);
            }
        }
    }
}
