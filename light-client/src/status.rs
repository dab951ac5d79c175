//! What a client says about itself: the JSON of `GET /status`.

use std::fmt::Debug;

use chain::UnknownRules;
use erasure::{Axis, Coordinates, Width};
use serde::{Deserialize, Serialize};

use crate::halt::Halt;
use crate::sampler::{BlockSampler, Millis, SkipReason, State};

/// A client's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The chain that is followed.
    pub chain_id: String,
    /// The highest verified header.
    pub height: u64,
    /// Its hash, hexadecimal; none before the first.
    #[serde(default)]
    pub header_hash: Option<String>,
    /// The highest height that is available.
    pub available_height: Option<u64>,
    /// The confidence reached at `available_height`.
    pub confidence: Option<f64>,
    /// The confidence that is aimed at.
    pub wanted_confidence: f64,
    /// Blocks found available since the client was started.
    pub blocks_sampled: u64,
    /// Since when no peer can be reached, in milliseconds since the Unix epoch.
    pub offline_since: Option<u64>,
    /// When a sample last succeeded, in milliseconds since the Unix epoch.
    pub last_sample: Option<u64>,
    /// Connected peers.
    pub peers: usize,
    /// Traffic of this process.
    pub wire_bytes: WireBytes,
    /// Memory of this process that is in RAM, in bytes; zero where the system does not tell.
    pub resident_bytes: u64,
    /// The highest header that another peer was found to have, too, since the start.
    pub witnessed_height: Option<u64>,
    /// Why the client follows no further, if it does not.
    pub halted: Option<Halt>,
    /// The rules that the next blocks follow, if this program is too old to know them: it follows no further.
    #[serde(default)]
    pub outdated: Option<UnknownRules>,
    /// The budget, if there is one.
    pub budget: Option<BudgetReport>,
    /// The last heights, highest first.
    pub heights: Vec<HeightReport>,
}

/// The bytes that the client may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// A day, as set by the user.
    pub bytes_per_day: u64,
    /// At once, now.
    pub left_bytes: u64,
}

/// Bytes on the wire since the client was started, everything included: handshakes, gossip,
/// headers, samples in and samples served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WireBytes {
    /// Received.
    #[serde(rename = "in")]
    pub received: u64,
    /// Sent.
    #[serde(rename = "out")]
    pub sent: u64,
    /// Both, divided by the blocks sampled; zero before the first.
    pub per_block: u64,
}

impl WireBytes {
    pub(crate) fn new((received, sent): (u64, u64), blocks: u64) -> Self {
        Self { received, sent, per_block: (received + sent).checked_div(blocks).unwrap_or(0) }
    }
}

/// What is known about one height.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeightReport {
    /// The height.
    pub height: u64,
    /// Whether its block was published.
    #[serde(flatten)]
    pub state: StateReport,
    /// Drawn cells that were verified.
    pub samples: usize,
    /// Shares per line of the original square, once a sample has proven it.
    pub width: Option<usize>,
    /// When the block was found available, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub available_at: Option<u64>,
}

/// [`State`] in words: `"state": "pending" | "available" | "unavailable" | "skipped" | "fraud"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum StateReport {
    /// Being sampled.
    Pending,
    /// Every drawn cell was verified.
    Available {
        /// The probability that a withheld block would have been noticed.
        confidence: f64,
    },
    /// Cells that reachable peers did not serve by the deadline.
    Unavailable {
        /// The missing cells.
        cells: Vec<CellReport>,
        /// When the alarm was raised, in milliseconds since the Unix epoch.
        since: u64,
        /// Who was asked for a missing cell.
        asked: Vec<String>,
    },
    /// Not sampled.
    Skipped {
        /// Why not: `outside-window` or `budget`.
        reason: String,
    },
    /// Proven wrong; [`Status::halted`] says where the proof is.
    Fraud {
        /// Which kind of proof, in words.
        proof: String,
    },
}

