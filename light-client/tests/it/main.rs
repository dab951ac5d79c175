//! Clients against real swarms on loopback that serve, withhold and lie.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod accuser;
mod adversary;
mod alarms;
mod binary;
mod budget;
mod chain_of_blocks;
mod flood;
mod following;
mod fraud;
mod halting;
mod link;
mod node;
mod process;
mod restart;
mod rollup;
mod sampling;
mod trouble;
mod upgrades;
mod witnesses;
