//! Fraud proofs: that a block's data root commits to what no valid block does.
//!
//! ```text
//! Inconsistency ──TryFrom──▶            ┌─ verify(data root, rules) ─▶ VerifiedFraud
//! CommittedSquare ──find──▶ FraudProof ─┤
//! RepairedSquare ──WrongIndex::of──▶    └─ encode: number: u8 ‖ the proof
//! ```
//!
//! | number | proof | shows | made from | bytes at k = 128 |
//! | --- | --- | --- | --- | --- |
//! | 1 | [`SplitCell`] | a row's tree and a column's commit to different cells at one place | both samples | 1,127 |
//! | 2 | [`BadEncoding`] | k cells of a line encode to another root than its | its root and k samples | at most 70,342 by the line, 103,110 by crossing lines |
//! | 3 | [`WrongIndex`] | the transaction list gives another width or index | the square | the list's shares, 555 for two of them |
//! | 4 | [`MisplacedBlob`] | an entry's shares do not hash to its commitment | the square | 32 a share, 2,793 for 8,192 of them |
//! | 5 | [`BadPadding`] | a byte after a blob, or after the last one, is not zero | the square | 1,296 |
//! | 6 | [`FalseForeign`] | a foreign commitment is not that of the blob's bytes | the square | the blob, 235 |
//!
//! The last three hold an entry with its proof, here the last of 18 with no more foreign commitments than
//! the accusation takes: another one adds 33 bytes, another level of the index 32.
//!
//! A valid block has no such proof: each one contradicts something that a data root binds and that every
//! validator checks. Conversely the square of every data root has one if it is not a valid block's:
//! repair ends in the first two or in the square, and [`FraudProof::find`] judges the square. What cannot
//! be judged here, transactions and KZG, comes in as [`FraudRules`].
//!
//! [`FraudError`] puts the sender at fault: unlike an accusation that fails, an honest proof verifies
//! under the one data root that it is for.

mod blob;
mod encoding;
mod index;
mod padding;
mod split;
mod tree;

pub use blob::{FalseForeign, KzgOpening, MisplacedBlob};
pub use encoding::BadEncoding;
pub use index::WrongIndex;
pub use padding::BadPadding;
pub use split::SplitCell;

use std::fmt;

use crate::{
    BlobMeta, CommittedSquare, DecodeError, Digest, Inconsistency, ProofError, SHARE_BYTES, Width,
    wire::{Reader, bound, encoding},
};

/// What the rules of a chain say that this crate does not know. Every method is a pure function, and
/// the same for all who check the chain.
pub trait FraudRules {
    /// The widest square that a block may have.
    fn k_max(&self) -> Width;

    /// The blobs that a transaction list announces, in its order; none when it is no transaction list.
    fn blobs(&self, transaction_list: &[u8]) -> Option<Vec<BlobMeta>>;

    /// Whether this is the KZG commitment of 131,072 bytes, by its proof (EIP-4844's
    /// `verify_blob_kzg_proof`). The bytes are canonical field elements.
    fn kzg_opens(&self, chunk: &[u8], commitment: &[u8; 48], proof: &[u8; 48]) -> bool;
}

/// What a block may be accused of. The number is what is encoded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum FraudKind {
    /// A row's tree and a column's commit to different cells at one place.
    SplitCell = 1,
    /// A line is no codeword.
    BadEncoding = 2,
    /// The index or the width is not the transaction list's.
    WrongIndex = 3,
    /// A blob is not where its entry says.
    MisplacedBlob = 4,
    /// A byte that should be zero is not.
    BadPadding = 5,
    /// A foreign commitment is not that of the blob's bytes.
    FalseForeign = 6,
}

impl FraudKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::SplitCell,
        Self::BadEncoding,
        Self::WrongIndex,
        Self::MisplacedBlob,
        Self::BadPadding,
        Self::FalseForeign,
    ];
}

impl fmt::Display for FraudKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SplitCell => "split cell",
            Self::BadEncoding => "bad encoding",
            Self::WrongIndex => "wrong index",
            Self::MisplacedBlob => "misplaced blob",
            Self::BadPadding => "bad padding",
            Self::FalseForeign => "false foreign commitment",
        })
    }
}

/// A proof does not show that the block is wrong. At fault: whoever sent it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FraudError {
    /// A part of it is another block's, or forged.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// What it accuses is as it should be.
    #[error("the block is accused of a {kind}, but it is as it should be")]
    Unfounded {
        /// The accusation.
        kind: FraudKind,
    },
}

impl FraudError {
    fn unless_founded(kind: FraudKind, founded: bool) -> Result<(), Self> {
        if founded { Ok(()) } else { Err(Self::Unfounded { kind }) }
    }
}

/// A proof that the block of a data root is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FraudProof {
    /// A row's tree and a column's commit to different cells at one place.
    SplitCell(SplitCell),
    /// A line is no codeword.
    BadEncoding(BadEncoding),
    /// The index or the width is not the transaction list's.
    WrongIndex(WrongIndex),
    /// A blob is not where its entry says.
    MisplacedBlob(MisplacedBlob),
    /// A byte that should be zero is not.
    BadPadding(BadPadding),
    /// A foreign commitment is not that of the blob's bytes.
    FalseForeign(FalseForeign),
}

impl FraudProof {
    /// The longest encoding at this width, a little more than the square's bytes.
    #[must_use]
    pub const fn max_bytes(width: Width) -> usize {
        width.shares() * SHARE_BYTES + 4096
    }

