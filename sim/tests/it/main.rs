//! The simulator and its command, from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod command;
mod consensus;
mod fees;
mod pattern;
mod peeling;
mod propagation;
mod sampling;
mod scenario;
