//! The protobuf messages inside frames.
//!
//! Each kind of request has its own message, since its protocol names the kind. An answer is the
//! payload or a refusal's number. Unknown fields are skipped; numbers too large for their field
//! are errors. Nothing here is hashed or signed, so encodings need not be canonical.

use bytes::{Buf, Bytes};
use prost::{Message, Oneof};
use thiserror::Error;

use crate::request::{Answer, Kind, Refusal, Request};

/// Most bytes that an answer's message adds to its payload: tag and length.
pub(crate) const ANSWER_OVERHEAD_BYTES: usize = 8;

/// A frame that holds no message of its protocol. The sender is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not the protobuf message expected.
    #[error("not the protobuf message expected: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A number too large for its field.
    #[error("{field} is {got}, allowed is at most {limit}")]
    Number {
        /// Which field.
        field: &'static str,
        /// Greatest value of the field's type.
        limit: u32,
        /// The value.
        got: u32,
    },
    /// A hash, or a list of hashes, of a wrong length.
    #[error("{field} has {got} bytes, which is not {expected}")]
    Length {
        /// Which field.
        field: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// Bytes found.
        got: usize,
    },
    /// An answer with neither payload nor refusal.
    #[error("the answer is empty")]
    Empty,
    /// A refusal that this version does not know.
    #[error("unknown refusal {got}")]
    Refusal {
        /// The number.
        got: u32,
    },
}

#[derive(Clone, PartialEq, Message)]
struct SampleMessage {
    #[prost(uint64, tag = "1")]
    height: u64,
    #[prost(uint32, tag = "2")]
    row: u32,
    #[prost(uint32, tag = "3")]
    column: u32,
    #[prost(uint32, tag = "4")]
    axis: u32,
}

#[derive(Clone, PartialEq, Message)]
struct LineMessage {
    #[prost(uint64, tag = "1")]
    height: u64,
    #[prost(uint32, tag = "2")]
    axis: u32,
    #[prost(uint32, tag = "3")]
    index: u32,
}

#[derive(Clone, PartialEq, Message)]
struct RangeMessage {
    #[prost(uint64, tag = "1")]
    height: u64,
    #[prost(uint32, tag = "2")]
    start: u32,
    #[prost(uint32, tag = "3")]
    count: u32,
}

