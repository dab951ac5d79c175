//! The bodies of the fuzz targets, which the crate's own tests run too, a bounded number of times.

#![allow(dead_code, reason = "the tests use more of these modules")]

#[path = "../../tests/it/fuzz_bodies.rs"]
mod fuzz_bodies;
#[path = "../../tests/it/fuzz_seeds.rs"]
mod fuzz_seeds;
#[path = "../../tests/it/support.rs"]
mod support;

// `decoders` asks it how much was allocated.
#[global_allocator]
static ALLOCATOR: fuzzing::Measured = fuzzing::Measured;

/// Every decoder, binary and text.
pub fn decoders(data: &[u8]) {
    fuzz_bodies::decoders(data);
}

/// Every verifier, on a valid object as changed by the input.
pub fn verifiers(data: &[u8]) {
    fuzz_bodies::verifiers(data);
}

/// The state, on records that the input damages.
pub fn states(data: &[u8]) {
    fuzz_bodies::states(data);
}
