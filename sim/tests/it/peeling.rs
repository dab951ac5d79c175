//! Peeling on bits, against the code that rebuilds squares.

use erasure::{Axis, Coordinates, Repair, Width};
use sim::Peeling;

use crate::pattern::square;

#[test]
fn it_decides_as_repair_does() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut decided = [0, 0];
    for k in [2, 4, 8, 16] {
        let width = Width::new(k).unwrap();
        let square = square(width);
        let side = width.extended();
        for kept in (25..65).step_by(2) {
            let mut repair = Repair::new(square.data_root(), square.parts()).unwrap();
            let mut peeling = Peeling::new(width);
            for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
                if random() % 100 < kept {
                    let at = Coordinates { row: row as u16, column: column as u16, axis: Axis::Row };
                    repair.add(&square.sample(at).unwrap().verify(&square.data_root(), at).unwrap()).unwrap();
                    peeling.add(row, column);
                }
            }
            assert_eq!(repair.finish().is_ok(), peeling.complete(), "k = {k}, {kept}% kept");
            if !peeling.complete() {
                assert_eq!(repair.missing().count(), side * side - peeling.known(), "k = {k}, {kept}% kept");
            }
            decided[usize::from(peeling.complete())] += 1;
        }
    }
    assert!(decided[0] > 10 && decided[1] > 10, "{decided:?}");
}
