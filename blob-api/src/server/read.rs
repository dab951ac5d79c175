//! Headers, blobs and namespaces.

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use chain::{Height, LightBlock, Outcome};
use erasure::{ForeignCommitment, Namespace};

use super::{
    App,
    failure::Failure,
    outcome,
    params::{Segment, Segments, digest, parse},
    stream,
};
use crate::{BlobName, ErrorBody, NamespaceAnswer, NamespaceBody, ProofBody};

/// Response header of a blob: the block's height.
pub(crate) const HEIGHT_HEADER: HeaderName = HeaderName::from_static("weft-height");

/// Response header of a blob: canonical bytes of its entry proof, hexadecimal.
pub(crate) const PROOF_HEADER: HeaderName = HeaderName::from_static("weft-proof");

/// A header with its commit and validators: what a Tendermint light client verifies.
#[utoipa::path(
    get, path = "/v1/header/{height}", tag = "read",
    params(("height" = String, Path, description = "a height, or `latest`",
        pattern = "^(latest|[0-9]{1,19})$")),
    responses((status = 200, body = Object), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn header(
    State(app): State<App>,
    Segment(height): Segment,
) -> Result<Json<LightBlock>, Failure> {
    let height = if height == "latest" { None } else { Some(parse("height", &height)?) };
    outcome::data(app.backend.light_block(height).await).map(Json)
}

/// A blob's bytes, by its commitment. Never 404: a commitment alone proves no absence.
#[utoipa::path(
    get, path = "/v1/blob/{commitment}", tag = "read",
    params(("commitment" = String, Path, description = "64 hexadecimal digits",
        pattern = "^(0x)?[0-9a-fA-F]{64}$")),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>, headers(
            ("weft-height" = u64, description = "the block's height"),
            ("weft-proof" = String, description = "entry proof, hexadecimal")
        )),
        (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn blob(State(app): State<App>, Segment(commitment): Segment) -> Result<Response, Failure> {
    bytes_of(&app, &digest("commitment", &commitment)?.into()).await
}

async fn bytes_of(app: &App, name: &BlobName) -> Result<Response, Failure> {
    let location = outcome::data(app.backend.find(name).await)?;
    let entry = location.proof.entry().clone();
    let body = stream::blobs(app, location.height, vec![entry]).await?;
    let proof = HeaderValue::from_str(&hex::encode(location.proof.encode()))
        .map_err(|error| Failure::invalid("commitment", error))?;
    Ok(([(HEIGHT_HEADER, HeaderValue::from(location.height)), (PROOF_HEADER, proof)], body).into_response())
}

/// A blob's index entry and the proof that it is in the block's index, by its commitment.
#[utoipa::path(
    get, path = "/v1/blob/{commitment}/proof", tag = "read",
    params(("commitment" = String, Path, description = "64 hexadecimal digits",
        pattern = "^(0x)?[0-9a-fA-F]{64}$")),
    responses((status = 200, body = ProofBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn proof(
    State(app): State<App>,
    Segment(commitment): Segment,
) -> Result<Json<ProofBody>, Failure> {
    proof_of(&app, &digest("commitment", &commitment)?.into()).await
}

async fn proof_of(app: &App, name: &BlobName) -> Result<Json<ProofBody>, Failure> {
    let location = outcome::data(app.backend.find(name).await)?;
    Ok(Json(ProofBody::new(location.height, &location.proof)))
}

/// A blob's bytes, by a foreign commitment that it carries. Never 404: a commitment alone proves no absence.
#[utoipa::path(
    get, path = "/v1/foreign/{kind}/{value}", tag = "read",
    params(
        ("kind" = String, Path, description = "the scheme: keccak256, sha256, eip4844, celestia or anytrust",
            pattern = "^(keccak256|sha256|eip4844|celestia|anytrust)$"),
        ("value" = String, Path, description = "64 hexadecimal digits",
            pattern = "^(0x)?[0-9a-fA-F]{64}$")
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>, headers(
            ("weft-height" = u64, description = "the block's height"),
            ("weft-proof" = String, description = "entry proof, hexadecimal; the entry holds the foreign commitment")
        )),
        (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn foreign(
    State(app): State<App>,
    Segments(kind, value): Segments,
) -> Result<Response, Failure> {
    bytes_of(&app, &foreign_name(&kind, &value)?).await
}

/// The height, index entry and proof of a blob, by a foreign commitment that it carries.
#[utoipa::path(
    get, path = "/v1/foreign/{kind}/{value}/proof", tag = "read",
    params(
        ("kind" = String, Path, description = "the scheme: keccak256, sha256, eip4844, celestia or anytrust",
            pattern = "^(keccak256|sha256|eip4844|celestia|anytrust)$"),
        ("value" = String, Path, description = "64 hexadecimal digits",
            pattern = "^(0x)?[0-9a-fA-F]{64}$")
    ),
    responses((status = 200, body = ProofBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn foreign_proof(
    State(app): State<App>,
    Segments(kind, value): Segments,
) -> Result<Json<ProofBody>, Failure> {
    proof_of(&app, &foreign_name(&kind, &value)?).await
}

fn foreign_name(kind: &str, value: &str) -> Result<BlobName, Failure> {
    Ok(ForeignCommitment { kind: parse("kind", kind)?, value: digest("value", value)? }.into())
}

/// All blobs of a namespace in a block, and the proof that none is missing; 404 with a proof where there are none.
#[utoipa::path(
    get, path = "/v1/height/{height}/namespace/{namespace}", tag = "read",
    params(
        ("height" = u64, Path, description = "the block's height",
            minimum = 0),
        ("namespace" = String, Path, description = "58 hexadecimal digits, or up to 20 of the user's id",
            pattern = "^(0x)?(0{38}[0-9a-fA-F]{20}|[0-9a-fA-F]{1,20})$")
    ),
    responses(
        (status = 200, body = NamespaceBody), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn namespace(
    State(app): State<App>,
    Segments(height, namespace): Segments,
) -> Result<Json<NamespaceBody>, Failure> {
    let (height, namespace) = (parse("height", &height)?, parse("namespace", &namespace)?);
    let answer = entries(&app, height, namespace).await?;
    Ok(Json(NamespaceBody::new(height, namespace, &answer.entries, &answer.proof)))
}

async fn entries(app: &App, height: Height, namespace: Namespace) -> Result<NamespaceAnswer, Failure> {
    outcome::data(match app.backend.namespace(height, namespace).await {
        Outcome::Data(answer) => Outcome::Data(answer),
        Outcome::Absent(proof) => Outcome::Absent((height, proof)),
        Outcome::Unreachable(reason) => Outcome::Unreachable(reason),
    })
}

/// The bytes of all blobs of a namespace in a block, one after the other without padding, in the order of the list;
/// 404 with a proof where there are none.
///
/// The list, at the same path without `/blobs`, says how long each is, and proves that none is missing.
#[utoipa::path(
    get, path = "/v1/height/{height}/namespace/{namespace}/blobs", tag = "read",
    params(
        ("height" = u64, Path, description = "the block's height",
            minimum = 0),
        ("namespace" = String, Path, description = "58 hexadecimal digits, or up to 20 of the user's id",
            pattern = "^(0x)?(0{38}[0-9a-fA-F]{20}|[0-9a-fA-F]{1,20})$")
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn namespace_blobs(
    State(app): State<App>,
    Segments(height, namespace): Segments,
) -> Result<Response, Failure> {
    let height = parse("height", &height)?;
    let answer = entries(&app, height, parse("namespace", &namespace)?).await?;
    stream::blobs(&app, height, answer.entries).await
}
