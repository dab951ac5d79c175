//! What is known of a square's trees: enough to prove every cell held through the line it came by.
//!
//! A tree is a heap: level by level from the root at 1, the children of node i at 2 i and 2 i + 1. A node
//! that is not known is zero, which no BLAKE3 output is known to be. Everything known was checked against
//! one data root, so whatever is learned twice is the same.

use crate::{
    Digest, LineSamples, Sample, Width,
    commitment::{inner, leaf},
    many,
    tree::{root_of_range, siblings_of_places},
};

const UNKNOWN: Digest = [0; 32];

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Paths {
    width: Width,
    /// The tree over all line roots.
    axis: Vec<Digest>,
    /// The lines' trees, as the axis tree orders them; empty until something is known.
    lines: Vec<Vec<Digest>>,
}

impl Paths {
    pub(super) fn new(width: Width) -> Self {
        let lines = 2 * width.extended();
        Self { width, axis: vec![UNKNOWN; 2 * lines], lines: vec![Vec::new(); lines] }
    }

    /// Forgets all roots. What is left in the lines' trees is never asked for: only a line that a cell was
    /// learned by is, and then along that cell's path.
    pub(super) fn forget(&mut self) {
        self.axis.fill(UNKNOWN);
    }

    /// Adds what a sample that was verified, and so lies in the square, tells about its line.
    pub(super) fn learn(&mut self, sample: &Sample) {
        let (n, at) = (self.width.extended(), sample.coordinates);
        let (place, Some(line)) = (at.place(), at.axis.leaf(self.width, at.line())) else { return };
        if self.root(line).is_none() {
            let leaf = vec![leaf(&sample.cell)];
            if let Some(root) = root_of_range(inner, n, place, leaf, &sample.line_path) {
                self.learn_root(line, root, &sample.axis_path);
            }
        }
        let tree = &mut self.lines[line];
        tree.resize(2 * n, UNKNOWN);
        learn_path(tree, place, &sample.line_path);
    }

    /// Adds what samples of a line that were verified together tell about it.
    pub(super) fn learn_together(&mut self, samples: &LineSamples) {
        let (n, (axis, index)) = (self.width.extended(), samples.line());
        let Some(line) = axis.leaf(self.width, index) else { return };
        let (tree, places) =
            (&mut self.lines[line], samples.places().iter().map(|place| usize::from(*place)));
        tree.resize(2 * n, UNKNOWN);
        places.clone().zip(samples.cells()).for_each(|(place, cell)| tree[n + place] = leaf(cell));
        let siblings = siblings_of_places(n, places.clone()).into_iter().zip(samples.siblings());
        siblings.for_each(|((level, index), sibling)| tree[(n >> level) + index] = *sibling);
        let mut nodes: Vec<usize> = places.map(|place| n + place).collect();
        while nodes.first().is_some_and(|node| *node > 1) {
            nodes.iter_mut().for_each(|node| *node /= 2);
            nodes.dedup();
            nodes.iter().for_each(|node| tree[*node] = inner(&tree[2 * node], &tree[2 * node + 1]));
        }
        let root = tree[1];
        self.learn_root(line, root, samples.axis_path());
    }

    /// Adds a line's root with its path.
    pub(super) fn learn_root(&mut self, line: usize, root: Digest, path: &[Digest]) {
        let lines = self.lines.len();
        self.axis[lines + line] = root;
        learn_path(&mut self.axis, line, path);
    }

    /// Adds all of a line's tree; gives the buffer back with what it held before.
    pub(super) fn learn_tree(&mut self, line: usize, tree: &mut Vec<Digest>) {
        std::mem::swap(&mut self.lines[line], tree);
    }

    /// A line's root, with its path, if it is known.
    pub(super) fn root(&self, line: usize) -> Option<Digest> {
        let root = self.axis[self.lines.len() + line];
        (root != UNKNOWN).then_some(root)
    }

    /// The path of a line whose root is known.
    pub(super) fn of_line(&self, line: usize) -> Vec<Digest> {
        path(&self.axis, line)
    }

    /// The path of a cell that was learned through this line, in its tree.
    pub(super) fn of_cell(&self, line: usize, place: usize) -> Vec<Digest> {
        path(&self.lines[line], place)
    }
}

fn learn_path(tree: &mut [Digest], place: usize, path: &[Digest]) {
    let mut node = tree.len() / 2 + place;
    for sibling in path {
        tree[node ^ 1] = *sibling;
        node /= 2;
    }
}

fn path(tree: &[Digest], place: usize) -> Vec<Digest> {
    let leaf = tree.len() / 2 + place;
    (0..).map(|level| leaf >> level).take_while(|node| *node > 1).map(|node| tree[node ^ 1]).collect()
}

/// The tree over leaves that are in their places already; its root is at 1.
pub(super) fn complete(tree: &mut [Digest]) {
    let mut level = tree.len() / 2;
    while level > 1 {
        let (above, nodes) = tree.split_at_mut(level);
        many::parents(&nodes[..level], &mut above[level / 2..]);
        level /= 2;
    }
}
