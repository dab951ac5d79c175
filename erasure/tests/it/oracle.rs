//! The formats once more, as slowly and as literally as the design states them.
//!
//! A `Grid` may hold anything, and its column trees may commit to other cells than its row trees: it
//! is the prover of honest and of wrong blocks alike.

use erasure::{Axis, Coordinates, Digest, IndexEntry};
use sha3::{Digest as _, Keccak256};

pub(crate) type Bytes = Vec<u8>;

pub(crate) fn keccak(bytes: &[u8]) -> Digest {
    Keccak256::digest(bytes).into()
}

pub(crate) fn blake(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

/// RFC 6962's recursion.
pub(crate) fn tree(leaves: &[Digest], hash: &dyn Fn(Digest, Digest) -> Digest) -> Digest {
    if leaves.len() == 1 {
        return leaves[0];
    }
    let mut split = 1;
    while split * 2 < leaves.len() {
        split *= 2;
    }
    hash(tree(&leaves[..split], hash), tree(&leaves[split..], hash))
}

pub(crate) fn blake_tree(leaves: &[Digest]) -> Digest {
    tree(leaves, &|left, right| blake(&[left, right].concat()))
}

/// The siblings of one leaf of a complete tree, from the leaf up.
pub(crate) fn blake_path(leaves: &[Digest], index: usize) -> Vec<Digest> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = leaves.split_at(leaves.len() / 2);
    let (near, far, index) = match index.checked_sub(left.len()) {
        None => (left, right, index),
        Some(index) => (right, left, index),
    };
    let mut path = blake_path(near, index);
    path.push(blake_tree(far));
    path
}

/// The nodes of a complete tree that the leaves at these places do not give, bottom up.
pub(crate) fn blake_siblings(leaves: &[Digest], places: &[usize]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return vec![];
    }
    let missing = |i: &usize| !places.contains(i) && places.contains(&(i ^ 1));
    let here = (0..leaves.len()).filter(missing).map(|i| leaves[i]);
    let above: Vec<Digest> = leaves.chunks(2).map(|pair| blake(&pair.concat())).collect();
    let parents: Vec<usize> = places.iter().map(|place| place / 2).collect();
    here.chain(blake_siblings(&above, &parents)).collect()
}

pub(crate) fn entry_leaf(entry: &IndexEntry) -> Digest {
    keccak(&[vec![0], entry.encode()].concat())
}

pub(crate) fn entry_inner(left: Digest, right: Digest) -> Digest {
    keccak(&[&[1u8][..], &left, &right].concat())
}

pub(crate) fn index_root(entries: &[IndexEntry]) -> Digest {
    let leaves: Vec<Digest> = entries.iter().map(entry_leaf).collect();
    let root = tree(&leaves, &entry_inner);
    let count = (entries.len() as u32).to_be_bytes();
    keccak(&[b"weft/index/1", &count[..], &root].concat())
}

pub(crate) fn data_root(k: usize, axis_root: Digest, index_root: Digest) -> Digest {
    let k = (k as u32).to_be_bytes();
    keccak(&[b"weft/data-root/1", &k[..], &axis_root, &index_root, &[0; 32]].concat())
}

pub(crate) fn pad(bytes: &[u8]) -> Vec<Bytes> {
    let mut shares: Vec<Bytes> = bytes.chunks(512).map(<[u8]>::to_vec).collect();
    shares.iter_mut().for_each(|share| share.resize(512, 0));
    shares
}

pub(crate) fn blob_commitment(namespace: &[u8], bytes: &[u8]) -> Digest {
    let mut leaves: Vec<Digest> = pad(bytes).iter().map(|share| blake(share)).collect();
    while !leaves.len().is_power_of_two() {
        leaves.push(blake(&[0; 512]));
    }
    let len = (bytes.len() as u64).to_be_bytes();
    blake(&[b"weft/blob/1", namespace, &len, &blake_tree(&leaves)].concat())
}

/// The shares of a square: the transaction blob, then the blobs by namespace, then zeroes.
pub(crate) fn layout(transaction_list: &[u8], blobs: &[(Bytes, Bytes)]) -> (usize, Vec<Bytes>) {
    let length = (transaction_list.len() as u32).to_be_bytes();
    let mut shares = pad(&[&length, transaction_list].concat());
    let mut sorted: Vec<(&Bytes, usize, &Bytes)> =
        blobs.iter().enumerate().map(|(i, (namespace, bytes))| (namespace, i, bytes)).collect();
    sorted.sort();
    sorted.iter().for_each(|(_, _, bytes)| shares.extend(pad(bytes)));
    let mut k = 2;
    while k * k < shares.len() {
        k *= 2;
    }
    shares.resize(k * k, vec![0; 512]);
    (k, shares)
}

