//! Questions that need a million light clients: real draws, samplers, squares and prices, in models of the network,
//! its gossip and its validators.
//!
//! ```text
//!  sampling        light_client::sampler::draw ──▶ Pattern, disclosure ──▶ who is fooled
//!  reconstruction  draw ──▶ Peeling ──▶ how many clients rebuild a block
//!  fees            chain::select, chain::Ledger ──▶ price, delay, spend
//!  propagation     EventQueue + Network ──▶ when bodies and samples have arrived
//!  consensus       EventQueue + Network + measured processing times ──▶ block time, throughput
//!                      │
//!                      └──▶ JSON · CSV · Chart (SVG)             checks(): known numbers
//! ```
//!
//! # Invariants
//! * One question, one answer, to the bit, on any machine and any number of threads: every random choice is a hash
//!   of the seed, time is whole nanoseconds, and what threads find is put in order before it is added up. Floating
//!   point numbers come from `+ − × ÷ √` only, which IEEE 754 defines to the last bit; logarithms and powers, which
//!   differ by platform, are disallowed (`clippy.toml`) outside of plots.
//! * What is judged is the real code, or a model where the module says so; what judges it is counting, and numbers from elsewhere ([`checks`]).

mod bodies;
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
mod processing;
mod propagation;
mod reconstruction;
mod rng;
mod sampling;
mod scenario;
mod validate;

pub use chart::{Axis, Chart, Drawn, Mark};
pub use consensus::{Carries, Case, Consensus, Pace, Timeouts};

pub use events::{EventQueue, Nanos};
pub use fees::{AgentOutcome, FeeAnswer, FeeQuestion, PricePoint};
pub use interval::{Interval, Z_95, Z_999};
pub use network::Distance;
pub use pattern::Pattern;
pub use peeling::Peeling;
pub use processing::{Commit, Processing};
pub use propagation::{Propagation, Quantile, Spread, Stage};
pub use reconstruction::{Chance, Needed, Rebuilt, Reconstruction, worst_case, worst_case_exact};
pub use sampling::{Adversary, Answer, Point, Question, miss_any};
pub use scenario::{Fault, Group, Links, Mix, Scenario};
pub use validate::{Check, PARTS, Source, checks};
