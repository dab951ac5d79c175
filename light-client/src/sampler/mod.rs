//! The sampler: which cells to ask for, whom to ask, and what the answers mean.
//!
//! Pure: no clock, no randomness, no I/O, no async. The node around it and the simulator drive
//! the same code.

mod block;
mod budget;
mod confidence;
mod draw;
mod types;

#[cfg(test)]
mod tests;

pub use block::{BlockSampler, check};
pub use budget::Budget;
pub use confidence::{Confidence, ConfidenceError, confidence, miss_probability, samples_needed};
pub use draw::{Seed, draw, probe};
pub use types::{Answer, Control, Effect, Fault, Millis, SkipReason, State, Task, Timing};
