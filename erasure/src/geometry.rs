//! Sizes and places: shares, the width of a square, axes, coordinates.

use std::fmt;

/// Bytes of a share, and of a cell of the extended square.
pub const SHARE_BYTES: usize = 512;

/// The bytes at one (row, column) of the extended square. Every share is a cell.
pub type Cell = [u8; SHARE_BYTES];

/// Shares that `len` bytes take: the last one is padded with zeroes.
#[must_use]
pub const fn shares_for(len: u64) -> u64 {
    len.div_ceil(SHARE_BYTES as u64)
}

/// Shares per line of the original square: a power of two from 2 to 512.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Width(u16);

/// The number is no width. At fault: whoever sent or configured it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("width must be a power of two from {min} to {max}, got {got}", min = Width::MIN, max = Width::MAX)]
pub struct WidthError {
    /// The number given.
    pub got: u32,
}

impl Width {
    /// The narrowest square: 4 shares, 2 KiB.
    pub const MIN: Self = Self(2);
    /// The protocol's limit: 262,144 shares, 128 MiB.
    pub const MAX: Self = Self(512);

    /// The width of `k` shares a line.
    ///
    /// # Errors
    /// `k` is not a power of two from 2 to 512.
    pub const fn new(k: u32) -> Result<Self, WidthError> {
        if k.is_power_of_two() && Self::MIN.0 as u32 <= k && k <= Self::MAX.0 as u32 {
            Ok(Self(k as u16))
        } else {
            Err(WidthError { got: k })
        }
    }

    /// The smallest width up to `limit` whose square holds `shares`.
    #[must_use]
    pub fn fitting(shares: u64, limit: Self) -> Option<Self> {
        let mut widths = (1..=limit.0.ilog2()).map(|log| Self(1 << log));
        widths.find(|width| width.shares() as u64 >= shares)
    }

    /// k: shares per line of the original square.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// 2k: cells per line of the extended square.
    #[must_use]
    pub const fn extended(self) -> usize {
        2 * self.get()
    }

    /// k²: shares of the original square.
    #[must_use]
    pub const fn shares(self) -> usize {
        self.get() * self.get()
    }

    pub(crate) const fn as_u16(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u32> for Width {
    type Error = WidthError;

    fn try_from(k: u32) -> Result<Self, WidthError> {
        Self::new(k)
    }
}

/// Which of a cell's two lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Axis {
    /// The row.
    Row,
    /// The column.
    Column,
}

impl Axis {
    /// The other one.
    pub(crate) const fn crossing(self) -> Self {
        match self {
            Self::Row => Self::Column,
            Self::Column => Self::Row,
        }
    }

    /// The leaf of the axis tree that holds line `index`: rows first, then columns; none past 2k.
    pub(crate) fn leaf(self, width: Width, index: usize) -> Option<usize> {
        let offset = match self {
            Self::Row => 0,
            Self::Column => width.extended(),
        };
        (index < width.extended()).then_some(offset + index)
    }

    /// Where line `index`'s cells lie in the row-major extended square.
    pub(crate) fn positions(self, width: Width, index: usize) -> impl Iterator<Item = usize> {
        let n = width.extended();
        let (first, step) = match self {
            Self::Row => (index * n, 1),
            Self::Column => (index, n),
        };
        (0..n).map(move |i| first + i * step)
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Row => "row",
            Self::Column => "column",
        })
    }
}

/// A cell, and the line whose tree proves it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Coordinates {
    /// Row of the extended square, from the top.
    pub row: u16,
    /// Column of the extended square, from the left.
    pub column: u16,
    /// The line whose tree the proof goes through.
    pub axis: Axis,
}

impl Coordinates {
    /// The cell at a place of a line, through that line; both below 2k.
    pub(crate) const fn on(axis: Axis, line: usize, place: usize) -> Self {
        let (row, column) = match axis {
            Axis::Row => (line, place),
            Axis::Column => (place, line),
        };
        Self { row: row as u16, column: column as u16, axis }
    }

    /// The line the proof goes through.
    pub(crate) fn line(self) -> usize {
        usize::from(match self.axis {
            Axis::Row => self.row,
            Axis::Column => self.column,
        })
    }

    /// The cell's place on that line.
    pub(crate) fn place(self) -> usize {
        usize::from(match self.axis {
            Axis::Row => self.column,
            Axis::Column => self.row,
        })
    }

    /// Where the cell lies in the row-major extended square; none when it is outside of it.
    pub(crate) fn position(self, width: Width) -> Option<usize> {
        let (row, column, n) = (usize::from(self.row), usize::from(self.column), width.extended());
        (row < n && column < n).then_some(row * n + column)
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}) by its {}", self.row, self.column, self.axis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_from_2_to_512_are_widths() {
        let widths: Vec<u32> = (0..2000).filter(|k| Width::new(*k).is_ok()).collect();
        assert_eq!(widths, [2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(Width::new(1 << 17), Err(WidthError { got: 1 << 17 }));
    }

    #[test]
    fn fitting_is_minimal_and_respects_the_limit() {
        let fit = |shares, limit| Width::fitting(shares, Width(limit)).map(Width::get);
        assert_eq!(fit(1, 2), Some(2));
        assert_eq!(fit(4, 2), Some(2));
        assert_eq!(fit(5, 2), None);
        assert_eq!(fit(5, 128), Some(4));
        assert_eq!(fit(16_384, 128), Some(128));
        assert_eq!(fit(16_385, 128), None);
        assert_eq!(fit(u64::MAX, 512), None);
    }

    #[test]
    fn share_counts_round_up() {
        let counts = [0, 1, 511, 512, 513, u64::MAX].map(shares_for);
        assert_eq!(counts, [0, 1, 1, 1, 2, 1 << 55]);
    }
}