    /// What is wrong with a square that is decoded and has this index: none when it is a valid block's.
    /// KZG commitments are judged as far as no opening is needed; see [`FalseForeign::opened`].
    #[must_use]
    pub fn find(square: &CommittedSquare, rules: &dyn FraudRules) -> Option<Self> {
        let wrong_index = WrongIndex::new(square, square.parts().index_root)
            .filter(|proof| proof.check(&square.data_root(), rules).is_ok());
        let entries = || square.index().entries().iter().enumerate();
        let misplaced = || entries().find_map(|(position, _)| MisplacedBlob::new(square, position));
        let foreign = || {
            entries().find_map(|(position, entry)| {
                let mut kinds = entry.foreign.iter().map(|foreign| foreign.kind);
                kinds.find_map(|kind| FalseForeign::new(square, position, kind))
            })
        };
        wrong_index
            .map(Self::WrongIndex)
            .or_else(|| misplaced().map(Self::MisplacedBlob))
            .or_else(|| BadPadding::new(square).map(Self::BadPadding))
            .or_else(|| foreign().map(Self::FalseForeign))
    }

    /// What it accuses the block of.
    #[must_use]
    pub const fn kind(&self) -> FraudKind {
        match self {
            Self::SplitCell(_) => FraudKind::SplitCell,
            Self::BadEncoding(_) => FraudKind::BadEncoding,
            Self::WrongIndex(_) => FraudKind::WrongIndex,
            Self::MisplacedBlob(_) => FraudKind::MisplacedBlob,
            Self::BadPadding(_) => FraudKind::BadPadding,
            Self::FalseForeign(_) => FraudKind::FalseForeign,
        }
    }

    /// Checks that the block with this data root is wrong. The root must come from a header of the
    /// caller's own verified chain.
    ///
    /// # Errors
    /// It is about another block, forged, or shows nothing wrong.
    pub fn verify(self, data_root: &Digest, rules: &dyn FraudRules) -> Result<VerifiedFraud, FraudError> {
        match &self {
            Self::SplitCell(proof) => proof.check(data_root),
            Self::BadEncoding(proof) => proof.check(data_root),
            Self::WrongIndex(proof) => proof.check(data_root, rules),
            Self::MisplacedBlob(proof) => proof.check(data_root),
            Self::BadPadding(proof) => proof.check(data_root),
            Self::FalseForeign(proof) => proof.check(data_root, rules),
        }?;
        Ok(VerifiedFraud { proof: self, data_root: *data_root })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind() as u8);
        match self {
            Self::SplitCell(proof) => proof.write(out),
            Self::BadEncoding(proof) => proof.write(out),
            Self::WrongIndex(proof) => proof.write(out),
            Self::MisplacedBlob(proof) => proof.write(out),
            Self::BadPadding(proof) => proof.write(out),
            Self::FalseForeign(proof) => proof.write(out),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = bound("fraud proof number", reader.u8()?.into(), 1, FraudKind::ALL.len() as u64)?;
        Ok(match FraudKind::ALL[number - 1] {
            FraudKind::SplitCell => Self::SplitCell(SplitCell::read(reader)?),
            FraudKind::BadEncoding => Self::BadEncoding(BadEncoding::read(reader)?),
            FraudKind::WrongIndex => Self::WrongIndex(WrongIndex::read(reader)?),
            FraudKind::MisplacedBlob => Self::MisplacedBlob(MisplacedBlob::read(reader)?),
            FraudKind::BadPadding => Self::BadPadding(BadPadding::read(reader)?),
            FraudKind::FalseForeign => Self::FalseForeign(FalseForeign::read(reader)?),
        })
    }
}
encoding!(FraudProof);

impl TryFrom<&Inconsistency> for FraudProof {
    type Error = FraudError;

    /// The proof of what a repairer found. Fails on one made by hand whose parts do not fit.
    fn try_from(found: &Inconsistency) -> Result<Self, FraudError> {
        match found {
            Inconsistency::SplitCell { by_row, by_column } => {
                SplitCell::new(by_row, by_column).map(Self::SplitCell)
            }
            Inconsistency::BadEncoding { line, cells } => {
                BadEncoding::new(line, cells).map(Self::BadEncoding)
            }
        }
        .ok_or(FraudError::Proof(ProofError::Shape))
    }
}

impl fmt::Display for FraudProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::SplitCell(proof) => write!(f, " at {:?}", proof.place()),
            Self::BadEncoding(proof) => write!(f, " of {} {}", proof.line().0, proof.line().1),
            Self::WrongIndex(_) => Ok(()),
            Self::MisplacedBlob(proof) => write!(f, " at share {}", proof.entry().start),
            Self::BadPadding(proof) => write!(f, " in the cell at {}", proof.coordinates()),
            Self::FalseForeign(proof) => {
                write!(f, " {} of the blob at share {}", proof.kind(), proof.entry().start)
            }
        }
    }
}

/// A proof that was checked: the block of its data root is wrong. It is kept, to be sent to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedFraud {
    proof: FraudProof,
    data_root: Digest,
}

impl VerifiedFraud {
    /// The proof.
    #[must_use]
    pub const fn proof(&self) -> &FraudProof {
        &self.proof
    }

    /// The data root of the wrong block.
    #[must_use]
    pub const fn data_root(&self) -> &Digest {
        &self.data_root
    }
}
