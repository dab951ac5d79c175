//! Bad encoding: k cells of a line, each proven through either of its lines, encode to another root than
//! the line's.
//!
//! ```text
//! k: u16 ‖ axis: u8 ‖ index: u16 ‖ index_root
//! ‖ k × (place: u16 ‖ axis: u8 ‖ cell)              ascending by place; the axis whose line proves the cell
//! ‖ hashes to the line's root ‖ k' × log₂ 2k hashes to the crossing lines' roots ‖ hashes to the axis root
//! ```
//!
//! k' of the cells are proven by the line that crosses there, the others by the line itself; these share
//! their path, and so do all lines concerned theirs to the axis root. How many hashes there are follows
//! from the places and axes.
//!
//! Requiring crossing lines only would leave a hole: with junk placed under rows and columns in turn, each
//! line can be short of one cell that is not junk.

use super::{
    FraudError, FraudKind,
    tree::{Known, climb, gaps, root},
};
use crate::{
    Axis, Cell, DataRootParts, DecodeError, Digest, LineRoot, ProofError, SHARE_BYTES, Sample, Width,
    code::Decoder,
    commitment::{inner, leaf},
    proof::extend,
    tree,
    wire::{Reader, bound},
};

/// A cell of the line accused.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    place: u16,
    axis: Axis,
    cell: Cell,
}

/// k cells of a line that is no codeword.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadEncoding {
    width: Width,
    axis: Axis,
    index: u16,
    index_root: Digest,
    cells: Vec<Held>,
    line_hashes: Vec<Digest>,
    crossing_paths: Vec<Digest>,
    axis_hashes: Vec<Digest>,
}

impl BadEncoding {
    /// From a line's root and k verified samples on the line, ascending by their place on it, each by
    /// either axis; none when they are not that.
    #[must_use]
    pub fn new(line: &LineRoot, samples: &[Sample]) -> Option<Self> {
        let (width, index_root) = samples.first().map(|sample| (sample.width, sample.index_root))?;
        let mut in_line = Known::of_root(width.extended(), line.root);
        let mut in_axis = Known::default();
        in_axis.learn(line.axis.leaf(width, line.index.into())?, line.root, &line.path);
        let (mut cells, mut crossing_paths) = (Vec::new(), Vec::new());
        for Sample { coordinates: at, cell, line_path, axis_path, .. } in samples {
            let place = match line.axis {
                Axis::Row if at.row == line.index => at.column,
                Axis::Column if at.column == line.index => at.row,
                _ => return None,
            };
            let leaf = leaf(cell);
            if at.axis == line.axis {
                in_line.learn(place.into(), leaf, line_path);
            } else {
                let root = climb(at.place(), leaf, line_path);
                in_axis.learn(at.axis.leaf(width, at.line())?, root, axis_path);
                crossing_paths.extend_from_slice(line_path);
            }
            cells.push(Held { place, axis: at.axis, cell: *cell });
        }
        let (axis, index) = (line.axis, line.index);
        let [line_hashes, axis_hashes] = [const { Vec::new() }; 2];
        let mut proof =
            Self { width, axis, index, index_root, cells, line_hashes, crossing_paths, axis_hashes };
        proof.line_hashes = in_line.prove(width.extended(), &proof.own())?;
        proof.axis_hashes = in_axis.prove(2 * width.extended(), &proof.lines()?)?;
        (proof.cells.len() == width.get() && proof.ascends()).then_some(proof)
    }

    /// The line accused.
    #[must_use]
    pub const fn line(&self) -> (Axis, u16) {
        (self.axis, self.index)
    }

    /// Places of the cells that the line itself proves.
    fn own(&self) -> Vec<usize> {
        self.cells.iter().filter(|held| held.axis == self.axis).map(|held| held.place.into()).collect()
    }

    /// The cells that crossing lines prove.
    fn crossing(&self) -> impl Iterator<Item = &Held> {
        self.cells.iter().filter(|held| held.axis != self.axis)
    }

