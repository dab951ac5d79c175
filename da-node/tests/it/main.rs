//! Nodes as their users meet them: real processes and real sockets. What starts processes runs alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod bad_input;
mod catch_up;
mod certificates;
mod dependencies;
mod dev;
mod digests;
mod disk;
mod e2e;
mod exactly_once;
mod faults;
mod gateway;
mod headers;
mod help;
mod must_hold;
mod operating;
mod restart;
mod signer;
mod snapshot;
mod soak;
mod staking;
mod support;
mod upgrades;