impl StateReport {
    /// The state in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Available { .. } => "available",
            Self::Unavailable { .. } => "unavailable",
            Self::Skipped { .. } => "skipped",
            Self::Fraud { .. } => "fraud",
        }
    }

    /// Whether the block is left out for the sake of the budget.
    pub(crate) fn is_over_budget(&self) -> bool {
        matches!(self, Self::Skipped { reason } if reason == SkipReason::Budget.word())
    }

    /// The confidence reached, if the block is available.
    pub fn confidence(&self) -> Option<f64> {
        match self {
            Self::Available { confidence } => Some(*confidence),
            _ => None,
        }
    }
}

impl<P: ToString> From<State<P>> for StateReport {
    fn from(state: State<P>) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Available { confidence } => Self::Available { confidence },
            State::Unavailable { cells, since: Millis(since), asked } => Self::Unavailable {
                cells: cells.into_iter().map(CellReport::from).collect(),
                since,
                asked: asked.iter().map(P::to_string).collect(),
            },
            State::Skipped(reason) => Self::Skipped { reason: reason.word().to_owned() },
        }
    }
}

/// A cell, and the tree through which it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellReport {
    /// Row of the extended square.
    pub row: u16,
    /// Column of the extended square.
    pub column: u16,
    /// `row` or `column`.
    pub axis: String,
}

impl From<Coordinates> for CellReport {
    fn from(at: Coordinates) -> Self {
        let axis = match at.axis {
            Axis::Row => "row",
            Axis::Column => "column",
        };
        Self { row: at.row, column: at.column, axis: axis.to_owned() }
    }
}

impl HeightReport {
    /// A height whose sampling begins.
    pub(crate) fn pending(height: u64) -> Self {
        Self { height, state: StateReport::Pending, samples: 0, width: None, available_at: None }
    }

    /// A height that is being sampled.
    pub(crate) fn of<P: Copy + Ord + Debug + ToString>(sampler: &BlockSampler<P>) -> Self {
        Self {
            height: sampler.height(),
            state: sampler.state().into(),
            samples: sampler.verified(),
            width: sampler.width().map(Width::get),
            available_at: None,
        }
    }

    /// A height that is not sampled.
    pub(crate) fn skipped(height: u64, reason: SkipReason) -> Self {
        Self { state: StateReport::from(State::<String>::Skipped(reason)), ..Self::pending(height) }
    }
}

/// Memory of this process that is in RAM, in bytes; zero where there is no `/proc`.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn a_report_is_one_flat_object() {
        let mut report = HeightReport::pending(7);
        report.state = State::<String>::Available { confidence: 0.9991 }.into();
        report.samples = 24;
        report.width = Some(128);
        report.available_at = Some(5);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "height": 7, "state": "available", "confidence": 0.9991, "samples": 24, "width": 128,
                "available_at": 5
            })
        );
        assert_eq!(serde_json::from_value::<HeightReport>(json).unwrap(), report);
    }

    #[test]
    fn an_alarm_says_which_cells_since_when_and_who_was_asked() {
        let at = Coordinates { row: 1, column: 2, axis: Axis::Row };
        let state = State::Unavailable { cells: vec![at], since: Millis(99), asked: vec!["peer"] };
        let json = serde_json::to_value(StateReport::from(state)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "state": "unavailable", "since": 99, "asked": ["peer"],
                "cells": [{"row": 1, "column": 2, "axis": "row"}]
            })
        );
    }

    #[test]
    fn this_process_resides_somewhere() {
        if cfg!(target_os = "linux") {
            assert!(resident_bytes() > 1 << 20);
        }
    }

    #[test]
    fn bytes_per_block_before_the_first_block_are_zero() {
        assert_eq!(WireBytes::new((10, 20), 0).per_block, 0);
        assert_eq!(WireBytes::new((10, 20), 3).per_block, 10);
    }
}
