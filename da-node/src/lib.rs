//! Weft's validator and full node: storage, wiring, devnet.
//!
//! ```text
//!  blob-api ─▶ Api ─▶ Pool ─▶ Agree ─▶ consensus ─▶ Node::commit ─▶ Store ─▶ Serve ─▶ light clients
//! ```
//!
//! Everything that decides is in `chain`; this crate keeps it, moves it, and starts and stops the parts.

mod agree;
mod ahead;
mod alarms;
mod api;
mod attest;
mod clock;
pub mod commands;
pub mod demo;
pub mod devnet;
pub mod doctor;
mod evidence;
mod fetch;
mod fraud;
mod heavy;
mod hedge;
pub mod home;
pub mod hosts;
mod http;
pub mod lock;
mod market;
mod metrics;
mod node;
mod pool;
mod ports;
mod rebuild;
pub mod retention;
pub mod run;
mod serve;
pub mod settings;
mod signer;
mod snapshot;
mod squares;
mod storage;
#[cfg(any(test, fuzzing))]
mod test_chain;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use storage::fuzz;
