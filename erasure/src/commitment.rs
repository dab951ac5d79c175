//! What commits to what.
//!
//! ```text
//! leaf(cell)       BLAKE3(512 bytes)
//! inner            BLAKE3(left ‖ right)           the lengths, 512 and 64, keep leaf and inner apart
//! line root        complete tree over a line's 2k leaves
//! axis_root        complete tree over row_0 … row_2k-1, col_0 … col_2k-1
//! index_root       keccak256("weft/index/1" ‖ count: u32 BE ‖ root), root in RFC 6962's shape,
//!                  leaf keccak256(0x00 ‖ entry), inner keccak256(0x01 ‖ left ‖ right)
//! data_root        keccak256("weft/data-root/1" ‖ k: u32 BE ‖ axis_root ‖ index_root ‖ 32 zero bytes)
//! blob commitment  BLAKE3("weft/blob/1" ‖ namespace ‖ len: u64 BE ‖ shares_root)
//! shares_root      complete tree over the blob's leaves, padded with the zero share's leaf
//! ```

use sha3::{Digest as _, Keccak256};

use crate::{
    Axis, Cell, Namespace, SHARE_BYTES, Width, many, tree,
    wire::{DecodeError, Reader, encoding},
};

/// A 32-byte hash.
pub type Digest = [u8; 32];

const INDEX_DOMAIN: &[u8] = b"weft/index/1";
const DATA_ROOT_DOMAIN: &[u8] = b"weft/data-root/1";
const BLOB_DOMAIN: &[u8] = b"weft/blob/1";
const ENTRY_LEAF: u8 = 0;
const ENTRY_INNER: u8 = 1;

/// Kept for a commitment that lets a single cell prove its encoding.
const RESERVED: Digest = [0; 32];

pub(crate) fn leaf(cell: &Cell) -> Digest {
    *blake3::hash(cell).as_bytes()
}

pub(crate) fn inner(left: &Digest, right: &Digest) -> Digest {
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(left);
    pair[32..].copy_from_slice(right);
    *blake3::hash(&pair).as_bytes()
}

fn keccak(parts: &[&[u8]]) -> Digest {
    let mut hasher = Keccak256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

pub(crate) fn entry_leaf(entry: &[u8]) -> Digest {
    keccak(&[&[ENTRY_LEAF], entry])
}

pub(crate) fn entry_inner(left: &Digest, right: &Digest) -> Digest {
    keccak(&[&[ENTRY_INNER], left, right])
}

pub(crate) fn index_root(count: u32, root: &Digest) -> Digest {
    keccak(&[INDEX_DOMAIN, &count.to_be_bytes(), root])
}

/// The commitment to a blob under its namespace, as its index entry holds it.
#[must_use]
pub fn blob_commitment(namespace: &Namespace, bytes: &[u8]) -> Digest {
    let (whole, tail) = bytes.as_chunks::<SHARE_BYTES>();
    let mut leaves = vec![[0; 32]; whole.len()];
    many::leaves(whole, &mut leaves);
    if !tail.is_empty() {
        let mut last = [0; SHARE_BYTES];
        last[..tail.len()].copy_from_slice(tail);
        leaves.push(leaf(&last));
    }
    blob_commitment_of_leaves(namespace, bytes.len() as u64, leaves)
}

/// The same from the digests of the blob's shares.
pub(crate) fn blob_commitment_of_leaves(namespace: &Namespace, len: u64, mut leaves: Vec<Digest>) -> Digest {
    leaves.resize(leaves.len().next_power_of_two(), leaf(&[0; SHARE_BYTES]));
    let shares_root = many::root(leaves);
    let mut hasher = blake3::Hasher::new();
    hasher.update(BLOB_DOMAIN).update(namespace.as_bytes());
    hasher.update(&len.to_be_bytes()).update(&shares_root);
    *hasher.finalize().as_bytes()
}

/// What the data root is the hash of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataRootParts {
    /// The original square's width.
    pub width: Width,
    /// Root of the tree over all line roots.
    pub axis_root: Digest,
    /// Commitment to the index.
    pub index_root: Digest,
}

impl DataRootParts {
    /// The commitment to all of the block's data.
    #[must_use]
    pub fn data_root(&self) -> Digest {
        let k = u32::from(self.width.as_u16()).to_be_bytes();
        keccak(&[DATA_ROOT_DOMAIN, &k, &self.axis_root, &self.index_root, &RESERVED])
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.width.as_u16().to_be_bytes());
        out.extend(self.axis_root);
        out.extend(self.index_root);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (width, axis_root) = (reader.width()?, reader.array()?);
        Ok(Self { width, axis_root, index_root: reader.array()? })
    }
}
encoding!(DataRootParts);

/// The axis root that a line's root and its path lead to; none when the path has another shape.
pub(crate) fn axis_root_of_line(
    width: Width,
    axis: Axis,
    index: usize,
    line_root: Digest,
    path: &[Digest],
) -> Option<Digest> {
    let place = axis.leaf(width, index)?;
    tree::root_of_range(inner, 2 * width.extended(), place, vec![line_root], path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_differ_and_none_starts_another() {
        let domains = [INDEX_DOMAIN, DATA_ROOT_DOMAIN, BLOB_DOMAIN];
        for (i, a) in domains.iter().enumerate() {
            assert!(domains.iter().skip(i + 1).all(|b| !a.starts_with(b) && !b.starts_with(a)));
        }
        assert_ne!(ENTRY_LEAF, ENTRY_INNER);
    }

    #[test]
    fn blob_commitments_bind_namespace_length_and_bytes() {
        let namespace = Namespace::from_user_id([1; 10]);
        let other = Namespace::from_user_id([2; 10]);
        let commitment = blob_commitment(&namespace, &[7; 1025]);
        assert_ne!(commitment, blob_commitment(&other, &[7; 1025]));
        assert_ne!(commitment, blob_commitment(&namespace, &[7; 1024]));
        assert_ne!(blob_commitment(&namespace, &[0; 5]), blob_commitment(&namespace, &[0; 6]));
        let mut changed = [7; 1025];
        changed[1024] = 8;
        assert_ne!(commitment, blob_commitment(&namespace, &changed));
    }
}
