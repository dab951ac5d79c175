//! Bad padding: a byte after a blob in its last share, or in a share after the last blob, is not zero.
//!
//! ```text
//! entry proof ‖ sample
//! ```
//!
//! The cell is the entry's last one, or the entry is the index's last one and the cell lies behind it.

use super::{FraudError, FraudKind};
use crate::{
    Axis, CommittedSquare, Coordinates, DecodeError, Digest, EntryProof, IndexEntry, SHARE_BYTES, Sample,
    Width, wire::Reader,
};

/// An entry, and a cell that has to end, or to be, in zeroes because of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadPadding {
    entry: EntryProof,
    sample: Box<Sample>,
}

/// From which byte on a share is zero because of an entry, the index's `last` one or not.
fn zero_from(entry: &IndexEntry, last: bool, share: u64) -> usize {
    if share + 1 == entry.end() {
        (entry.len - 1) as usize % SHARE_BYTES + 1
    } else if last && share >= entry.end() {
        0
    } else {
        SHARE_BYTES
    }
}

/// Number of the share at a place; none outside of the original square.
fn share_at(width: Width, at: Coordinates) -> Option<u64> {
    let (row, column, k) = (u64::from(at.row), u64::from(at.column), width.get() as u64);
    (row < k && column < k).then_some(row * k + column)
}

impl BadPadding {
    /// The first cell of a square with such a byte, if there is one.
    #[must_use]
    pub fn new(square: &CommittedSquare) -> Option<Self> {
        let (k, entries) = (square.width().get(), square.index().entries());
        let last = entries.len().checked_sub(1)?;
        let dirty = |position: usize, share: u64| {
            // An entry that leaves the square is a wrong index, and its last cell none of the original's.
            let share = (share < (k * k) as u64).then_some(share)?;
            let (row, column) = (share as usize / k, share as usize % k);
            let from = zero_from(&entries[position], position == last, share);
            let cell = square.cell(row, column)?;
            let at = Coordinates { row: row as u16, column: column as u16, axis: Axis::Row };
            cell[from..].iter().any(|byte| *byte != 0).then_some((position, at))
        };
        let ends = entries.iter().enumerate().map(|(position, entry)| (position, entry.end() - 1));
        let behind = (entries[last].end()..(k * k) as u64).map(|share| (last, share));
        let (position, at) = ends.chain(behind).find_map(|(position, share)| dirty(position, share))?;
        let entry = square.index().prove_entry(position, square.parts())?;
        Some(Self { entry, sample: Box::new(square.sample(at)?) })
    }

    /// The cell's place, and the line that proves it.
    #[must_use]
    pub const fn coordinates(&self) -> Coordinates {
        self.sample.coordinates()
    }

    pub(super) fn check(&self, data_root: &Digest) -> Result<(), FraudError> {
        let last = self.entry.is_last();
        let entry = self.entry.clone().verify(data_root)?;
        let sample = Sample::clone(&self.sample).verify(data_root, self.coordinates())?;
        let share = share_at(sample.width(), self.coordinates());
        let from = share.map_or(SHARE_BYTES, |share| zero_from(entry.entry(), last, share));
        let dirty = sample.cell()[from..].iter().any(|byte| *byte != 0);
        FraudError::unless_founded(FraudKind::BadPadding, dirty)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.entry.write(out);
        self.sample.write(out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { entry: EntryProof::read(reader)?, sample: Box::new(Sample::read(reader)?) })
    }
}
