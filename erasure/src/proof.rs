//! Proofs against a data root.
//!
//! | proof | shows |
//! | --- | --- |
//! | [`Sample`] | this cell is at (row, column), through its row's or its column's tree |
//! | [`LineSamples`] | these cells are at these places of a line |
//! | [`Line`] | these are a line's cells, and they are a codeword |
//! | [`RangeProof`] | these are the shares [a, b) |
//! | [`EntryProof`] | this entry is in the index, at this position |
//! | [`ForeignProof`] | this foreign commitment is in an entry |
//! | [`NamespaceProof`] | these are all entries of a namespace, or there are none |
//!
//! Each is made by a [`CommittedSquare`](crate::CommittedSquare) or an [`Index`](crate::Index), has
//! `encode`, `decode` and `verify`, and verification consumes it into a `Verified…` value. What a proof
//! of the index shows about order and completeness holds if the index itself is right.

mod cells;
mod entry;
mod line;
mod namespace;
mod range;
mod sample;

pub use cells::{LineSamples, VerifiedLineSamples};
pub use entry::{EntryProof, ForeignProof, VerifiedEntry};
pub use line::{Line, VerifiedLine};
pub use namespace::{NamespaceProof, VerifiedNamespace};
pub use range::{RangeProof, VerifiedRange};
pub use sample::{Sample, VerifiedSample};

use std::ops::Range;

use crate::{Axis, Coordinates, Digest, ForeignKind, LayoutError, Namespace, Width};

/// A proof does not show what was asked. At fault: whoever sent it, unless the data root is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The proof leads to another data root.
    #[error("proof leads to data root {}, expected {}", Hex(got), Hex(expected))]
    DataRoot {
        /// The data root to be shown.
        expected: Digest,
        /// Where the proof leads.
        got: Digest,
    },
    /// The number of hashes does not fit the place or the place does not exist.
    #[error("the proof's shape does not fit the place it is for")]
    Shape,
    /// A sample of another place.
    #[error("asked for the cell at {expected}, got {got}")]
    Coordinates {
        /// The place asked for.
        expected: Coordinates,
        /// The proof's.
        got: Coordinates,
    },
    /// Another line.
    #[error("asked for {} {}, got {} {}", expected.0, expected.1, got.0, got.1)]
    Line {
        /// The line asked for.
        expected: (Axis, usize),
        /// The proof's.
        got: (Axis, usize),
    },
    /// Another range of shares.
    #[error("asked for shares {expected:?}, got {got:?}")]
    Range {
        /// The range asked for.
        expected: Range<u32>,
        /// The proof's.
        got: Range<u32>,
    },
    /// The square is wider than its index needs, or too narrow for an entry.
    #[error("the index needs width {expected}, the data root has {got}")]
    Width {
        /// The width the index needs.
        expected: Width,
        /// The data root's.
        got: Width,
    },
    /// The entry does not hold this foreign commitment.
    #[error("the entry does not hold the {kind} commitment {}", Hex(value))]
    Foreign {
        /// Its kind.
        kind: ForeignKind,
        /// Its value.
        value: Digest,
    },
    /// The entries are not all of the namespace's, or more than its neighbours beside them.
    #[error("the entries given do not enclose namespace {namespace}")]
    Incomplete {
        /// The namespace asked for.
        namespace: Namespace,
    },
    /// The entries do not follow one another.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A blob of another length than its entry's.
    #[error("the blob has {expected} bytes, got {got}")]
    BlobLength {
        /// By its entry.
        expected: u64,
        /// Given.
        got: u64,
    },
    /// Bytes of another blob commitment than the entry's.
    #[error("the blob's commitment is {}, the bytes have {}", Hex(expected), Hex(got))]
    BlobCommitment {
        /// The entry's.
        expected: Digest,
        /// The bytes'.
        got: Digest,
    },
}

impl ProofError {
    pub(crate) fn unless_equal(expected: &Digest, got: Digest) -> Result<(), Self> {
        if *expected == got { Ok(()) } else { Err(Self::DataRoot { expected: *expected, got }) }
    }
}

/// A digest in hexadecimal.
pub(crate) struct Hex<'a>(pub(crate) &'a Digest);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Appends hashes or cells to an encoding.
pub(crate) fn extend<const N: usize>(out: &mut Vec<u8>, arrays: &[[u8; N]]) {
    out.extend_from_slice(arrays.as_flattened());
}
