//! A data-availability light client: verifies headers and samples random cells.
//!
//! ```text
//!  network.toml ─► Client ── headers ──► verified ──► data root ─┐
//!                    │                                           ▼
//!                    └── requests ◄── effects ── sampler::BlockSampler ──► Available / alarm
//! ```
//!
//! The [`sampler`] is pure and decides; [`Client`] is the node around it: it follows headers from
//! a checkpoint, asks peers for the cells that were drawn, keeps and serves what it verified,
//! and tells what it found out as [`Event`]s and [`Status`].
//!
//! # Invariants
//! * A block is available only when every drawn cell was verified against the data root of a
//!   header that was verified itself.
//! * The cells drawn depend on the client's secret seed, the height and the width only, so they
//!   stay the same across retries and restarts.
//! * What cannot be reached is `Offline` or `Unavailable`, never available.

mod client;
mod clock;
mod config;
mod event;
mod headers;
pub mod http;
mod metrics;
mod provider;
pub mod sampler;
mod status;
mod store;
mod worker;

pub use client::{Args, Client, ClientError, StartError};
pub use config::Config;
pub use event::Event;
pub use headers::FollowError;
pub use metrics::Metrics;
pub use status::{CellReport, HeightReport, StateReport, Status, WireBytes};
pub use store::StoreError;
