//! Every message of the engine as bytes: gossip, log and sync.
//!
//! Each implementation of [`Wire`] is the format of one type; see [`crate::wire`] for the rules.
//! Lists and strings are limited by the constants below, which bound what a decoder allocates.

use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_app::types::streaming::{StreamId, StreamMessage};
use arc_malachitebft_codec::{Codec, HasEncodedLen};
use arc_malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use arc_malachitebft_core_types::{
    ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate, PolkaSignature, Round,
    RoundCertificate, RoundCertificateType, RoundSignature, SignedMessage, ValidatorProof, Validity,
    VoteType,
};
use arc_malachitebft_engine::util::streaming::StreamContent;
use arc_malachitebft_signing_ed25519::Signature;
use arc_malachitebft_sync::{RawDecidedValue, Request, Response, Status, ValueRequest, ValueResponse};
use bytes::{BufMut, Bytes, BytesMut};

use crate::app::{MAX_PAYLOAD_BYTES, MAX_VALUE_BYTES};
use crate::block_ref::BlockRef;
use crate::context::{Address, Height, Part, Proposal, Vote, WeftContext};
use crate::signer::unsigned;
use crate::wire::{DecodeError, Reader, Wire, put_bytes, put_list, put_option};

type Ctx = WeftContext;

/// Most signatures in a certificate: the most validators there can be.
const MAX_SIGNATURES: usize = 1_024;
/// Most values in a sync response; nodes ask for five at a time.
const MAX_SYNC_VALUES: usize = 64;
/// Longest stream id; ours have 8 bytes.
const MAX_STREAM_ID_BYTES: usize = 64;
/// Longest public key or peer id in a validator proof.
const MAX_ID_BYTES: usize = 128;

/// Reads and writes all of the engine's messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeftCodec;

impl<T: Wire> Codec<T> for WeftCodec {
    type Error = DecodeError;

    fn decode(&self, bytes: Bytes) -> Result<T, DecodeError> {
        T::from_wire(bytes)
    }

    /// Refuses what is not [complete](Wire::is_complete): the engine then does not publish it.
    fn encode(&self, value: &T) -> Result<Bytes, DecodeError> {
        if value.is_complete() { Ok(value.to_wire()) } else { Err(DecodeError::Unsigned) }
    }
}

impl HasEncodedLen<Response<Ctx>> for WeftCodec {
    fn encoded_len(&self, Response::ValueResponse(response): &Response<Ctx>) -> Result<usize, DecodeError> {
        let value = |raw: &RawDecidedValue<Ctx>| 4 + raw.value_bytes.len() + raw.certificate.to_wire().len();
        Ok(8 + 4 + response.values.iter().map(value).sum::<usize>())
    }
}

/// A struct whose encoding is that of its fields, in this order.
macro_rules! wire_fields {
    ($($type:ty { $($field:ident),* })*) => { $(
        impl Wire for $type {
            fn write(&self, out: &mut BytesMut) {
                $(self.$field.write(out);)*
            }

            fn read(input: &mut Reader) -> Result<Self, DecodeError> {
                Ok(Self { $($field: Wire::read(input)?),* })
            }

            fn is_complete(&self) -> bool {
                $(self.$field.is_complete())&&*
            }
        }
    )* };
}

wire_fields! {
    Vote { vote_type, height, round, value, address }
    Proposal { height, round, value, pol_round, address }
    PolkaSignature<Ctx> { address, signature }
    PolkaCertificate<Ctx> { height, round, value_id, polka_signatures }
    RoundSignature<Ctx> { vote_type, value_id, address, signature }
    RoundCertificate<Ctx> { height, round, cert_type, round_signatures }
    ProposedValue<Ctx> { height, round, valid_round, proposer, value, validity }
    ExtendedCommitCertificate<Ctx> { height, round, value_id, commit_signatures }
    SignedMessage<Ctx, Vote> { message, signature }
    SignedMessage<Ctx, Proposal> { message, signature }
}

/// An enum without content whose encoding is one byte.
macro_rules! wire_tags {
    ($($type:ty { $($variant:ident = $tag:literal),* })*) => { $(
        impl Wire for $type {
            fn write(&self, out: &mut BytesMut) {
                out.put_u8(match self { $(Self::$variant => $tag),* });
            }

            fn read(input: &mut Reader) -> Result<Self, DecodeError> {
                match input.u8()? {
                    $($tag => Ok(Self::$variant),)*
                    tag => Err(DecodeError::Tag(tag)),
                }
            }
        }
    )* };
}

wire_tags! {
    VoteType { Prevote = 1, Precommit = 2 }
    RoundCertificateType { Skip = 1, Precommit = 2 }
    Validity { Invalid = 0, Valid = 1 }
}

/// An enum whose encoding is a byte and what it holds.
macro_rules! wire_variants {
    ($($type:ty { $($variant:ident = $tag:literal),* })*) => { $(
        impl Wire for $type {
            fn write(&self, out: &mut BytesMut) {
                match self {
                    $(Self::$variant(content) => {
                        out.put_u8($tag);
                        content.write(out);
                    })*
                }
            }

            fn read(input: &mut Reader) -> Result<Self, DecodeError> {
                match input.u8()? {
                    $($tag => Wire::read(input).map(Self::$variant),)*
                    tag => Err(DecodeError::Tag(tag)),
                }
            }

            fn is_complete(&self) -> bool {
                match self { $(Self::$variant(content) => content.is_complete()),* }
            }
        }
    )* };
}

