//! A bounded run of the fuzz targets' bodies.

use fuzzing::run;

use crate::fuzz_bodies;

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
