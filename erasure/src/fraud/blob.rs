//! A blob that is not what its entry says.
//!
//! ```text
//! misplaced blob:  entry proof ‖ a digest for each share ‖ hashes for each row ‖ hashes to the axis root
//! false foreign:   entry proof ‖ kind: u8 ‖ [opened: u8 ‖ opening, for kind 3] ‖ the blob's bytes
//! opening:         chunk: u8 ‖ KZG commitment: 48 ‖ proof: 48
//! ```
//!
//! How many there are of each follows from the entry. A KZG commitment cannot be computed from the bytes
//! without a curve: the proof brings the right one, opened. None is needed where a blob has the wrong
//! number of chunks for its commitments, or a chunk that is no list of field elements.

use super::{FraudError, FraudKind, FraudRules};
use crate::{
    Axis, CommittedSquare, DataRootParts, DecodeError, Digest, EntryProof, ForeignKind, IndexEntry,
    ProofError, Width,
    commitment::{blob_commitment_of_leaves, inner},
    foreign::eip4844_versioned_hash,
    proof::extend,
    square::share_rows,
    tree::{root_of_range, sibling_count},
    wire::{Reader, bound},
};

/// Bytes of an EIP-4844 blob: one chunk of ours.
const CHUNK_BYTES: usize = 131_072;

/// The order of BLS12-381's scalar field, big-endian (EIP-4844, `BLS_MODULUS`).
const FIELD_ORDER: [u8; 32] = [
    0x73, 0xed, 0xa7, 0x53, 0x29, 0x9d, 0x7d, 0x48, 0x33, 0x39, 0xd8, 0x08, 0x09, 0xa1, 0xd8, 0x05, 0x53,
    0xbd, 0xa4, 0x02, 0xff, 0xfe, 0x5b, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01,
];

/// An entry and the digests of the shares it names, which do not hash to its commitment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MisplacedBlob {
    entry: EntryProof,
    leaves: Vec<Digest>,
    siblings: Vec<Digest>,
}

impl MisplacedBlob {
    /// Of the entry at a position; none when its blob is in its place, or there is no such entry.
    #[must_use]
    pub fn new(square: &CommittedSquare, position: usize) -> Option<Self> {
        let entry = square.index().entries().get(position)?;
        if square.blob_commitment(entry)? == entry.commitment {
            return None;
        }
        let (mut leaves, mut siblings) = (Vec::new(), Vec::new());
        for (row, columns) in share_rows(square.width(), entry.range())? {
            let tree = square.line_tree(Axis::Row, row);
            leaves.extend(columns.clone().filter_map(|column| tree.leaf(column)));
            siblings.extend(tree.siblings(columns));
        }
        siblings.extend(square.axis_tree().siblings(rows_of(square.width(), entry)));
        let entry = square.index().prove_entry(position, square.parts())?;
        Some(Self { entry, leaves, siblings })
    }

    /// The entry, unchecked.
    #[must_use]
    pub const fn entry(&self) -> &IndexEntry {
        self.entry.entry()
    }

    fn axis_root(&self) -> Option<Digest> {
        let (width, n) = (self.entry.width(), self.entry.width().extended());
        let (mut leaves, mut siblings) = (self.leaves.as_slice(), self.siblings.as_slice());
        let mut roots = Vec::new();
        for (_, columns) in share_rows(width, self.entry().range())? {
            let (here, below) = leaves.split_at_checked(columns.len())?;
            let (path, rest) = siblings.split_at_checked(sibling_count(n, columns.clone()))?;
            roots.push(root_of_range(inner, n, columns.start, here.to_vec(), path)?);
            (leaves, siblings) = (below, rest);
        }
        root_of_range(inner, 2 * n, rows_of(width, self.entry()).start, roots, siblings)
    }

    pub(super) fn check(&self, data_root: &Digest) -> Result<(), FraudError> {
        let parts = self.entry.parts().ok_or(ProofError::Shape)?;
        self.entry.clone().verify(data_root)?;
        let axis_root = self.axis_root().ok_or(ProofError::Shape)?;
        ProofError::unless_equal(data_root, DataRootParts { axis_root, ..parts }.data_root())?;
        let IndexEntry { namespace, commitment, len, .. } = self.entry();
        let got = blob_commitment_of_leaves(namespace, *len, self.leaves.clone());
        FraudError::unless_founded(FraudKind::MisplacedBlob, got != *commitment)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.entry.write(out);
        extend(out, &self.leaves);
        extend(out, &self.siblings);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let entry = EntryProof::read(reader)?;
        let (width, range) = (entry.width(), entry.entry().range());
        bound("end of the blob", range.end.into(), 1, width.shares() as u64)?;
        let leaves = reader.digests(range.len())?;
        let rows = share_rows(width, range).into_iter().flatten();
        let in_rows: usize = rows.map(|(_, columns)| sibling_count(width.extended(), columns)).sum();
        let above = sibling_count(2 * width.extended(), rows_of(width, entry.entry()));
        Ok(Self { entry, leaves, siblings: reader.digests(in_rows + above)? })
    }
}

