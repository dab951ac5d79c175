//! Real swarms on loopback: every request, every refusal, gossip, and peers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod adversary;
mod connections;
mod fraud;
mod gossip;
mod malformed;
mod requests;
mod support;
mod wire_bytes;
