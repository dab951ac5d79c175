//! The crate from outside, judged by an oracle that shares no code with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod accusations;
mod adversary;
mod bits;
mod decoding;
mod field;
mod fraud;
mod fraud_mutations;
mod fuzz_bodies;
mod fuzz_run;
mod index_proofs;
mod layout;
mod naive;
mod oracle;
mod repair;
mod square_proofs;
mod support;
mod vector_cases;
mod vector_files;
mod vectors;
