//! The bodies of the fuzz targets, which the crate's own tests run too, a bounded number of times.

#![allow(dead_code, reason = "the tests use more of these modules")]

#[path = "../../tests/it/accusations.rs"]
mod accusations;
#[path = "../../tests/it/adversary.rs"]
mod adversary;
#[path = "../../tests/it/fuzz_bodies.rs"]
mod fuzz_bodies;
#[path = "../../tests/it/oracle.rs"]
mod oracle;
#[path = "../../tests/it/support.rs"]
mod support;

/// Every decoder.
pub fn decoders(data: &[u8]) {
    fuzz_bodies::decoders(data);
}

/// Every verifier, on an honest proof as changed by the input.
pub fn verifiers(data: &[u8]) {
    fuzz_bodies::verifiers(data);
}

/// Every fraud proof's verifier, on accusations of a valid block.
pub fn frauds(data: &[u8]) {
    fuzz_bodies::frauds(data);
}

/// Repair of squares that the input spoils.
pub fn repair(data: &[u8]) {
    fuzz_bodies::repair(data);
}
