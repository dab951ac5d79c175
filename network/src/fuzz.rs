//! What the fuzz target of this crate runs, and the tests below a bounded number of times: everything that a peer sends.

use bytes::Bytes;
use futures::{executor::block_on, io::Cursor};

use crate::{
    FraudNotice, HeldCell, Kind, MAX_BODIES, MAX_BODY_CHUNK_BYTES, MAX_FRAUD_CHUNK_BYTES, MAX_FRAUDS,
    MAX_STATE_KEY_BYTES, MAX_TRANSACTION_IDS, Refusal, Request, cells, codec, wire,
};

/// The longest request of each kind.
pub(crate) fn largest(kind: Kind) -> Request {
    match kind {
        Kind::Sample => Request::Sample { height: u64::MAX, row: 1023, column: 1023, axis: 1 },
        Kind::Line => Request::Line { height: u64::MAX, axis: 1, index: 1023 },
        Kind::Range => Request::Range { height: u64::MAX, start: u32::MAX, count: 8192 },
        Kind::Index => Request::Index { height: u64::MAX },
        Kind::Header => Request::Header { height: u64::MAX, known: Some([8; 32]) },
        Kind::Certified => Request::Certified { height: u64::MAX, known: Some([8; 32]) },
        Kind::State => Request::State { height: u64::MAX, key: "k".repeat(MAX_STATE_KEY_BYTES) },
        Kind::Headers => Request::Headers { from: u64::MAX, count: 64 },
        Kind::Transaction => Request::Transaction { ids: vec![[7; 32]; MAX_TRANSACTION_IDS] },
        Kind::Body => Request::Body { commitment: [9; 32], offset: u64::MAX, len: MAX_BODY_CHUNK_BYTES },
        Kind::Bodies => Request::Bodies { commitments: vec![[7; 32]; MAX_BODIES] },
        Kind::Fraud => Request::Fraud { proof: [9; 32], offset: u32::MAX, len: MAX_FRAUD_CHUNK_BYTES },
        Kind::Frauds => Request::Frauds,
        Kind::Cells => Request::Cells { height: u64::MAX },
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = Cursor::new(Vec::new());
    let written = block_on(codec::write_frame(&mut frame, bytes));
    written.map_or_else(|_| Vec::new(), |()| frame.into_inner())
}

/// A valid encoding of each kind of message.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let cells = (0..20).map(|n| HeldCell { row: n, column: 1_023 - n, axis: u8::from(n > 9) });
    let notice = FraudNotice { height: 7, header: [1; 32], proof: [2; 32], size: 3 }.encode();
    let mut all = vec![cells::encode_cells(cells), notice.repeat(MAX_FRAUDS), notice];
    all.push(wire::encode_answer(Ok(Bytes::from(all[0].clone()))).into());
    all.push(wire::encode_answer(Err(Refusal::Malformed)).into());
    all.extend(Kind::ALL.map(|kind| wire::encode_request(&largest(kind)).into()));
    let frames: Vec<_> = all.iter().map(|message| framed(message)).collect();
    all.extend(frames);
    all
}

/// Decodes `data` as everything that a peer sends. Lists of cells and notices are canonical; requests and answers are
/// not, and settle: what they are encoded to decodes to the same.
pub fn decoders(data: &[u8]) {
    for kind in Kind::ALL {
        let Ok(request) = wire::decode_request(kind, data) else { continue };
        assert_eq!(request.kind(), kind);
        let bytes = wire::encode_request(&request);
        assert!(request.check().is_err() || bytes.len() <= kind.max_request_bytes(), "{request:?}");
        assert_eq!(wire::decode_request(kind, bytes), Ok(request));
    }
    if let Ok(answer) = wire::decode_answer(data) {
        assert_eq!(wire::decode_answer(wire::encode_answer(answer.clone())), Ok(answer));
    }
    if let Ok(cells) = cells::decode_cells(data) {
        assert_eq!(cells::encode_cells(cells), data);
    }
    if let Ok(notices) = FraudNotice::decode_list(data) {
        assert_eq!(notices.iter().flat_map(FraudNotice::encode).collect::<Vec<_>>(), data);
    }
    for limit in [64, 1 << 20] {
        let Ok(Ok(frame)) = block_on(codec::read_frame(&mut Cursor::new(data), limit)) else { continue };
        assert!(
            frame.len() <= limit && data.windows(frame.len().max(1)).any(|part| part.starts_with(&frame))
        );
        assert_eq!(
            block_on(codec::read_frame(&mut Cursor::new(framed(&frame)), limit)).ok(),
            Some(Ok(frame))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: fuzzing::Measured = fuzzing::Measured;

    #[test]
    fn decoders_hold() {
        let seeds = seeds();
        let decode = |data: &[u8]| {
            let ((), largest) = fuzzing::largest_allocation(|| decoders(data));
            // Before a frame's bytes come, 16 KiB are there for them.
            assert!(largest <= (16 << 10) + 4 * data.len(), "{largest} bytes for {}", data.len());
        };
        let body = |data: &[u8]| {
            decode(data);
            if let Some((_, bytes)) = fuzzing::chosen(&seeds, data) {
                decode(&bytes);
            }
        };
        fuzzing::run(body, 20_000, 18);
    }
}
