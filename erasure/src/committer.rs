//! Extension and commitment of whole squares, line by line while a line is in cache.
//!
//! ```text
//! rows of shares       copy ─▶ encode ─▶ leaves of their 2k cells ─▶ their trees
//! columns              encode ─▶ leaves of their k new cells ─▶ their trees
//! rows of new cells    their trees
//! ```
//!
//! Each step is split into parts, of rows or of columns, that threads take as they come free ([`Step`]); all
//! go on to the next step once every part of the one before is done. A part takes a few lines at a time.
//! Their trees are reduced to [`TOP`] nodes each: below that, lanes of [`many`] would run empty, so the tops
//! of all lines are reduced together. What is computed does not depend on the number of threads.

mod step;

use std::{collections::HashMap, fmt, iter, mem, num::NonZeroUsize, thread};

use crate::{
    Cell, CommittedSquare, Digest, Index, OriginalSquare, Width,
    code::{Encoder, Line},
    many,
    simd::{Cells, Stream, prefetch},
    square::{ExtendedSquare, stride},
    tree::Tree,
};
use step::{Step, soon};

/// Lines that are done together. Four columns' digests fill two cache lines of each row.
const LINES: usize = 4;

/// Cells that are hashed, then written, at a time: as many as there are lanes. While they are hashed,
/// those before are on their way to memory, and those of the next line on their way from it.
const BATCH: usize = 16;

/// Nodes that a line's tree is reduced to by itself: as many as a line of the narrowest square has, and
/// sixteen lanes' worth for all lines that are done together.
const TOP: usize = 4;

/// Parts of rows and of columns for each thread, where there are several: a thread that starts late or is
/// interrupted leaves its share to the others. The first column of a part comes from memory unasked for, so there
/// are fewer.
const ROW_PARTS: usize = 4;
const COLUMN_PARTS: usize = 2;

/// Extends and commits squares on a fixed number of threads, keeping buffers from one to the next.
///
/// A [`CommittedSquare`] holds 4.25 bytes for each byte of the original square (four of cells, a quarter
/// of digests), and 256 · k for the tree over its lines. A committer holds as much again for each width of
/// which a square was given back to it; beside that 512 · k bytes and, for each thread, 1,024 · k.
pub struct Committer {
    threads: NonZeroUsize,
    workers: Vec<Worker>,
    kept: HashMap<Width, (Cells, Vec<Digest>)>,
    tops: Vec<Digest>,
}

impl Committer {
    /// A committer that works on this many threads, the caller's among them.
    #[must_use]
    pub fn new(threads: NonZeroUsize) -> Self {
        Self { threads, workers: Vec::new(), kept: HashMap::new(), tops: Vec::new() }
    }

    /// Extends the square and computes its commitments; equal to [`OriginalSquare::commit`].
    #[must_use]
    pub fn commit(&mut self, original: &OriginalSquare, index: Index) -> CommittedSquare {
        let width = original.width();
        CommittedSquare::new(self.extend(width, original.shares(), width.get()), index)
    }

    /// Takes back the buffers of a square that is no longer needed, for the next of the same width.
    pub fn recycle(&mut self, square: CommittedSquare) {
        self.kept.insert(square.width(), square.into_buffers());
    }

