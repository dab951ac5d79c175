//! Questions about sampling that need a million light clients, answered with the real code.
//!
//! ```text
//!  seed ──▶ client secrets ──▶ light_client::sampler::draw ──▶ first withheld cell ─┐ count
//!     └───▶ Pattern: which (k+1)² cells are withheld ───────────────────────────────┘   │
//!           light_client::sampler::miss_probability ──▶ closed form ──▶ Answer ◀────────┘
//!                                                                       │ JSON · CSV · SVG
//! ```
//!
//! # Invariants
//! * One question, one answer, on any machine and any number of threads: every random choice is a hash
//!   of the seed, and only whole numbers are added up across threads.
//! * What is judged is the light client's own code; what judges it is counting, and published tables
//!   ([`checks`]).

mod interval;
mod pattern;
mod plot;
mod sampling;
mod validate;

pub use interval::{Interval, Z_95, Z_999};
pub use pattern::Pattern;
pub use plot::plot;
pub use sampling::{Answer, Point, Question};
pub use validate::{Check, checks};
