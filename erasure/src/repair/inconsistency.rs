//! What a repairer holds when the cells of a block contradict one another: the material of a fraud proof.
//!
//! Everything in it is proven against one data root: every [`Sample`] verifies at its coordinates, and
//! [`LineRoot::path`] leads to the axis root. That together they contradict one another shows that the
//! block is wrong, whoever served it.

use std::fmt;

use crate::{Axis, Coordinates, Digest, Sample};

/// A line's root with its path to the axis root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineRoot {
    /// Row or column.
    pub axis: Axis,
    /// Which, below 2k.
    pub index: u16,
    /// Root of the tree over its 2k leaves, as committed.
    pub root: Digest,
    /// log₂ 4k hashes from there to the axis root.
    pub path: Vec<Digest>,
}

/// Two things that a block commits to and that cannot both be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Inconsistency {
    /// The row's tree and the column's tree commit to different cells at one place.
    SplitCell {
        /// The cell in its row's tree.
        by_row: Box<Sample>,
        /// The cell at the same place in its column's tree.
        by_column: Box<Sample>,
    },
    /// k cells of a line, each proven through either of its lines, that encode to another root than
    /// the line's.
    BadEncoding {
        /// The line.
        line: LineRoot,
        /// Its cells: k of them, ascending by their place on it.
        cells: Vec<Sample>,
    },
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SplitCell { by_row, .. } => {
                let Coordinates { row, column, .. } = by_row.coordinates();
                write!(f, "two different cells at ({row}, {column})")
            }
            Self::BadEncoding { line, .. } => write!(f, "a {} {} of no codeword", line.axis, line.index),
        }
    }
}