    /// The square of these shares; a row of them starts every `row` cells.
    pub(crate) fn extend(&mut self, width: Width, shares: &[Cell], row: usize) -> ExtendedSquare {
        let (k, n, stride) = (width.get(), width.extended(), stride(width));
        let threads = self.threads.get().min(n / LINES);
        self.workers.retain(|worker| worker.encoder.width() == width);
        self.workers.resize_with(threads, || Worker::new(width));
        self.tops.resize(2 * n * TOP, [0; 32]);
        let kept = self.kept.remove(&width);
        let (mut cells, mut digests) =
            kept.unwrap_or_else(|| (Cells::new(n * stride), vec![[0; 32]; n * stride]));
        let (upper, lower) = cells.split_at_mut(k * stride);
        let (upper_digests, lower_digests) = digests.split_at_mut(k * stride);
        let (row_tops, column_tops) = self.tops.split_at_mut(n * TOP);
        let (upper_tops, lower_tops) = row_tops.split_at_mut(k * TOP);

        let parts = |each| if threads == 1 { 1 } else { threads * each };
        let rows = k.div_ceil(parts(ROW_PARTS)).next_multiple_of(LINES);
        let columns = (n / LINES).div_ceil(parts(COLUMN_PARTS)) * LINES;
        let from = shares.chunks(rows * row).zip(upper.chunks_mut(rows * stride));
        let from = from.zip(upper_digests.chunks_mut(rows * stride)).zip(upper_tops.chunks_mut(rows * TOP));
        let upper_rows = Step::new(k.div_ceil(rows), from);
        let lower = split_columns(lower, width, columns);
        let from = lower.into_iter().zip(split_columns(lower_digests, width, columns));
        let all_columns = Step::new(n.div_ceil(columns), from.zip(column_tops.chunks_mut(columns * TOP)));
        let lower_rows = Step::new(k.div_ceil(rows), lower_tops.chunks_mut(rows * TOP));

        let work = |worker: &mut Worker| {
            upper_rows.work(|_, (((shares, cells), digests), tops)| {
                worker.rows(shares.chunks_exact(row), cells, digests, tops);
                (&*cells, &*digests)
            });
            let upper = upper_rows.results().flat_map(|(cells, digests)| {
                let rows = cells.chunks_exact(stride).zip(digests.chunks_exact(stride));
                rows.map(|(cells, digests)| Row { cells, digests })
            });
            let upper: Vec<Row<'_>> = upper.collect();
            all_columns.work(|part, ((mut cells, mut digests), tops)| {
                worker.columns(part * columns, &upper, &mut cells, &mut digests, tops);
                digests.into_iter().map(|row| &*row).collect::<Vec<_>>()
            });
            let lower: Vec<_> = all_columns.results().collect();
            lower_rows.work(|part, tops| {
                worker.row_trees(tops, |i| lower.iter().map(move |pieces| pieces[part * rows + i]));
            });
        };
        let (mut workers, work) = (self.workers.iter_mut(), &work);
        let own = workers.next();
        thread::scope(|scope| {
            // A thread that the system refuses leaves its share to the others.
            let start = |worker| thread::Builder::new().spawn_scoped(scope, move || work(worker)).ok();
            let others: Vec<_> = workers.filter_map(start).collect();
            own.into_iter().for_each(work);
            // The scope sleeps for those that have not ended.
            for other in &others {
                let _ = soon(|| other.is_finished().then_some(()));
            }
        });

        let mut roots = vec![[0; 32]; 2 * n];
        reduce(&self.tops, &mut roots, &mut self.workers[0].nodes);
        ExtendedSquare::new(width, cells, digests, Tree::complete(roots))
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Committer");
        debug.field("threads", &self.threads).field("kept", &self.kept.keys()).finish_non_exhaustive()
    }
}

/// Rows of 2k, cut into parts of so many columns.
fn split_columns<T>(rows: &mut [T], width: Width, columns: usize) -> Vec<Vec<&mut [T]>> {
    let n = width.extended();
    let mut parts: Vec<Vec<&mut [T]>> = (0..n.div_ceil(columns)).map(|_| Vec::new()).collect();
    for row in rows.chunks_exact_mut(stride(width)) {
        parts.iter_mut().zip(row[..n].chunks_mut(columns)).for_each(|(part, row)| part.push(row));
    }
    parts
}

/// Replaces lines' nodes by fewer ones, level by level: every line has as many, a power of two.
fn reduce(nodes: &[Digest], out: &mut [Digest], levels: &mut [Vec<Digest>; 2]) {
    let [level, next] = levels;
    let mut size = nodes.len() / 2;
    if size <= out.len() {
        return if size == out.len() { many::parents(nodes, out) } else { out.copy_from_slice(nodes) };
    }
    level.resize(level.len().max(size), [0; 32]);
    next.resize(next.len().max(size), [0; 32]);
    many::parents(nodes, &mut level[..size]);
    while size > 2 * out.len() {
        many::parents(&level[..size], &mut next[..size / 2]);
        mem::swap(level, next);
        size /= 2;
    }
    many::parents(&level[..size], out);
}

/// What a thread needs for itself.
struct Worker {
    encoder: Encoder,
    /// The new cells of the column at work.
    parity: Cells,
    /// The leaves of the lines at work, one line after the other.
    leaves: Vec<Digest>,
    nodes: [Vec<Digest>; 2],
}

