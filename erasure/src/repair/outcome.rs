//! What repair ends in.

use std::fmt;

use super::Inconsistency;
use crate::{
    CommittedSquare, DataRootParts, Digest, Index, OriginalSquare, proof::Hex, square::ExtendedSquare,
};

/// The square cannot be repaired, or not from this.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// Parts, a cell or an index of another block. At fault: the caller.
    #[error("repairing the block with data root {}, got a part of {}", Hex(expected), Hex(got))]
    OtherBlock {
        /// The data root under repair.
        expected: Digest,
        /// The other.
        got: Digest,
    },
    /// The cells held do not decode. Nobody is at fault: add more, [`unlock`](crate::Repair::unlock) says which, and
    /// finish again.
    #[error("not enough cells: {missing} of {cells} still missing, and no line can be decoded")]
    NotEnough {
        /// Cells neither held nor decoded.
        missing: usize,
        /// Cells of the square.
        cells: usize,
    },
    /// The block contradicts itself; with it, a fraud proof can be made.
    #[error("the block commits to {0}")]
    Inconsistent(Box<Inconsistency>),
}

/// A whole square, checked against the axis root; its index is yet to be read from its transactions.
#[derive(Clone, PartialEq, Eq)]
pub struct RepairedSquare {
    pub(super) square: ExtendedSquare,
    pub(super) parts: DataRootParts,
}

impl RepairedSquare {
    /// A copy of the k² shares: the transaction blob, then the blobs.
    #[must_use]
    pub fn original(&self) -> OriginalSquare {
        self.square.original()
    }

    /// What the data root is the hash of.
    #[must_use]
    pub const fn parts(&self) -> DataRootParts {
        self.parts
    }

    /// The square with its index, as the transaction blob gives it.
    ///
    /// # Errors
    /// The index is not the one committed to: either the caller's is wrong, or the block is.
    pub fn commit(self, index: Index) -> Result<CommittedSquare, RepairError> {
        let square = CommittedSquare::new(self.square, index);
        let (expected, got) = (self.parts.data_root(), square.data_root());
        if expected == got { Ok(square) } else { Err(RepairError::OtherBlock { expected, got }) }
    }
}

impl fmt::Debug for RepairedSquare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairedSquare").field("parts", &self.parts).finish_non_exhaustive()
    }
}