fn rows_of(width: Width, entry: &IndexEntry) -> std::ops::Range<usize> {
    let range = entry.range();
    range.start as usize / width.get()..(range.end as usize).div_ceil(width.get())
}

/// The right KZG commitment of a chunk, with the proof that it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KzgOpening {
    /// Which 131,072 bytes of the blob.
    pub chunk: u8,
    /// Their commitment.
    pub commitment: [u8; 48],
    /// EIP-4844's blob proof.
    pub proof: [u8; 48],
}

/// An entry and its blob, whose foreign commitment of a kind is not what the entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FalseForeign {
    entry: EntryProof,
    kind: ForeignKind,
    opening: Option<KzgOpening>,
    bytes: Vec<u8>,
}

impl FalseForeign {
    /// Of a kind in the entry at a position; none when there is no such entry or kind, or nothing false
    /// in it that shows without an opening.
    #[must_use]
    pub fn new(square: &CommittedSquare, position: usize, kind: ForeignKind) -> Option<Self> {
        let entry = square.index().entries().get(position)?;
        if square.blob_commitment(entry)? != entry.commitment {
            return None;
        }
        let bytes = square.blob_bytes(entry)?;
        let entry = square.index().prove_entry(position, square.parts())?;
        let proof = Self { entry, kind, opening: None, bytes };
        proof.is_false(None).then_some(proof)
    }

    /// Of a chunk of the entry at a position, by the right KZG commitment; none when the entry holds it.
    #[must_use]
    pub fn opened(square: &CommittedSquare, position: usize, opening: KzgOpening) -> Option<Self> {
        let bytes = square.blob_bytes(square.index().entries().get(position)?)?;
        let entry = square.index().prove_entry(position, square.parts())?;
        let proof = Self { entry, kind: ForeignKind::Eip4844, opening: Some(opening), bytes };
        proof.differs(&opening).then_some(proof)
    }

    /// The entry, unchecked.
    #[must_use]
    pub const fn entry(&self) -> &IndexEntry {
        self.entry.entry()
    }

    /// The scheme.
    #[must_use]
    pub const fn kind(&self) -> ForeignKind {
        self.kind
    }

    fn values(&self) -> impl Iterator<Item = &Digest> {
        let held = self.entry().foreign.iter();
        held.filter(|foreign| foreign.kind == self.kind).map(|foreign| &foreign.value)
    }

    /// Whether the entry holds another commitment for the chunk than the opening's.
    fn differs(&self, opening: &KzgOpening) -> bool {
        let right = eip4844_versioned_hash(&opening.commitment);
        self.values().nth(opening.chunk.into()).is_some_and(|value| *value != right)
    }

    /// Whether the entry holds a commitment of the kind that is not the bytes'.
    fn is_false(&self, rules: Option<&dyn FraudRules>) -> bool {
        if let Some(hash) = self.kind.hash(&self.entry().namespace, &self.bytes) {
            return self.values().any(|value| *value != hash);
        }
        let (chunks, rest) = self.bytes.as_chunks::<CHUNK_BYTES>();
        let count = self.values().count();
        let canonical = |chunk: &[u8; CHUNK_BYTES]| chunk.as_chunks().0.iter().all(|e| *e < FIELD_ORDER);
        let (Some(opening), Some(rules)) = (&self.opening, rules) else {
            return count > 0 && (!rest.is_empty() || chunks.len() != count || !chunks.iter().all(canonical));
        };
        let KzgOpening { chunk, commitment, proof } = opening;
        chunks.get(usize::from(*chunk)).is_some_and(|chunk| {
            canonical(chunk) && self.differs(opening) && rules.kzg_opens(chunk, commitment, proof)
        })
    }

    pub(super) fn check(&self, data_root: &Digest, rules: &dyn FraudRules) -> Result<(), FraudError> {
        self.entry.clone().verify(data_root)?.check_bytes(&self.bytes)?;
        FraudError::unless_founded(FraudKind::FalseForeign, self.is_false(Some(rules)))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.entry.write(out);
        out.push(self.kind as u8);
        if self.kind == ForeignKind::Eip4844 {
            out.push(self.opening.is_some().into());
        }
        if let Some(KzgOpening { chunk, commitment, proof }) = &self.opening {
            out.push(*chunk);
            out.extend(commitment);
            out.extend(proof);
        }
        out.extend_from_slice(&self.bytes);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let entry = EntryProof::read(reader)?;
        let kind = ForeignKind::try_from(reader.u8()?)?;
        let opened = match kind {
            ForeignKind::Eip4844 => bound("opened", reader.u8()?.into(), 0, 1)? == 1,
            _ => false,
        };
        let opening = if opened {
            let (chunk, commitment) = (reader.u8()?, reader.array()?);
            Some(KzgOpening { chunk, commitment, proof: reader.array()? })
        } else {
            None
        };
        let len = usize::try_from(entry.entry().len).unwrap_or(usize::MAX);
        Ok(Self { entry, kind, opening, bytes: reader.take(len)?.to_vec() })
    }
}