pub(crate) fn codeword(systematic: &[Bytes]) -> Vec<Bytes> {
    let k = systematic.len();
    let parity = reed_solomon_simd::encode(k, k, systematic).unwrap();
    systematic.iter().cloned().chain(parity).collect()
}

/// An extended square as its row trees and as its column trees commit to it, both `[row][column]`.
#[derive(Clone)]
pub(crate) struct Grid {
    pub(crate) k: usize,
    pub(crate) by_row: Vec<Vec<Bytes>>,
    pub(crate) by_column: Vec<Vec<Bytes>>,
}

impl Grid {
    pub(crate) fn extend(k: usize, shares: &[Bytes]) -> Self {
        let above: Vec<Vec<Bytes>> = shares.chunks(k).map(codeword).collect();
        let column = |j: usize| codeword(&above.iter().map(|row| row[j].clone()).collect::<Vec<_>>());
        let columns: Vec<Vec<Bytes>> = (0..2 * k).map(column).collect();
        let row = |i: usize| columns.iter().map(|column| column[i].clone()).collect();
        let cells: Vec<Vec<Bytes>> = (0..2 * k).map(row).collect();
        Self { k, by_row: cells.clone(), by_column: cells }
    }

    pub(crate) fn cell(&self, at: Coordinates) -> &Bytes {
        let grid = if at.axis == Axis::Row { &self.by_row } else { &self.by_column };
        &grid[usize::from(at.row)][usize::from(at.column)]
    }

    pub(crate) fn line(&self, axis: Axis, index: usize) -> Vec<Digest> {
        match axis {
            Axis::Row => self.by_row[index].iter().map(|cell| blake(cell)).collect(),
            Axis::Column => self.by_column.iter().map(|row| blake(&row[index])).collect(),
        }
    }

    pub(crate) fn line_roots(&self) -> Vec<Digest> {
        let roots = |axis| (0..2 * self.k).map(move |index| blake_tree(&self.line(axis, index)));
        roots(Axis::Row).chain(roots(Axis::Column)).collect()
    }

    pub(crate) fn axis_root(&self) -> Digest {
        blake_tree(&self.line_roots())
    }

    /// The documented encoding of several cells of a line.
    pub(crate) fn line_samples(
        &self,
        axis: Axis,
        index: usize,
        places: &[usize],
        index_root: Digest,
    ) -> Bytes {
        let number = u8::from(axis == Axis::Column);
        let short = |number: usize| (number as u16).to_be_bytes();
        let cell = |place: &usize| {
            let (row, column) = if axis == Axis::Row { (index, *place) } else { (*place, index) };
            self.cell(Coordinates { row: row as u16, column: column as u16, axis }).clone()
        };
        [
            [&short(self.k)[..], &[number], &short(index), &short(places.len())].concat(),
            places.iter().flat_map(|place| short(*place)).collect(),
            index_root.to_vec(),
            places.iter().flat_map(cell).collect(),
            blake_siblings(&self.line(axis, index), places).concat(),
            blake_path(&self.line_roots(), index + usize::from(number) * 2 * self.k).concat(),
        ]
        .concat()
    }

    /// A sample's documented encoding.
    pub(crate) fn sample(&self, at: Coordinates, index_root: Digest) -> Bytes {
        let (row, column) = (usize::from(at.row), usize::from(at.column));
        let (axis, line, place) = match at.axis {
            Axis::Row => (0, row, column),
            Axis::Column => (1, column, row),
        };
        let leaf_of_axis = line + usize::from(axis) * 2 * self.k;
        let mut bytes = (self.k as u16).to_be_bytes().to_vec();
        bytes.extend(at.row.to_be_bytes());
        bytes.extend(at.column.to_be_bytes());
        bytes.push(axis);
        bytes.extend(index_root);
        bytes.extend(self.cell(at));
        bytes.extend(blake_path(&self.line(at.axis, line), place).concat());
        bytes.extend(blake_path(&self.line_roots(), leaf_of_axis).concat());
        bytes
    }
}