wire_variants! {
    SignedConsensusMsg<Ctx> { Vote = 1, Proposal = 2 }
    LivenessMsg<Ctx> { Vote = 1, PolkaCertificate = 2, SkipRoundCertificate = 3 }
}

/// A certificate's signatures: at most one per validator.
macro_rules! wire_signatures {
    ($($type:ty),*) => { $(
        impl Wire for Vec<$type> {
            fn write(&self, out: &mut BytesMut) {
                put_list(out, self);
            }

            fn read(input: &mut Reader) -> Result<Self, DecodeError> {
                input.list(MAX_SIGNATURES)
            }
        }
    )* };
}

wire_signatures!(PolkaSignature<Ctx>, RoundSignature<Ctx>, ExtendedCommitSignature<Ctx>);

impl Wire for Height {
    fn write(&self, out: &mut BytesMut) {
        out.put_u64(self.to_block().value());
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Self::new(input.u64()?).ok_or(DecodeError::Invalid("height"))
    }
}

/// A `u32`, the highest value being `Nil`; other values above `i32::MAX`, Tendermint's limit, are
/// refused.
impl Wire for Round {
    fn write(&self, out: &mut BytesMut) {
        out.put_u32(self.as_u32().unwrap_or(u32::MAX));
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u32()? {
            u32::MAX => Ok(Self::Nil),
            round if i32::try_from(round).is_ok() => Ok(Self::new(round)),
            _ => Err(DecodeError::Invalid("round")),
        }
    }
}

impl Wire for Address {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.0);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        input.array().map(Self)
    }
}

impl Wire for Signature {
    fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.to_bytes());
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        input.array().map(Self::from_bytes)
    }

    fn is_complete(&self) -> bool {
        *self != unsigned()
    }
}

impl Wire for NilOrVal<BlockRef> {
    fn write(&self, out: &mut BytesMut) {
        let value = match self {
            Self::Nil => None,
            Self::Val(block) => Some(block),
        };
        put_option(out, value);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(input.option()?.map_or(Self::Nil, Self::Val))
    }
}

impl Wire for Part {
    fn write(&self, out: &mut BytesMut) {
        self.height.write(out);
        self.round.write(out);
        self.proposer.write(out);
        put_bytes(out, &self.payload);
        put_option(out, self.signature.as_ref());
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            height: Wire::read(input)?,
            round: Wire::read(input)?,
            proposer: Wire::read(input)?,
            payload: input.bytes(MAX_PAYLOAD_BYTES)?,
            signature: input.option()?,
        })
    }
}

impl Wire for StreamMessage<Part> {
    fn write(&self, out: &mut BytesMut) {
        put_bytes(out, &self.stream_id.to_bytes());
        out.put_u64(self.sequence);
        put_option(out, self.content.as_data());
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let stream_id = StreamId::new(input.bytes(MAX_STREAM_ID_BYTES)?);
        let sequence = input.u64()?;
        let content = input.option()?.map_or(StreamContent::Fin, StreamContent::Data);
        Ok(Self::new(stream_id, sequence, content))
    }
}

impl Wire for ValidatorProof<Ctx> {
    fn write(&self, out: &mut BytesMut) {
        put_bytes(out, &self.public_key);
        put_bytes(out, &self.peer_id);
        self.signature.write(out);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let public_key = input.bytes(MAX_ID_BYTES)?;
        let peer_id = input.bytes(MAX_ID_BYTES)?;
        Ok(Self::new(public_key.into(), peer_id.into(), Wire::read(input)?))
    }
}

impl Wire for Status<Ctx> {
    fn write(&self, out: &mut BytesMut) {
        put_bytes(out, &self.peer_id.to_bytes());
        self.tip_height.write(out);
        self.history_min_height.write(out);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let peer_id = input.bytes(MAX_ID_BYTES)?;
        Ok(Self {
            peer_id: PeerId::from_bytes(&peer_id).map_err(|_| DecodeError::Invalid("peer id"))?,
            tip_height: Wire::read(input)?,
            history_min_height: Wire::read(input)?,
        })
    }
}

impl Wire for Request<Ctx> {
    fn write(&self, out: &mut BytesMut) {
        let Self::ValueRequest(request) = self;
        request.range.start().write(out);
        request.range.end().write(out);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let (start, end) = (Height::read(input)?, Height::read(input)?);
        Ok(Self::ValueRequest(ValueRequest::new(start..=end)))
    }
}

/// A certificate's signatures come without extensions: none are ever made.
impl Wire for ExtendedCommitSignature<Ctx> {
    fn write(&self, out: &mut BytesMut) {
        self.address.write(out);
        self.signature.write(out);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self::new(Wire::read(input)?, Wire::read(input)?, None))
    }
}

impl Wire for RawDecidedValue<Ctx> {
    fn write(&self, out: &mut BytesMut) {
        put_bytes(out, &self.value_bytes);
        self.certificate.write(out);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self::new(input.bytes(MAX_VALUE_BYTES)?, Wire::read(input)?))
    }
}

impl Wire for Response<Ctx> {
    fn write(&self, out: &mut BytesMut) {
        let Self::ValueResponse(response) = self;
        response.start_height.write(out);
        put_list(out, &response.values);
    }

    fn read(input: &mut Reader) -> Result<Self, DecodeError> {
        let start_height = Wire::read(input)?;
        let values = input.list(MAX_SYNC_VALUES)?;
        Ok(Self::ValueResponse(ValueResponse::new(start_height, values)))
    }
}

#[cfg(test)]
mod tests;
