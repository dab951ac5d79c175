//! What the index says of one blob.
//!
//! ```text
//! namespace: 29 ‖ commitment: 32 ‖ start share: u32 ‖ len: u64 ‖ signer: 20 ‖ n: u8 ‖ n × (kind: u8 ‖ value: 32)
//! ```
//!
//! Integers are big-endian. A decoded entry has at least one byte, ends within the largest square and
//! lists its foreign commitments in order.

use std::ops::Range;

use crate::{
    DecodeError, Digest, ForeignCommitment, ForeignKind, LayoutError, Namespace, Width,
    foreign::{MAX_FOREIGN, check_order},
    shares_for,
    wire::{Reader, bound, encoding},
};

/// A blob as submitted, before it has a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobMeta {
    /// Whose it is.
    pub namespace: Namespace,
    /// [`blob_commitment`](crate::blob_commitment) of its bytes.
    pub commitment: Digest,
    /// Its length in bytes.
    pub len: u64,
    /// Address of the account that submitted it.
    pub signer: [u8; 20],
    /// Hashes in other schemes, ascending by kind.
    pub foreign: Vec<ForeignCommitment>,
}

/// A blob with its place in the square.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexEntry {
    /// Whose it is.
    pub namespace: Namespace,
    /// [`blob_commitment`](crate::blob_commitment) of its bytes.
    pub commitment: Digest,
    /// Its first share.
    pub start: u32,
    /// Its length in bytes.
    pub len: u64,
    /// Address of the account that submitted it; zero for the transaction blob.
    pub signer: [u8; 20],
    /// Hashes in other schemes, ascending by kind.
    pub foreign: Vec<ForeignCommitment>,
}

impl IndexEntry {
    /// Bytes of the shortest encoding.
    pub(crate) const MIN_BYTES: usize = Namespace::BYTES + 32 + 4 + 8 + 20 + 1;

    pub(crate) fn at(start: u32, blob: BlobMeta) -> Self {
        let BlobMeta { namespace, commitment, len, signer, foreign } = blob;
        Self { namespace, commitment, start, len, signer, foreign }
    }

    /// Shares it takes.
    #[must_use]
    pub const fn shares(&self) -> u64 {
        shares_for(self.len)
    }

    /// The shares it takes, in the original square. The end of an entry made by hand saturates.
    #[must_use]
    pub fn range(&self) -> Range<u32> {
        self.start..u32::try_from(self.end()).unwrap_or(u32::MAX)
    }

    pub(crate) fn end(&self) -> u64 {
        u64::from(self.start).saturating_add(self.shares())
    }

    /// The first foreign commitment of this kind.
    #[must_use]
    pub fn foreign(&self, kind: ForeignKind) -> Option<&Digest> {
        self.foreign.iter().find(|foreign| foreign.kind == kind).map(|foreign| &foreign.value)
    }

    /// Checks what holds for an entry on its own.
    pub(crate) fn check(&self) -> Result<(), LayoutError> {
        let limit = Width::MAX.shares() as u64;
        if self.len == 0 {
            return Err(LayoutError::EmptyBlob { start: self.start });
        }
        if self.end() > limit {
            return Err(LayoutError::TooManyShares { limit, got: self.end() });
        }
        Ok(check_order(&self.foreign)?)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.namespace.as_bytes());
        out.extend(self.commitment);
        out.extend(self.start.to_be_bytes());
        out.extend(self.len.to_be_bytes());
        out.extend(self.signer);
        out.push(u8::try_from(self.foreign.len()).unwrap_or(u8::MAX));
        for ForeignCommitment { kind, value } in &self.foreign {
            out.push(*kind as u8);
            out.extend(value);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entry = Self {
            namespace: reader.namespace()?,
            commitment: reader.array()?,
            start: reader.u32()?,
            len: reader.u64()?,
            signer: reader.array()?,
            foreign: Vec::new(),
        };
        let count = bound("foreign commitments", reader.u8()?.into(), 0, MAX_FOREIGN as u64)?;
        for _ in 0..count {
            let kind = ForeignKind::try_from(reader.u8()?)?;
            entry.foreign.push(ForeignCommitment { kind, value: reader.array()? });
        }
        entry.check()?;
        Ok(entry)
    }
}
encoding!(IndexEntry);

/// Checks that each entry follows the one before it in namespace and in place.
pub(crate) fn check_sequence(entries: &[IndexEntry]) -> Result<(), LayoutError> {
    for (previous, next) in entries.iter().zip(entries.iter().skip(1)) {
        if next.namespace < previous.namespace {
            return Err(LayoutError::Unsorted { start: next.start });
        }
        if u64::from(next.start) != previous.end() {
            return Err(LayoutError::Gap { expected: previous.end(), got: next.start });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> IndexEntry {
        IndexEntry {
            namespace: Namespace::from_user_id([9; 10]),
            commitment: [3; 32],
            start: 5,
            len: 513,
            signer: [4; 20],
            foreign: vec![ForeignCommitment { kind: ForeignKind::Sha256, value: [6; 32] }],
        }
    }

    #[test]
    fn encoding_is_the_documented_one() {
        let expected = [
            "00".repeat(19),
            "09".repeat(10),
            "03".repeat(32),
            "000000050000000000000201".into(),
            "04".repeat(20),
            "0102".into(),
            "06".repeat(32),
        ];
        assert_eq!(hex::encode(entry().encode()), expected.concat());
        assert_eq!(IndexEntry::decode(&entry().encode()), Ok(entry()));
        assert_eq!(entry().range(), 5..7);
    }

    #[test]
    fn entries_outside_of_every_square_are_refused() {
        let decode = |entry: IndexEntry| IndexEntry::decode(&entry.encode());
        let layout = |error| Err(DecodeError::Layout(error));
        let empty = IndexEntry { len: 0, ..entry() };
        assert_eq!(decode(empty), layout(LayoutError::EmptyBlob { start: 5 }));
        let long = IndexEntry { len: 512 * (512 * 512 - 5) + 1, ..entry() };
        let wrong = LayoutError::TooManyShares { limit: 1 << 18, got: (1 << 18) + 1 };
        assert_eq!(decode(long), layout(wrong));
        assert!(decode(IndexEntry { len: u64::MAX, ..entry() }).is_err());
        let many = vec![ForeignCommitment { kind: ForeignKind::Eip4844, value: [0; 32] }; 17];
        assert!(decode(IndexEntry { foreign: many, ..entry() }).is_err());
    }
}