#[derive(Clone, PartialEq, Message)]
struct HeightMessage {
    #[prost(uint64, tag = "1")]
    height: u64,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderMessage {
    #[prost(uint64, tag = "1")]
    height: u64,
    /// A hash, or nothing.
    #[prost(bytes = "bytes", tag = "2")]
    known: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct StateMessage {
    #[prost(uint64, tag = "1")]
    height: u64,
    #[prost(string, tag = "2")]
    key: String,
}

#[derive(Clone, PartialEq, Message)]
struct HeadersMessage {
    #[prost(uint64, tag = "1")]
    from: u64,
    #[prost(uint32, tag = "2")]
    count: u32,
}

#[derive(Clone, PartialEq, Message)]
struct HashesMessage {
    /// One after the other.
    #[prost(bytes = "bytes", tag = "1")]
    hashes: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct BodyMessage {
    #[prost(bytes = "bytes", tag = "1")]
    commitment: Bytes,
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(uint32, tag = "3")]
    len: u32,
}

#[derive(Clone, PartialEq, Message)]
struct FraudMessage {
    #[prost(bytes = "bytes", tag = "1")]
    proof: Bytes,
    #[prost(uint32, tag = "2")]
    offset: u32,
    #[prost(uint32, tag = "3")]
    len: u32,
}

#[derive(Clone, PartialEq, Message)]
struct EmptyMessage {}

#[derive(Clone, PartialEq, Message)]
struct AnswerMessage {
    #[prost(oneof = "Outcome", tags = "1, 2")]
    outcome: Option<Outcome>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Outcome {
    #[prost(bytes = "bytes", tag = "1")]
    Payload(Bytes),
    #[prost(uint32, tag = "2")]
    Refused(u32),
}

pub(crate) fn encode_request(request: &Request) -> Bytes {
    let bytes = match request {
        Request::Sample { height, row, column, axis } => SampleMessage {
            height: *height,
            row: u32::from(*row),
            column: u32::from(*column),
            axis: u32::from(*axis),
        }
        .encode_to_vec(),
        Request::Line { height, axis, index } => {
            LineMessage { height: *height, axis: u32::from(*axis), index: u32::from(*index) }.encode_to_vec()
        }
        Request::Range { height, start, count } => {
            RangeMessage { height: *height, start: *start, count: *count }.encode_to_vec()
        }
        Request::Index { height } | Request::Cells { height } => {
            HeightMessage { height: *height }.encode_to_vec()
        }
        Request::Header { height, known } | Request::Certified { height, known } => {
            let known = known.map_or_else(Bytes::new, |known| Bytes::copy_from_slice(&known));
            HeaderMessage { height: *height, known }.encode_to_vec()
        }
        Request::State { height, key } => StateMessage { height: *height, key: key.clone() }.encode_to_vec(),
        Request::Headers { from, count } => HeadersMessage { from: *from, count: *count }.encode_to_vec(),
        Request::Transaction { ids } => HashesMessage { hashes: ids.concat().into() }.encode_to_vec(),
        Request::Bodies { commitments } => {
            HashesMessage { hashes: commitments.concat().into() }.encode_to_vec()
        }
        Request::Body { commitment, offset, len } => {
            BodyMessage { commitment: Bytes::copy_from_slice(commitment), offset: *offset, len: *len }
                .encode_to_vec()
        }
        Request::Fraud { proof, offset, len } => {
            FraudMessage { proof: Bytes::copy_from_slice(proof), offset: *offset, len: *len }.encode_to_vec()
        }
        Request::Frauds => EmptyMessage {}.encode_to_vec(),
    };
    bytes.into()
}

pub(crate) fn decode_request(kind: Kind, bytes: impl Buf) -> Result<Request, WireError> {
    Ok(match kind {
        Kind::Sample => {
            let message = SampleMessage::decode(bytes)?;
            Request::Sample {
                height: message.height,
                row: narrow_u16("row", message.row)?,
                column: narrow_u16("column", message.column)?,
                axis: narrow_u8("axis", message.axis)?,
            }
        }
        Kind::Line => {
            let message = LineMessage::decode(bytes)?;
            Request::Line {
                height: message.height,
                axis: narrow_u8("axis", message.axis)?,
                index: narrow_u16("index", message.index)?,
            }
        }
        Kind::Range => {
            let message = RangeMessage::decode(bytes)?;
            Request::Range { height: message.height, start: message.start, count: message.count }
        }
        Kind::Index => Request::Index { height: HeightMessage::decode(bytes)?.height },
        Kind::Header | Kind::Certified => {
            let HeaderMessage { height, known } = HeaderMessage::decode(bytes)?;
            let known = if known.is_empty() { None } else { Some(hash("known", &known)?) };
            match kind {
                Kind::Certified => Request::Certified { height, known },
                _ => Request::Header { height, known },
            }
        }
        Kind::State => {
            let StateMessage { height, key } = StateMessage::decode(bytes)?;
            Request::State { height, key }
        }
        Kind::Headers => {
            let message = HeadersMessage::decode(bytes)?;
            Request::Headers { from: message.from, count: message.count }
        }
        Kind::Transaction => {
            let ids = hashes("ids", &HashesMessage::decode(bytes)?.hashes)?;
            Request::Transaction { ids }
        }
        Kind::Bodies => {
            let commitments = hashes("commitments", &HashesMessage::decode(bytes)?.hashes)?;
            Request::Bodies { commitments }
        }
        Kind::Body => {
            let message = BodyMessage::decode(bytes)?;
            Request::Body {
                commitment: hash("commitment", &message.commitment)?,
                offset: message.offset,
                len: message.len,
            }
        }
        Kind::Fraud => {
            let message = FraudMessage::decode(bytes)?;
            let proof = hash("proof", &message.proof)?;
            Request::Fraud { proof, offset: message.offset, len: message.len }
        }
        Kind::Frauds => {
            EmptyMessage::decode(bytes)?;
            Request::Frauds
        }
        Kind::Cells => Request::Cells { height: HeightMessage::decode(bytes)?.height },
    })
}

fn hash(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], WireError> {
    bytes.try_into().map_err(|_| WireError::Length { field, expected: "32", got: bytes.len() })
}

fn hashes(field: &'static str, bytes: &[u8]) -> Result<Vec<[u8; 32]>, WireError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() {
        return Ok(hashes.to_vec());
    }
    Err(WireError::Length { field, expected: "a multiple of 32", got: bytes.len() })
}

pub(crate) fn encode_answer(answer: Answer) -> Bytes {
    let outcome = match answer {
        Ok(payload) => Outcome::Payload(payload),
        Err(Refusal::NotFound) => Outcome::Refused(1),
        Err(Refusal::Pruned) => Outcome::Refused(2),
        Err(Refusal::Busy) => Outcome::Refused(3),
        Err(Refusal::Malformed) => Outcome::Refused(4),
    };
    AnswerMessage { outcome: Some(outcome) }.encode_to_vec().into()
}

pub(crate) fn decode_answer(bytes: impl Buf) -> Result<Answer, WireError> {
    match AnswerMessage::decode(bytes)?.outcome {
        Some(Outcome::Payload(payload)) => Ok(Ok(payload)),
        Some(Outcome::Refused(1)) => Ok(Err(Refusal::NotFound)),
        Some(Outcome::Refused(2)) => Ok(Err(Refusal::Pruned)),
        Some(Outcome::Refused(3)) => Ok(Err(Refusal::Busy)),
        Some(Outcome::Refused(4)) => Ok(Err(Refusal::Malformed)),
        Some(Outcome::Refused(got)) => Err(WireError::Refusal { got }),
        None => Err(WireError::Empty),
    }
}

fn narrow_u16(field: &'static str, got: u32) -> Result<u16, WireError> {
    u16::try_from(got).map_err(|_| WireError::Number { field, limit: u32::from(u16::MAX), got })
}

fn narrow_u8(field: &'static str, got: u32) -> Result<u8, WireError> {
    u8::try_from(got).map_err(|_| WireError::Number { field, limit: u32::from(u8::MAX), got })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;
    use crate::fuzz::largest;

    #[test]
    fn requests_survive_the_wire_within_their_limit() {
        for kind in Kind::ALL {
            let request = largest(kind);
            request.check().unwrap();
            assert_eq!(request.kind(), kind);
            let bytes = encode_request(&request);
            assert!(bytes.len() <= kind.max_request_bytes(), "{kind:?}");
            assert_eq!(decode_request(kind, bytes).unwrap(), request);
        }
    }

    #[test]
    fn answers_survive_the_wire_within_their_overhead() {
        let payload = Bytes::from(vec![1; 9 << 20]);
        let bytes = encode_answer(Ok(payload.clone()));
        assert!(bytes.len() <= payload.len() + ANSWER_OVERHEAD_BYTES);
        assert_eq!(decode_answer(bytes), Ok(Ok(payload)));
        for refusal in [Refusal::NotFound, Refusal::Pruned, Refusal::Busy, Refusal::Malformed] {
            assert_eq!(decode_answer(encode_answer(Err(refusal))), Ok(Err(refusal)));
        }
        assert_eq!(decode_answer(encode_answer(Ok(Bytes::new()))), Ok(Ok(Bytes::new())));
    }

    #[test]
    fn decode_rejects_numbers_hashes_and_refusals_it_cannot_hold() {
        let row = SampleMessage { row: 65_536, ..Default::default() };
        assert!(matches!(
            decode_request(Kind::Sample, row.encode_to_vec().as_slice()),
            Err(WireError::Number { got: 65_536, .. })
        ));
        for (kind, bytes) in
            [(Kind::Transaction, 33), (Kind::Body, 31), (Kind::Bodies, 31), (Kind::Fraud, 33)]
        {
            let message = HashesMessage { hashes: vec![0; bytes].into() };
            assert!(matches!(
                decode_request(kind, message.encode_to_vec().as_slice()),
                Err(WireError::Length { got, .. }) if got == bytes
            ));
        }
        assert_eq!(decode_answer(Bytes::new()), Err(WireError::Empty));
        assert_eq!(decode_answer(Bytes::from_static(&[0x10, 5])), Err(WireError::Refusal { got: 5 }));
    }
}
