//! A bounded run of the fuzz targets' bodies.

use fuzzing::run;

use crate::fuzz_bodies;

#[test]
fn decoders_hold() {
    run(fuzz_bodies::decoders, 2000, 18);
}

#[test]
fn verifiers_hold() {
    run(fuzz_bodies::verifiers, 2000, 14);
}

#[test]
fn states_hold() {
    run(fuzz_bodies::states, 500, 13);
}
