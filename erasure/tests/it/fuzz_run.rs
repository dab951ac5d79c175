//! A bounded run of the fuzz targets' bodies.

use crate::{fuzz_bodies, support::noise};

const RUNS: u64 = 3000;

fn run(body: fn(&[u8]), longest: usize) {
    for seed in 0..RUNS {
        let length = seed as usize * 31 % (longest + 1);
        body(&noise(length, seed));
    }
}

#[test]
fn decoders_hold() {
    run(fuzz_bodies::decoders, 3000);
}

#[test]
fn verifiers_hold() {
    run(fuzz_bodies::verifiers, 13);
}

#[test]
fn frauds_hold() {
    run(fuzz_bodies::frauds, 13);
}
