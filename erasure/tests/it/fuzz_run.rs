//! A bounded run of the fuzz targets' bodies.

use crate::{fuzz_bodies, support::noise};

fn run(body: fn(&[u8]), runs: u64, longest: usize) {
    for seed in 0..runs {
        let length = seed as usize * 31 % (longest + 1);
        body(&noise(length, seed));
    }
}

#[test]
fn decoders_hold() {
    run(fuzz_bodies::decoders, 3000, 3000);
}

#[test]
fn verifiers_hold() {
    run(fuzz_bodies::verifiers, 3000, 13);
}

#[test]
fn frauds_hold() {
    run(fuzz_bodies::frauds, 3000, 13);
}

#[test]
fn repair_holds() {
    run(fuzz_bodies::repair, 300, 14);
}
