//! The list of cells that answers [`Request::Cells`](crate::Request::Cells).
//!
//! # Format
//! For each cell `row: u16 BE ‖ column: u16 BE ‖ axis: u8`, at most [`MAX_CELLS`] of them.

use thiserror::Error;

use crate::request::{MAX_CELLS, MAX_LINE};

/// Bytes of a cell in the list.
pub(crate) const CELL_BYTES: usize = 5;

/// A cell that a peer says it holds, within the bounds of [`Request::Sample`](crate::Request::Sample).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeldCell {
    /// Row in the extended square.
    pub row: u16,
    /// Column in the extended square.
    pub column: u16,
    /// Whose tree proves it: 0 the row's, 1 the column's.
    pub axis: u8,
}

/// An answer that is no list of cells. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CellsError {
    /// Not a whole number of cells, or too many.
    #[error("{got} bytes are no list of at most {MAX_CELLS} cells of {CELL_BYTES} bytes")]
    Length {
        /// Bytes found.
        got: usize,
    },
    /// A cell of no square.
    #[error("there is no cell at row {}, column {} by axis {}", .0.row, .0.column, .0.axis)]
    OutOfBounds(HeldCell),
}

/// The list of `cells`, cut off after [`MAX_CELLS`].
#[must_use]
pub fn encode_cells(cells: impl IntoIterator<Item = HeldCell>) -> Vec<u8> {
    let cell = |HeldCell { row, column, axis }: HeldCell| {
        let ([a, b], [c, d]) = (row.to_be_bytes(), column.to_be_bytes());
        [a, b, c, d, axis]
    };
    cells.into_iter().take(MAX_CELLS).flat_map(cell).collect()
}

/// Reads what [`encode_cells`] wrote.
///
/// # Errors
/// The bytes are no such list.
pub fn decode_cells(bytes: &[u8]) -> Result<Vec<HeldCell>, CellsError> {
    let (cells, rest) = bytes.as_chunks::<CELL_BYTES>();
    if !rest.is_empty() || cells.len() > MAX_CELLS {
        return Err(CellsError::Length { got: bytes.len() });
    }
    let cell = |[a, b, c, d, axis]: &[u8; CELL_BYTES]| {
        let (row, column) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        let cell = HeldCell { row, column, axis: *axis };
        let in_bounds = u64::from(row.max(column)) <= MAX_LINE && *axis <= 1;
        if in_bounds { Ok(cell) } else { Err(CellsError::OutOfBounds(cell)) }
    };
    cells.iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;

    #[test]
    fn a_list_of_cells_survives_the_wire_and_is_bounded() {
        let cells: Vec<_> = (0..1_100).map(|n| HeldCell { row: n % 1_024, column: 1_023, axis: 1 }).collect();
        let bytes = encode_cells(cells.iter().copied());
        assert_eq!(decode_cells(&bytes).unwrap(), cells[..MAX_CELLS]);
        assert_eq!(decode_cells(&[]).unwrap(), []);
        let long = vec![0; (MAX_CELLS + 1) * CELL_BYTES];
        assert_eq!(decode_cells(&long), Err(CellsError::Length { got: long.len() }));
        assert_eq!(decode_cells(&bytes[..7]), Err(CellsError::Length { got: 7 }));
        for outside in [[4, 0, 0, 0, 0], [0, 0, 4, 0, 0], [0, 0, 0, 0, 2]] {
            assert!(matches!(decode_cells(&outside), Err(CellsError::OutOfBounds(_))));
        }
    }
}
