//! What is missing: which cells would unlock the next line.

use super::{Holding, Repair};
use crate::{Axis, Coordinates, square::lines};

/// What is needed to decode a line, and to compare it with its root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unlock {
    /// Row or column.
    pub axis: Axis,
    /// Which, below 2k.
    pub index: usize,
    /// How many more cells.
    pub needed: usize,
    /// Any of these will do, proven through this line's tree.
    pub cells: Vec<Coordinates>,
}

impl Repair {
    /// The cells that would unlock the next line: the one that lacks the fewest. None when no line lacks
    /// any.
    #[must_use]
    pub fn unlock(&self) -> Option<Unlock> {
        let (k, n) = (self.width().get(), self.width().extended());
        let unsettled = lines(self.width()).zip(&self.settled).filter(|(_, settled)| !**settled);
        let needs = unsettled.map(|((axis, index), _)| {
            let usable = self.holdings_of(axis, index).filter(|holding| self.usable(*holding)).count();
            let known = axis.leaf(self.width(), index).is_some_and(|line| self.paths.root(line).is_some());
            (k.saturating_sub(usable).max(usize::from(self.doubted && !known)), axis, index)
        });
        let (needed, axis, index) =
            needs.filter(|(needed, ..)| *needed > 0).min_by_key(|(needed, ..)| *needed)?;
        let at = |place| Coordinates::on(axis, index, place);
        let places = (0..n).zip(self.holdings_of(axis, index));
        let cells: Vec<Coordinates> =
            places.filter(|(_, holding)| !self.usable(*holding)).map(|(place, _)| at(place)).collect();
        // Of a line of which only the root is missing, any cell brings it.
        let cells = if cells.is_empty() { (0..n).map(at).collect() } else { cells };
        Some(Unlock { axis, index, needed, cells })
    }

    /// Whether a line can be decoded from the cell.
    const fn usable(&self, holding: Holding) -> bool {
        holding.held && (!self.doubted || holding.proven())
    }
}
