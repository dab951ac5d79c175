//! Questions that need a million light clients, answered with the real code.
//!
//! ```text
//!  sampling        light_client::sampler::draw ──▶ Pattern, disclosure ──▶ who is fooled
//!  reconstruction  draw ──▶ Peeling ──▶ how many clients rebuild a block
//!  fees            chain::select, chain::Ledger ──▶ price, delay, spend
//!  propagation     EventQueue + Network ──▶ when bodies and samples have arrived
//!  consensus       EventQueue + Network + measured processing times ──▶ block time, throughput
//!                      │
//!                      └──▶ JSON · CSV · Chart (SVG)             checks(): published numbers
//! ```
//!
//! # Invariants
//! * One question, one answer, on any machine and any number of threads: every random choice is a hash
//!   of the seed, time is whole nanoseconds, and across threads only whole numbers are added up.
//! * What is judged is the real code; what judges it is counting, and published tables ([`checks`]).

mod chart;
mod consensus;
mod disclosure;
mod events;
mod fees;
mod interval;
mod network;
mod parallel;
mod pattern;
mod peeling;
mod propagation;
mod reconstruction;
mod rng;
mod sampling;
mod validate;

pub use chart::{Axis, Chart, Drawn, Mark};
pub use consensus::{Carries, Case, Consensus, Pace, Processing};
pub use events::{EventQueue, Nanos};
pub use fees::{AgentOutcome, FeeAnswer, FeeQuestion, PricePoint};
pub use interval::{Interval, Z_95, Z_999};
pub use pattern::Pattern;
pub use peeling::Peeling;
pub use propagation::{Propagation, Quantile, Spread, Stage};
pub use reconstruction::{Chance, Needed, Rebuilt, Reconstruction, worst_case, worst_case_exact};
pub use sampling::{Adversary, Answer, Point, Question, miss_any};
pub use validate::{Check, PARTS, checks};
