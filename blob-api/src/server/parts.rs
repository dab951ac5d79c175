//! Parts: of a blob, of a square, of a transaction.

use std::ops::Range;

use axum::{Json, extract::State};
use chain::Height;
use erasure::{IndexEntry, SHARE_BYTES};

use super::{
    App,
    failure::Failure,
    outcome,
    params::{Parameters, Segment, digest, parse},
};
use crate::{EntryBody, ErrorBody, Hex, ProofBody, RangeBody, SharesBody, TxBlobsBody};

/// Bytes in one part at most; its shares and their proof are held in memory, and go out as text.
const PART_BYTES: u64 = 1 << 20;

/// The shares that hold these bytes of a blob.
pub(crate) fn shares_of(entry: &IndexEntry, bytes: &Range<u64>) -> Range<u32> {
    let share = |byte: u64| u32::try_from(byte / SHARE_BYTES as u64).unwrap_or(u32::MAX);
    let (first, end) = (share(bytes.start), share(bytes.end.saturating_add(SHARE_BYTES as u64 - 1)));
    entry.start.saturating_add(first)..entry.start.saturating_add(end)
}

/// A part of a blob, with the proof that these are the bytes at that place: for who needs 32 bytes of 4 MiB.
#[utoipa::path(
    get, path = "/v1/blob/{commitment}/range", tag = "read",
    params(
        ("commitment" = String, Path, description = "64 hexadecimal digits",
            pattern = "^(0x)?[0-9a-fA-F]{64}$"),
        ("offset" = Option<u64>, Query, description = "first byte; 0 unless told",
            minimum = 0),
        ("len" = u64, Query, description = "how many bytes: 1 to 1,048,576, and not past the blob's end",
            minimum = 1, maximum = 1048576)
    ),
    responses((status = 200, body = RangeBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn range(
    State(app): State<App>,
    Segment(commitment): Segment,
    mut query: Parameters,
) -> Result<Json<RangeBody>, Failure> {
    let commitment = digest("commitment", &commitment)?;
    let offset: u64 = query.take("offset")?.unwrap_or(0);
    let len: u64 =
        query.take("len")?.ok_or_else(|| Failure::invalid("len", "missing; give the number of bytes"))?;
    query.finish()?;
    if len == 0 || len > PART_BYTES {
        let message = format!("1 to {PART_BYTES} bytes; read more in several parts");
        return Err(Failure::invalid("len", message).limit(PART_BYTES).got(len));
    }
    let location = outcome::data(app.backend.find(&commitment.into()).await)?;
    let (height, entry) = (location.height, location.proof.entry());
    let bytes = offset..offset.saturating_add(len);
    if bytes.end > entry.len {
        let message = format!("offset and len end at {}, the blob at {}", bytes.end, entry.len);
        return Err(Failure::invalid("len", message).limit(entry.len).got(bytes.end));
    }
    let data = outcome::data(app.backend.bytes(height, entry, bytes.clone()).await)?;
    let range_proof = proven(&app, height, shares_of(entry, &bytes)).await?;
    Ok(Json(RangeBody {
        height,
        entry: EntryBody::from(entry),
        entry_proof: Hex(location.proof.encode()),
        offset,
        data: Hex(data.to_vec()),
        range_proof,
    }))
}

/// Shares of a block's square, with their proof.
#[utoipa::path(
    get, path = "/v1/height/{height}/shares", tag = "read",
    params(
        ("height" = u64, Path, description = "the block's height",
            minimum = 0),
        ("start" = Option<u32>, Query, description = "first share of the original square, row by row; 0 unless told",
            minimum = 0, maximum = 262143),
        ("count" = u32, Query, description = "how many: 1 to 2,048, and not past the square's end",
            minimum = 1, maximum = 2048)
    ),
    responses((status = 200, body = SharesBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn shares(
    State(app): State<App>,
    Segment(height): Segment,
    mut query: Parameters,
) -> Result<Json<SharesBody>, Failure> {
    let height = parse("height", &height)?;
    let start: u32 = query.take("start")?.unwrap_or(0);
    let count: u32 = query
        .take("count")?
        .ok_or_else(|| Failure::invalid("count", "missing; give the number of shares"))?;
    query.finish()?;
    let limit = PART_BYTES / SHARE_BYTES as u64;
    if count == 0 || u64::from(count) > limit {
        return Err(Failure::invalid("count", format!("1 to {limit} shares")).limit(limit).got(count));
    }
    let proof = proven(&app, height, start..start.saturating_add(count)).await?;
    Ok(Json(SharesBody { height, start, count, proof }))
}

async fn proven(app: &App, height: Height, shares: Range<u32>) -> Result<Hex, Failure> {
    let proof = outcome::data(app.backend.shares(height, shares.clone()).await)?;
    let proof = proof.ok_or_else(|| {
        Failure::invalid("start", "start and count leave the block's square").got(u64::from(shares.end))
    })?;
    Ok(Hex(proof.encode()))
}

/// Where the blobs of a transaction are: its height, and each blob's index entry with its proof.
///
/// The transaction comes along, so that its id and what it announces can be checked. A transaction that is not in a
/// block (yet) is unreachable.
#[utoipa::path(
    get, path = "/v1/tx/{id}/blobs", tag = "read",
    params(("id" = String, Path, description = "64 hexadecimal digits",
        pattern = "^(0x)?[0-9a-fA-F]{64}$")),
    responses((status = 200, body = TxBlobsBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn transaction_blobs(
    State(app): State<App>,
    Segment(id): Segment,
) -> Result<Json<TxBlobsBody>, Failure> {
    let found = outcome::data(app.backend.transaction_blobs(parse("id", &id)?).await)?;
    Ok(Json(TxBlobsBody {
        height: found.height,
        transaction: Hex(found.transaction.encode()),
        blobs: found.proofs.iter().map(|proof| ProofBody::new(found.height, proof)).collect(),
    }))
}
