//! The original square: the transaction blob, then all blobs, each from a share boundary, then zeroes.
//!
//! The transaction blob is `u32 BE length ‖ transaction list`, so that whoever holds the square's first
//! shares knows where it ends.

use std::{fmt, num::NonZeroUsize};

use crate::{
    Cell, CommittedSquare, Committer, ForeignError, Index, Placement, SHARE_BYTES, Width, shares_for,
};

/// Most bytes of a transaction blob, with its length.
pub const MAX_TRANSACTION_BLOB_BYTES: usize = 1 << 20;

const LENGTH_BYTES: usize = 4;

/// Blobs cannot be laid out, or entries are no square's. At fault: whoever chose or sent them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A blob without bytes.
    #[error("the blob at share {start} is empty")]
    EmptyBlob {
        /// Its first share.
        start: u32,
    },
    /// A user's blob in the transaction blob's namespace.
    #[error("the blob at share {start} is in the reserved namespace")]
    ReservedNamespace {
        /// Its first share.
        start: u32,
    },
    /// Foreign commitments out of order, or too many.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// The blobs do not fit the square.
    #[error("the square holds {limit} shares, got at least {got}")]
    TooManyShares {
        /// Shares of the square.
        limit: u64,
        /// Shares up to the end of the first blob that does not fit.
        got: u64,
    },
    /// The transaction blob is too long.
    #[error("the transaction blob holds at most {limit} bytes, got {got}")]
    TransactionBlobTooLong {
        /// The most allowed.
        limit: usize,
        /// Its length.
        got: usize,
    },
    /// The transaction blob's length field disagrees with what follows it.
    #[error("the transaction blob declares {declared} bytes after its length, got {got}")]
    TransactionBlobLength {
        /// What its first four bytes say.
        declared: usize,
        /// What is there.
        got: usize,
    },
    /// The first entry is not a transaction blob's, or there is none.
    #[error("the first index entry must be the transaction blob's, at share 0")]
    NoTransactionBlob,
    /// An entry does not start where the one before it ends.
    #[error("an index entry must start at share {expected}, got {got}")]
    Gap {
        /// End of the entry before.
        expected: u64,
        /// Its start.
        got: u32,
    },
    /// An entry's namespace is smaller than the one's before it.
    #[error("the index entry at share {start} is in a smaller namespace than the one before it")]
    Unsorted {
        /// Its first share.
        start: u32,
    },
    /// Another number of blobs than of entries.
    #[error("the index has {expected} blobs, got {got}")]
    BlobCount {
        /// Entries.
        expected: usize,
        /// Blobs given.
        got: usize,
    },
    /// A blob is longer or shorter than its entry says.
    #[error("the blob at share {start} has {expected} bytes in the index, got {got}")]
    BlobLength {
        /// Its first share.
        start: u32,
        /// Bytes by its entry.
        expected: u64,
        /// Bytes given.
        got: usize,
    },
    /// The bytes are not those of a square of this width.
    #[error("a square of width {width} has {expected} bytes, got {got}")]
    SquareBytes {
        /// The width.
        width: Width,
        /// Its bytes.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
}

/// The transaction blob of a transaction list: its length, then the list.
#[must_use]
pub fn transaction_blob(list: &[u8]) -> Vec<u8> {
    let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), list].concat()
}

/// The transaction list at the start of `bytes`: of a transaction blob, or of the shares that hold it.
///
/// # Errors
/// `bytes` end before the list does, or the list is too long.
pub fn transaction_list(bytes: &[u8]) -> Result<&[u8], LayoutError> {
    let short = LayoutError::TransactionBlobLength { declared: 0, got: bytes.len() };
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or(short)?;
    let declared = u32::from_be_bytes(*length) as usize;
    let (limit, got) = (MAX_TRANSACTION_BLOB_BYTES, declared.saturating_add(LENGTH_BYTES));
    if got > limit {
        return Err(LayoutError::TransactionBlobTooLong { limit, got });
    }
    rest.get(..declared).ok_or(LayoutError::TransactionBlobLength { declared, got: rest.len() })
}

/// The k² shares of a block.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginalSquare {
    width: Width,
    shares: Vec<Cell>,
}

impl OriginalSquare {
    /// Lays out the transaction blob and the blobs, given in the index's order. Their commitments are
    /// not checked.
    ///
    /// # Errors
    /// A blob is missing or has another length than its entry.
    pub fn build(
        placement: &Placement,
        transaction_blob: &[u8],
        blobs: &[&[u8]],
    ) -> Result<Self, LayoutError> {
        let entries = placement.index.entries();
        let width = placement.index.width();
        if entries.len() != blobs.len() + 1 {
            return Err(LayoutError::BlobCount { expected: entries.len() - 1, got: blobs.len() });
        }
        let mut shares = vec![[0; SHARE_BYTES]; width.shares()];
        let blobs = std::iter::once(transaction_blob).chain(blobs.iter().copied());
        for (entry, blob) in entries.iter().zip(blobs) {
            let (start, expected, got) = (entry.start, entry.len, blob.len());
            if got as u64 != expected {
                return Err(LayoutError::BlobLength { start, expected, got });
            }
            let range = start as usize..start as usize + shares_for(expected) as usize;
            shares[range].as_flattened_mut()[..got].copy_from_slice(blob);
        }
        Ok(Self { width, shares })
    }

    /// The square of k² · 512 bytes.
    ///
    /// # Errors
    /// Another number of bytes.
    pub fn from_shares(width: Width, bytes: &[u8]) -> Result<Self, LayoutError> {
        let (expected, got) = (width.shares() * SHARE_BYTES, bytes.len());
        if got != expected {
            return Err(LayoutError::SquareBytes { width, expected, got });
        }
        Ok(Self { width, shares: bytes.as_chunks().0.to_vec() })
    }

    pub(crate) fn from_cells(width: Width, shares: Vec<Cell>) -> Self {
        debug_assert_eq!(shares.len(), width.shares());
        Self { width, shares }
    }

    /// Shares per line.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.width
    }

    /// All shares, in order.
    #[must_use]
    pub fn shares(&self) -> &[Cell] {
        &self.shares
    }

    /// All bytes, in order.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.shares.as_flattened()
    }

    /// All bytes, in order.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.shares.into_flattened()
    }

    /// The transaction list, by the length in the first share.
    ///
    /// # Errors
    /// The length exceeds the square or the limit.
    pub fn transaction_list(&self) -> Result<&[u8], LayoutError> {
        transaction_list(self.bytes())
    }

    /// Extends the square and computes its commitments, on this thread and in new buffers: a
    /// [`Committer`] has other threads and keeps buffers. `index` is taken as it is: that its
    /// commitments are those of the shares is what [`CommittedSquare::blob_commitment`] is for.
    #[must_use]
    pub fn commit(self, index: Index) -> CommittedSquare {
        Committer::new(NonZeroUsize::MIN).commit(&self, index)
    }
}

impl fmt::Debug for OriginalSquare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginalSquare").field("width", &self.width).finish_non_exhaustive()
    }
}
