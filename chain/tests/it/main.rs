//! The chain as a whole: blocks built, judged, signed and followed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a failed test panics"
)]

mod blocks;
mod bodies;
mod certificates;
mod damage;
mod evidence;
mod fraud;
mod fuzz_bodies;
mod fuzz_run;
mod fuzz_seeds;
mod headers;
mod ids;
mod ledger;
mod once;
mod reservations;
mod snapshots;
mod staking;
mod supply;
mod support;
mod transactions;
mod upgrades;

#[global_allocator]
static ALLOCATOR: fuzzing::Measured = fuzzing::Measured;
