//! Engines over loopback sockets, in one process, on applications that keep their blocks in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod app;
mod chain;
mod network;
mod pace;
mod remote;
mod signer;
mod verdicts;
