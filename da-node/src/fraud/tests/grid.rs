//! A square whose rows' and columns' trees commit to whatever its proposer likes, written from the formats alone.

use erasure::{Axis, CommittedSquare, Coordinates, DataRootParts};

type Digest = [u8; 32];
type Cell = [u8; 512];

/// A complete tree, leaves first.
struct Tree(Vec<Vec<Digest>>);

impl Tree {
    fn new(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while levels.last().unwrap().len() > 1 {
            let pairs = levels.last().unwrap().chunks(2);
            levels.push(pairs.map(|pair| *blake3::hash(&pair.concat()).as_bytes()).collect());
        }
        Self(levels)
    }

    fn root(&self) -> Digest {
        self.0.last().unwrap()[0]
    }

    fn path(&self, leaf: usize) -> Vec<u8> {
        let levels = self.0[..self.0.len() - 1].iter().enumerate();
        levels.flat_map(|(depth, level)| level[leaf >> depth ^ 1]).collect()
    }
}

/// Cells by place, as their rows commit to them and as their columns do.
pub(super) struct Cells {
    pub(super) by_row: Vec<Vec<Cell>>,
    pub(super) by_column: Vec<Vec<Cell>>,
}

pub(super) struct Grid {
    cells: Cells,
    parts: DataRootParts,
    rows: Vec<Tree>,
    columns: Vec<Tree>,
    axis: Tree,
}

impl Grid {
    /// A committed square with some of its cells changed, under the same index.
    pub(super) fn new(square: &CommittedSquare, change: impl FnOnce(&mut Cells)) -> Self {
        let n = square.width().extended();
        let row = |row| (0..n).map(|column| *square.cell(row, column).unwrap()).collect();
        let by_row: Vec<Vec<Cell>> = (0..n).map(row).collect();
        let mut cells = Cells { by_column: by_row.clone(), by_row };
        change(&mut cells);
        let leaf = |cell: &Cell| *blake3::hash(cell).as_bytes();
        let rows: Vec<_> = cells.by_row.iter().map(|row| Tree::new(row.iter().map(leaf).collect())).collect();
        let column =
            |column: usize| Tree::new(cells.by_column.iter().map(|row| leaf(&row[column])).collect());
        let columns: Vec<_> = (0..n).map(column).collect();
        let axis = Tree::new(rows.iter().chain(&columns).map(Tree::root).collect());
        let parts = DataRootParts { axis_root: axis.root(), ..square.parts() };
        Self { cells, parts, rows, columns, axis }
    }

    pub(super) fn data_root(&self) -> Digest {
        self.parts.data_root()
    }

    fn k(&self) -> u16 {
        self.parts.width.get() as u16
    }

    fn cell(&self, row: usize, column: usize, axis: Axis) -> &Cell {
        let by = if axis == Axis::Row { &self.cells.by_row } else { &self.cells.by_column };
        &by[row][column]
    }

    fn line_of(&self, axis: Axis, index: usize) -> (&Tree, Vec<u8>) {
        let (trees, before) =
            if axis == Axis::Row { (&self.rows, 0) } else { (&self.columns, self.rows.len()) };
        (&trees[index], self.axis.path(before + index))
    }

    pub(super) fn sample(&self, at: Coordinates) -> Option<Vec<u8>> {
        let (row, column) = (usize::from(at.row), usize::from(at.column));
        let (index, place) = if at.axis == Axis::Row { (row, column) } else { (column, row) };
        if index.max(place) >= self.rows.len() {
            return None;
        }
        let (tree, to_axis) = self.line_of(at.axis, index);
        Some(
            [
                &self.k().to_be_bytes()[..],
                &at.row.to_be_bytes(),
                &at.column.to_be_bytes(),
                &[u8::from(at.axis == Axis::Column)],
                &self.parts.index_root,
                self.cell(row, column, at.axis),
                &tree.path(place),
                &to_axis,
            ]
            .concat(),
        )
    }

    pub(super) fn line(&self, axis: Axis, index: usize) -> Option<Vec<u8>> {
        if index >= self.rows.len() {
            return None;
        }
        let cell = |place| match axis {
            Axis::Row => self.cell(index, place, axis),
            Axis::Column => self.cell(place, index, axis),
        };
        let cells: Vec<u8> =
            (0..usize::from(self.k())).flat_map(|place| cell(place).iter().copied()).collect();
        let (_, to_axis) = self.line_of(axis, index);
        let number = [u8::from(axis == Axis::Column)];
        let head = [&self.k().to_be_bytes()[..], &number, &(index as u16).to_be_bytes()].concat();
        Some([&head[..], &self.parts.index_root, &cells, &to_axis].concat())
    }
}
