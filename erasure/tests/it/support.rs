//! Blocks to test on.

use erasure::{
    Axis, BlobMeta, CommittedSquare, Coordinates, ForeignCommitment, ForeignKind, Index, Namespace,
    OriginalSquare, Placement, Width, blob_commitment, keccak256, sha256, transaction_blob,
};

/// What a block is made of: its transaction list, and (last byte of the user id, bytes) of each blob.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) list: Vec<u8>,
    pub(crate) blobs: Vec<(u8, Vec<u8>)>,
}

pub(crate) fn namespace(id: u8) -> Namespace {
    Namespace::from_user_id([0, 0, 0, 0, 0, 0, 0, 0, 0, id])
}

pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn meta(id: u8, bytes: &[u8]) -> BlobMeta {
    BlobMeta {
        namespace: namespace(id),
        commitment: blob_commitment(&namespace(id), bytes),
        len: bytes.len() as u64,
        signer: [id; 20],
        foreign: vec![
            ForeignCommitment { kind: ForeignKind::Keccak256, value: keccak256(bytes) },
            ForeignCommitment { kind: ForeignKind::Sha256, value: sha256(bytes) },
        ],
    }
}

impl Block {
    /// Nine shares in five entries, in a square of width 4: namespaces 10, 20, 20 and 30, not given
    /// in that order.
    pub(crate) fn small() -> Self {
        let sizes = [(30, 512), (20, 1300), (10, 1), (20, 700)];
        let blobs = sizes.iter().map(|(id, len)| (*id, noise(*len, (*len as u64) << 8 | 7)));
        Self { list: noise(300, 1), blobs: blobs.collect() }
    }

    /// A square of this width, all but full.
    pub(crate) fn of_width(k: usize) -> Self {
        let len = if k == 2 { 3 * 512 - 5 } else { (k * k - 3) * 512 - 5 };
        Self { list: noise(300, 2), blobs: vec![(9, noise(len, k as u64))] }
    }

    pub(crate) fn place(&self) -> Placement {
        let metas = self.blobs.iter().map(|(id, bytes)| meta(*id, bytes)).collect();
        Index::place(&transaction_blob(&self.list), metas, Width::MAX).unwrap()
    }

    pub(crate) fn original(&self) -> OriginalSquare {
        let placement = self.place();
        let blobs: Vec<&[u8]> = placement.order.iter().map(|i| self.blobs[*i].1.as_slice()).collect();
        OriginalSquare::build(&placement, &transaction_blob(&self.list), &blobs).unwrap()
    }

    pub(crate) fn commit(&self) -> CommittedSquare {
        self.original().commit(self.place().index)
    }
}

pub(crate) fn at(row: usize, column: usize, axis: Axis) -> Coordinates {
    Coordinates { row: row as u16, column: column as u16, axis }
}

/// Every place of an extended square, through both axes.
pub(crate) fn everywhere(width: Width) -> impl Iterator<Item = Coordinates> {
    let n = width.extended();
    (0..n * n).flat_map(move |i| [Axis::Row, Axis::Column].map(|axis| at(i / n, i % n, axis)))
}

/// Flips one of these bits of `bytes` after the other: none may pass the check.
pub(crate) fn none_survives(
    name: &str,
    bytes: &[u8],
    bits: impl IntoIterator<Item = usize>,
    passes: impl Fn(&[u8]) -> bool,
) {
    let mut flipped = bytes.to_vec();
    for bit in bits {
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!passes(&flipped), "{name}: bit {bit}");
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}
