//! What is withheld, against the code that rebuilds squares.

use erasure::{
    Axis, CommittedSquare, Coordinates, Index, OriginalSquare, Repair, RepairError, SHARE_BYTES, Width,
    transaction_blob,
};
use sim::Pattern;

pub(crate) fn square(width: Width) -> CommittedSquare {
    let bytes: Vec<u8> = (0..width.shares() * SHARE_BYTES).map(|i| (i / 7) as u8).collect();
    let index = Index::place(&transaction_blob(&[]), Vec::new(), Width::MAX).unwrap().index;
    OriginalSquare::from_shares(width, &bytes).unwrap().commit(index)
}

#[test]
fn it_makes_a_square_unrecoverable_and_each_of_its_cells_is_needed_for_that() {
    for k in [2, 4, 8] {
        let width = Width::new(k).unwrap();
        let square = square(width);
        let (pattern, side) = (Pattern::smallest(width, k.into()), width.extended() as u16);
        let cells = (0..side).flat_map(|row| (0..side).map(move |column| (row, column)));
        let cells = cells.map(|(row, column)| Coordinates { row, column, axis: Axis::Row });
        let (withheld, served): (Vec<_>, Vec<_>) = cells.partition(|at| pattern.hides(*at));
        assert_eq!(withheld.len(), (width.get() + 1).pow(2));

        let sample = |at| square.sample(at).unwrap().verify(&square.data_root(), at).unwrap();
        let mut repair = Repair::new(square.data_root(), square.parts()).unwrap();
        for at in served {
            repair.add(&sample(at)).unwrap();
        }
        let stuck = Err(RepairError::NotEnough { missing: withheld.len(), cells: usize::from(side).pow(2) });
        assert_eq!(repair.finish().map(drop), stuck, "k = {k}");
        for at in withheld {
            let mut repair = repair.clone();
            repair.add(&sample(at)).unwrap();
            repair.finish().unwrap();
        }
    }
}
