//! What goes into a [`BlockSampler`](super::BlockSampler) and what comes out.

use std::time::Duration;

use erasure::{Coordinates, DecodeError, Digest, ProofError, VerifiedSample};
use thiserror::Error;

use super::confidence::Confidence;
use super::draw::Seed;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The moment `duration` later; the end of time if there is none.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if the clock went backwards in between.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// When a block's sampler loses patience.
#[derive(Clone, Debug)]
pub struct Timing {
    /// From the first request to the alarm. Too low: a slow network looks like withholding.
    pub deadline: Duration,
    /// How long one peer has before a second one is asked for the same cell. Too low: cells are
    /// downloaded twice.
    pub hedge_after: Duration,
    /// The pause once every peer was asked in vain; doubles with each round. Too low: peers that
    /// do not have the block yet are asked over and over.
    pub retry_after: Duration,
    /// Where the doubling ends.
    pub retry_at_most: Duration,
    /// Each request waits a drawn time up to this, so that when it is made tells nothing about
    /// the others. Too low: an observer sees a block's requests as one burst.
    pub spread: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(12),
            hedge_after: Duration::from_millis(1_500),
            retry_after: Duration::from_millis(250),
            retry_at_most: Duration::from_secs(30),
            spread: Duration::from_millis(400),
        }
    }
}

/// What is known about whether a block was published.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum State<P> {
    /// Not every drawn cell has been verified yet.
    Pending,
    /// Every drawn cell was verified.
    Available {
        /// The probability that a withheld block would have been noticed.
        confidence: f64,
    },
    /// Cells that nobody served by the deadline, although a peer that was asked is reachable.
    Unavailable {
        /// The drawn cells that are missing.
        cells: Vec<Coordinates>,
        /// When the alarm was raised.
        since: Millis,
        /// Who was asked for a missing cell.
        asked: Vec<P>,
    },
    /// Not sampled, and never taken for available.
    Skipped(SkipReason),
}

/// Why a block is not sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// It is older than the window that a client catches up with.
    OutsideWindow,
    /// The bytes that the client may use a day did not suffice.
    Budget,
}

impl SkipReason {
    /// The reason in one word, as in a status.
    pub fn word(self) -> &'static str {
        match self {
            Self::OutsideWindow => "outside-window",
            Self::Budget => "budget",
        }
    }
}

/// A peer's answer to a request for a cell.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// An encoded sample, not yet checked.
    Bytes(&'a [u8]),
    /// The peer says that it does not have the cell.
    Nothing,
    /// No answer: a timeout, a broken connection, a refusal.
    Failed,
}

/// A peer's answer to a request for a cell of another block that is known to be available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The cell came and was verified.
    Served,
    /// It did not.
    Failed,
    /// This client has no available block yet to try the peer with.
    NoneKept,
}

/// What is wrong with a peer's answer. The peer is at fault.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes are no sample.
    #[error("malformed sample: {0}")]
    Malformed(#[from] DecodeError),
    /// The sample does not prove the cell that was asked for.
    #[error("wrong sample: {0}")]
    Wrong(#[from] ProofError),
}

/// What the shell is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<P> {
    /// Wait for `delay`, ask `peer` for the cell `at`, then call
    /// [`answered`](super::BlockSampler::answered).
    Ask {
        /// Whom to ask.
        peer: P,
        /// For which cell.
        at: Coordinates,
        /// How long to wait before.
        delay: Duration,
    },
    /// Ask `peer` for a cell of a block that is available, then call
    /// [`controlled`](super::BlockSampler::controlled).
    Control {
        /// Whom to ask.
        peer: P,
    },
    /// Drop `peer`: its answer was wrong.
    Report {
        /// Who answered.
        peer: P,
        /// What was wrong.
        fault: Fault,
    },
    /// Keep this sample: for this client's restart, and to serve to others.
    Keep(Box<VerifiedSample>),
    /// The block is now Available or Unavailable.
    Became(State<P>),
    /// No peer that was asked can be reached: nothing can be said about the block.
    Offline,
}

/// What to sample.
#[derive(Clone, Debug)]
pub struct Task {
    /// The block's height.
    pub height: u64,
    /// The data root of the verified header at this height.
    pub data_root: Digest,
    /// The client's secret.
    pub seed: Seed,
    /// How sure to be.
    pub wanted: Confidence,
    /// How patient to be.
    pub timing: Timing,
}