impl Worker {
    fn new(width: Width) -> Self {
        let parity = Cells::new(width.get());
        let leaves = vec![[0; 32]; LINES * width.extended()];
        Self { encoder: Encoder::new(width), parity, leaves, nodes: Default::default() }
    }

    /// Rows of the upper half, from their shares.
    fn rows<'a>(
        &mut self,
        shares: impl Iterator<Item = &'a [Cell]>,
        cells: &mut [Cell],
        digests: &mut [Digest],
        tops: &mut [Digest],
    ) {
        let width = self.encoder.width();
        let (k, n, stride) = (width.get(), width.extended(), stride(width));
        let rows = shares.map(|row| &row[..k]).zip(cells.chunks_exact_mut(stride));
        let (mut stream, batch) = (Stream::new(), BATCH.min(k));
        for ((shares, cells), digests) in rows.zip(digests.chunks_exact_mut(stride)) {
            self.encoder.encode(&shares, &mut &mut *self.parity);
            for (at, digests) in (0..n).step_by(batch).zip(digests[..n].chunks_mut(batch)) {
                let half = if at < k { shares } else { &self.parity };
                let from = &half[at % k..][..digests.len()];
                many::leaves(from, digests);
                cells[at..].iter_mut().zip(from).for_each(|(to, from)| stream.copy(to, from));
            }
        }
        self.row_trees(tops, |i| iter::once(&digests[i * stride..][..n]));
    }

    /// The tops of rows' trees; `row` gives the leaves of one, in pieces.
    fn row_trees<'a, P: Iterator<Item = &'a [Digest]>>(
        &mut self,
        tops: &mut [Digest],
        row: impl Fn(usize) -> P,
    ) {
        let n = self.encoder.width().extended();
        for (group, tops) in tops.chunks_mut(LINES * TOP).enumerate() {
            let leaves = &mut self.leaves[..tops.len() / TOP * n];
            for (i, leaves) in leaves.chunks_exact_mut(n).enumerate() {
                let mut at = 0;
                for piece in row(group * LINES + i) {
                    leaves[at..at + piece.len()].copy_from_slice(piece);
                    at += piece.len();
                }
            }
            reduce(leaves, tops, &mut self.nodes);
        }
    }

    /// The lower half of columns, from the upper: those from `first` on, `lower` holding theirs only.
    fn columns(
        &mut self,
        first: usize,
        upper: &[Row<'_>],
        lower: &mut [&mut [Cell]],
        digests: &mut [&mut [Digest]],
        tops: &mut [Digest],
    ) {
        let width = self.encoder.width();
        let (k, n) = (width.get(), width.extended());
        let mut stream = Stream::new();
        for (group, tops) in tops.chunks_exact_mut(LINES * TOP).enumerate() {
            let here = group * LINES..(group + 1) * LINES;
            for (column, leaves) in here.clone().zip(self.leaves.chunks_exact_mut(n)) {
                let source = Column { rows: upper, column: first + column };
                let next = Column { rows: upper, column: (first + column + 1) % n };
                self.encoder.encode(&source, &mut &mut *self.parity);
                for (at, leaves) in (0..k).step_by(BATCH).zip(leaves[k..].chunks_mut(BATCH)) {
                    let from = &self.parity[at..][..leaves.len()];
                    (at..at + from.len()).for_each(|row| prefetch(next.cell(row)));
                    many::leaves(from, leaves);
                    lower[at..]
                        .iter_mut()
                        .zip(from)
                        .for_each(|(row, from)| stream.copy(&mut row[column], from));
                }
            }
            for (i, digests) in digests.iter_mut().enumerate() {
                let above = &upper[i].digests[first..][here.clone()];
                let leaves = self.leaves.chunks_exact_mut(n);
                for ((leaves, above), below) in leaves.zip(above).zip(&mut digests[here.clone()]) {
                    leaves[i] = *above;
                    *below = leaves[k + i];
                }
            }
            reduce(&self.leaves, tops, &mut self.nodes);
        }
    }
}

/// A row of the upper half that is done.
struct Row<'a> {
    cells: &'a [Cell],
    digests: &'a [Digest],
}

/// A column of the upper half.
struct Column<'a> {
    rows: &'a [Row<'a>],
    column: usize,
}

impl Line for Column<'_> {
    fn cell(&self, i: usize) -> &Cell {
        &self.rows[i].cells[self.column]
    }
}
