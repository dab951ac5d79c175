//! Wrong index: the transaction list, parsed, sorted and placed, gives another width or another index.
//!
//! ```text
//! a range proof of the transaction blob's shares, from share 0
//! ```
//!
//! Covers any entry missing, extra, misordered, overlapping, wrong in length or signer, a width that is
//! not minimal, and a list that is none. Where the list's length exceeds what a square may hold, the first
//! share shows it.

use super::{FraudError, FraudKind, FraudRules};
use crate::{
    CommittedSquare, DecodeError, Digest, Index, ProofError, RangeProof, RepairedSquare, SHARE_BYTES, Width,
    layout::{MAX_TRANSACTION_BLOB_BYTES, transaction_blob, transaction_list},
    wire::Reader,
};

/// A block's transaction blob, with the index and the width that it is committed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongIndex {
    range: RangeProof,
}

/// Bytes of the length before the list.
const LENGTH_BYTES: usize = 4;

/// Shares that show the transaction list: those it takes, or the first when there is no room for it.
fn shares(bytes: &[u8], width: Width) -> u32 {
    let length = bytes.first_chunk::<LENGTH_BYTES>().map_or(0, |length| u32::from_be_bytes(*length));
    let bytes = (length as usize).saturating_add(LENGTH_BYTES);
    let fits = bytes <= MAX_TRANSACTION_BLOB_BYTES.min(width.shares() * SHARE_BYTES);
    if fits { bytes.div_ceil(SHARE_BYTES) as u32 } else { 1 }
}

impl WrongIndex {
    /// From a square, whatever its index, and the index root that the block has in its stead. Whether the
    /// index is wrong is for `verify` to say; none only when the square has no shares.
    #[must_use]
    pub fn new(square: &CommittedSquare, index_root: Digest) -> Option<Self> {
        let first = square.cell(0, 0)?;
        let mut range = square.range(0..shares(first, square.width()))?;
        range.index_root = index_root;
        Some(Self { range })
    }

    /// From a repaired square whose index is not known.
    #[must_use]
    pub fn of(square: &RepairedSquare) -> Option<Self> {
        let any = Index::place(&transaction_blob(&[]), Vec::new(), Width::MAX).ok()?.index;
        Self::new(&square.original().commit(any), square.parts().index_root)
    }

    pub(super) fn check(&self, data_root: &Digest, rules: &dyn FraudRules) -> Result<(), FraudError> {
        let (width, index_root) = (self.range.width, self.range.index_root);
        let range = self.range.clone().verify(data_root, self.range.shares())?;
        let bytes = range.bytes();
        let expected = 0..shares(bytes, width);
        if self.range.shares() != expected {
            return Err(ProofError::Range { expected, got: self.range.shares() }.into());
        }
        let placed = transaction_list(bytes).ok().and_then(|list| {
            let blobs = rules.blobs(list)?;
            Index::place(&transaction_blob(list), blobs, rules.k_max()).ok()
        });
        let right = placed.is_some_and(|placed| placed.width == width && placed.index.root() == index_root);
        FraudError::unless_founded(FraudKind::WrongIndex, !right)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.range.write(out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { range: RangeProof::read(reader)? })
    }
}