    /// Leaves of the axis tree that hold the roots of all lines concerned, ascending.
    fn lines(&self) -> Option<Vec<usize>> {
        let crossing = self.crossing().map(|held| held.axis.leaf(self.width, held.place.into()));
        let mut lines: Vec<usize> = crossing.collect::<Option<_>>()?;
        let line = self.axis.leaf(self.width, self.index.into())?;
        lines.insert(if self.axis == Axis::Row { 0 } else { lines.len() }, line);
        Some(lines)
    }

    fn ascends(&self) -> bool {
        self.cells.is_sorted_by(|a, b| a.place < b.place)
    }

    /// The line's root and the axis root.
    fn roots(&self) -> Option<(Digest, Digest)> {
        let (n, index) = (self.width.extended(), usize::from(self.index));
        let own: Vec<Digest> =
            self.cells.iter().filter(|held| held.axis == self.axis).map(|held| leaf(&held.cell)).collect();
        let line = root(n, &self.own(), &own, &self.line_hashes)?;
        let paths = self.crossing_paths.chunks_exact(n.ilog2() as usize);
        let mut roots: Vec<Digest> =
            self.crossing().zip(paths).map(|(held, path)| climb(index, leaf(&held.cell), path)).collect();
        roots.insert(if self.axis == Axis::Row { 0 } else { roots.len() }, line);
        Some((line, root(2 * n, &self.lines()?, &roots, &self.axis_hashes)?))
    }

    pub(super) fn check(&self, data_root: &Digest) -> Result<(), FraudError> {
        let (line_root, axis_root) = self.roots().ok_or(ProofError::Shape)?;
        let (width, index_root) = (self.width, self.index_root);
        ProofError::unless_equal(data_root, DataRootParts { width, axis_root, index_root }.data_root())?;
        let mut line = vec![[0; SHARE_BYTES]; width.extended()];
        let mut known = vec![false; width.extended()];
        for Held { place, cell, .. } in &self.cells {
            line[usize::from(*place)] = *cell;
            known[usize::from(*place)] = true;
        }
        Decoder::new(width).restore(&mut line, &known);
        let mut leaves: Vec<Digest> = line.iter().map(leaf).collect();
        FraudError::unless_founded(FraudKind::BadEncoding, tree::root(&mut leaves, inner) != line_root)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.width.as_u16().to_be_bytes());
        out.push(self.axis.number());
        out.extend(self.index.to_be_bytes());
        out.extend(self.index_root);
        for Held { place, axis, cell } in &self.cells {
            out.extend(place.to_be_bytes());
            out.push(axis.number());
            out.extend(cell);
        }
        extend(out, &self.line_hashes);
        extend(out, &self.crossing_paths);
        extend(out, &self.axis_hashes);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (width, axis, index) = (reader.width()?, Axis::read(reader)?, reader.u16()?);
        let n = width.extended();
        bound("line", index.into(), 0, n as u64 - 1)?;
        let (index_root, mut cells) = (reader.array()?, Vec::new());
        let mut least = 0;
        for _ in 0..width.get() {
            let place = reader.u16()?;
            bound("place", place.into(), least, n as u64 - 1)?;
            least = u64::from(place) + 1;
            cells.push(Held { place, axis: Axis::read(reader)?, cell: reader.array()? });
        }
        let [line_hashes, crossing_paths, axis_hashes] = [const { Vec::new() }; 3];
        let mut proof =
            Self { width, axis, index, index_root, cells, line_hashes, crossing_paths, axis_hashes };
        proof.line_hashes = reader.digests(gaps(n, &proof.own()).len())?;
        proof.crossing_paths = reader.digests(proof.crossing().count() * n.ilog2() as usize)?;
        let lines = proof.lines().unwrap_or_default();
        proof.axis_hashes = reader.digests(gaps(2 * n, &lines).len())?;
        Ok(proof)
    }
}
