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
//! A rollup embeds it: it follows its namespace, and gets each block's blobs once the block is
//! available.
//!
//! ```no_run
//! # async fn rollup(network: chain::NetworkConfig, namespace: erasure::Namespace) -> Result<(), Box<dyn std::error::Error>> {
//! use light_client::{Args, Client, Config};
//!
//! let (client, _) = Client::start(Args { network, home: "light".into(), config: Config::default() }).await?;
//! let mut follow = client.follow(namespace, 1);
//! loop {
//!     let block = follow.next().await?;
//!     for blob in block.blobs() {
//!         println!("height {}: {} bytes of {:x?}", block.height(), blob.bytes().len(), blob.signer());
//!     }
//! }
//! # }
//! ```
//!
//! # Invariants
//! * A block is available only when every drawn cell was verified against the data root of a
//!   header that was verified itself.
//! * The cells drawn depend on the client's secret seed, the height and the width only, so they
//!   stay the same across retries and restarts.
//! * A client that saw two signed headers of one height, or a fraud proof, follows no further until
//!   its operator names a new checkpoint.
//! * A block of rules that this program does not know is never available: the client stops before it, and says so.
//! * What cannot be reached is `Offline` or `Unavailable`, never available.

mod alarm;
mod client;
mod clock;
mod config;
mod event;
mod follow;
mod halt;
mod headers;
pub mod http;
mod metrics;
mod provider;
pub mod sampler;
mod status;
mod store;
mod worker;

pub use alarm::{Alarm, AlarmHook, AlarmKind};
pub use client::{Args, Client, ClientError, StartError};
pub use clock::Clock;
pub use config::Config;
pub use event::Event;
pub use follow::{Blob, Block, Follow, ReadError};
pub use halt::{Halt, HaltReason, Resumed, resume};
pub use headers::FollowError;
pub use metrics::Metrics;
pub use status::{BudgetReport, CellReport, HeightReport, StateReport, Status, WireBytes};
pub use store::StoreError;
