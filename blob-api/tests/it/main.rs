//! The API, its client and the `blob` command over a chain kept in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod archive;
mod bad_input;
mod certificates;
mod chain_in_memory;
mod command;
mod following;
mod frozen;
mod gateway;
mod gateway_celestia;
mod gateway_op;
mod lies;
mod limits;
mod nodes;
mod pricing;
mod reading;
mod reservations;
mod sidecar;
mod streams;
mod submitting;
mod uploading;
mod vectors;
