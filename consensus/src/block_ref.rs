//! The few bytes that validators vote on.
//!
//! A [`BlockRef`] is a header's hash and time. Nobody sends one on its own authority: receivers
//! compute it from the header, so a proposer cannot pair a hash with another time. The time is in
//! it because every vote for the block carries it as its timestamp: a commit certificate, which
//! keeps nothing but addresses and signatures, then still assembles into a Tendermint commit.

use std::fmt;

use arc_malachitebft_core_types::Value;
use bytes::{BufMut, BytesMut};
use tendermint::block::{Header, Id, parts};
use tendermint::crypto::{Sha256 as _, default::Sha256};
use tendermint::{Hash, Time};

use crate::wire::{DecodeError, Reader, Wire};

/// Separates the part set hash from every other hash of a header hash.
const PART_SET_DOMAIN: &[u8] = b"weft/part-set/1";

/// Names a block: the engine's value and value id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    header_hash: [u8; 32],
    time: Time,
}

impl BlockRef {
    /// The block with this header.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        Self::from_parts(header.hash(), header.time)
    }

    /// The block with this header hash and header time; the empty hash counts as zeros.
    pub(crate) fn from_parts(hash: Hash, time: Time) -> Self {
        let header_hash = match hash {
            Hash::Sha256(bytes) => bytes,
            Hash::None => [0; 32],
        };
        Self { header_hash, time }
    }

    /// SHA-256 Merkle root over the header's fields, as Tendermint defines it.
    #[must_use]
    pub fn header_hash(&self) -> &[u8; 32] {
        &self.header_hash
    }

    /// The header's time, and the timestamp of every vote for the block.
    #[must_use]
    pub fn time(&self) -> Time {
        self.time
    }

    /// The hash of the one part that Weft's blocks nominally have: Tendermint's block id needs a
    /// part set, Weft's blocks travel in their own way, so it follows from the header hash.
    #[must_use]
    pub fn part_set_hash(&self) -> [u8; 32] {
        Sha256::digest([PART_SET_DOMAIN, &self.header_hash].concat())
    }

    /// Tendermint's id of the block: header hash and a part set of one part.
    #[must_use]
    pub fn block_id(&self) -> Id {
        let hash = Hash::Sha256(self.part_set_hash());
        Id {
            hash: Hash::Sha256(self.header_hash),
            // A total of one and a hash that is not empty: `new` has nothing to refuse.
            part_set_header: parts::Header::new(1, hash).unwrap_or_default(),
        }
    }
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header_hash[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Value for BlockRef {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

impl Wire for BlockRef {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.header_hash);
        let nanos = self.time.unix_timestamp_nanos().rem_euclid(1_000_000_000) as u32;
        out.put_i64(self.time.unix_timestamp());
        out.put_u32(nanos);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let header_hash = input.array()?;
        let (seconds, nanos) = (input.i64()?, input.u32()?);
        let time =
            Time::from_unix_timestamp(seconds, nanos).map_err(|_| DecodeError::Invalid("header time"))?;
        Ok(Self { header_hash, time })
    }
}
