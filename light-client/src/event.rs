//! What happened, for programs; the log lines are rendered from it.

use std::time::Duration;

use chain::UnknownRules;
use erasure::Coordinates;
use network::PeerId;

use crate::halt::Halt;
use crate::sampler::{Millis, SkipReason};

/// Something that a client found out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A header was verified; the block at this height is sampled next.
    HeaderVerified {
        /// Its height.
        height: u64,
    },
    /// Every drawn cell of a block was verified.
    Available {
        /// The block's height.
        height: u64,
        /// The probability that a withheld block would have been noticed.
        confidence: f64,
        /// Cells that were drawn and verified.
        samples: usize,
        /// Shares per line of the original square.
        width: usize,
    },
    /// Alarm: reachable peers do not serve cells of a block.
    Unavailable {
        /// The block's height.
        height: u64,
        /// The missing cells.
        cells: Vec<Coordinates>,
        /// Who was asked for a missing cell.
        asked: Vec<PeerId>,
    },
    /// Blocks that will not be sampled.
    Skipped {
        /// The lowest one.
        from: u64,
        /// The highest one.
        to: u64,
        /// Why.
        reason: SkipReason,
    },
    /// No peer can be reached: nothing is known about the newest blocks.
    Offline {
        /// Since when.
        since: Millis,
    },
    /// A peer can be reached again.
    Online,
    /// A peer was dropped because its answer was wrong.
    PeerDropped {
        /// The peer.
        peer: PeerId,
        /// What was wrong.
        reason: String,
    },
    /// The client follows no further.
    Halted(Halt),
    /// The next blocks follow rules that this program does not know: it follows no further.
    Outdated(UnknownRules),
    /// The machine slept, or its clock was set: deadlines begin anew.
    Slept {
        /// By how much the clock jumped ahead; zero if it was set back.
        by: Duration,
    },
    /// A header could not be had or verified; it is tried again.
    HeaderFailed {
        /// Why.
        reason: String,
    },
}

impl Event {
    /// Writes the event as a log line.
    pub(crate) fn log(&self) {
        match self {
            Self::HeaderVerified { height } => tracing::debug!(height, "header verified"),
            Self::Available { height, confidence, samples, width } => {
                let confidence = format_args!("{confidence:.6}");
                tracing::info!(height, confidence, samples, width, "available");
            }
            Self::Unavailable { height, cells, asked } => tracing::error!(
                height,
                missing = cells.len(),
                asked = asked.len(),
                first = ?cells.first(),
                "UNAVAILABLE: peers that can be reached do not serve cells of this block"
            ),
            Self::Skipped { from, to, reason } => tracing::info!(from, to, ?reason, "skipped"),
            Self::Offline { since } => {
                tracing::warn!(since_ms = since.0, "offline: no peer can be reached");
            }
            Self::Online => tracing::info!("online"),
            Self::PeerDropped { peer, reason } => tracing::warn!(%peer, reason, "peer dropped"),
            Self::Halted(halt) => tracing::error!(
                evidence = %halt.evidence.display(),
                "HALTED: {halt}; judge the evidence, then light-client resume"
            ),
            Self::Outdated(unknown) => tracing::error!("OUTDATED: {unknown}"),
            Self::Slept { by } => tracing::warn!(?by, "the clock jumped: deadlines begin anew"),
            Self::HeaderFailed { reason } => tracing::warn!(reason, "no new header"),
        }
    }
}
