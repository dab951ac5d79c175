//! The OP Stack's alt-DA server (specs `experimental/alt-da.md`, optimism `op-alt-da`), generic commitments.
//!
//! ```text
//!  POST or PUT /put, /put/       raw bytes ─▶ 200 the commitment, raw, once the blob is final
//!  GET /get/0x<commitment>       200 the bytes · 404 proven absent · 503 not now
//! ```
//!
//! `op-node` halts on a 404 past the challenge window, so nothing but a proof of absence is one: not a node that is
//! behind, nor a path that does not exist. With `?l1_inclusion_block_number=` the client shows that it speaks
//! EigenDA's extension, in which 418 tells it to drop a commitment; then that is said instead. Commitments name no L1
//! block, so there is no recency to check.

use std::time::Duration;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, RawQuery, State, rejection::BytesRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use erasure::Namespace;
use serde_json::json;

use super::super::{
    BODY_LIMIT_BYTES, Gateway, ReadFailure,
    submit::{Kind, SubmitFailure},
};
use crate::{ClientError, Lookup, NewBlob};

/// What an OP Stack calls a commitment that is not the keccak hash of the bytes.
const GENERIC: u8 = 0x01;

/// The DA layer's byte: a 'W'.
const LAYER: u8 = b'W';

/// Version of what follows.
const VERSION: u8 = 0;

/// EigenDA's status code in a 418: the commitment does not parse.
const PARSE: u8 = 1;

/// EigenDA's status code in a 418: what the commitment says is false.
const FALSE: u8 = 3;

/// After a block or two it may be there.
const SOON: Duration = Duration::from_secs(2);

/// Where a blob is: `0x01 ‖ 'W' ‖ 0 ‖ height: u64 BE ‖ data root ‖ blob commitment`, 75 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Commitment {
    height: u64,
    data_root: [u8; 32],
    blob: [u8; 32],
}

/// Why bytes are no commitment of this layer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum CommitmentError {
    #[error("commitment: {0}")]
    Hex(#[from] hex::FromHexError),
    #[error(
        "commitment: type {0:#04x} is not generic (0x01): set da_commitment_type to GenericCommitment in the rollup's \
         configuration"
    )]
    Type(u8),
    #[error("commitment: DA layer {0:#04x} is not Weft (0x57): it is another layer's server that has this")]
    Layer(u8),
    #[error("commitment: version {0} is not known to this gateway; update it")]
    Version(u8),
    #[error("commitment: version 0 has {} bytes, got {got}", Commitment::BYTES)]
    Length { got: usize },
    #[error("commitment: there is no block 0")]
    Height,
}

impl Commitment {
    const BYTES: usize = 3 + 8 + 32 + 32;

    fn encode(&self) -> Vec<u8> {
        let head = [GENERIC, LAYER, VERSION];
        [&head[..], &self.height.to_be_bytes(), &self.data_root, &self.blob].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CommitmentError> {
        let length = CommitmentError::Length { got: bytes.len() };
        match *bytes {
            [GENERIC, LAYER, VERSION, ..] => {}
            [GENERIC, LAYER, version, ..] => return Err(CommitmentError::Version(version)),
            [GENERIC, LAYER] | [GENERIC] | [] => return Err(length),
            [GENERIC, layer, ..] => return Err(CommitmentError::Layer(layer)),
            [kind, ..] => return Err(CommitmentError::Type(kind)),
        }
        let (height, rest) = bytes[3..].split_first_chunk::<8>().ok_or(length.clone())?;
        let (data_root, rest) = rest.split_first_chunk::<32>().ok_or(length.clone())?;
        let blob = rest.try_into().map_err(|_| length)?;
        match u64::from_be_bytes(*height) {
            0 => Err(CommitmentError::Height),
            height => Ok(Self { height, data_root: *data_root, blob }),
        }
    }

    fn parse(text: &str) -> Result<Self, CommitmentError> {
        Self::decode(&hex::decode(text.strip_prefix("0x").unwrap_or(text))?)
    }
}

#[derive(Clone)]
struct Door {
    gateway: Gateway,
    namespace: Namespace,
}

pub(in super::super) fn router(gateway: Gateway, namespace: Namespace) -> Router {
    let put = post(put).put(put);
    let refuse_keccak = || async {
        let message = "the gateway makes generic commitments only: set da_commitment_type to GenericCommitment in the \
                       rollup's configuration, and start op-batcher and op-node with --altda.da-service";
        text(StatusCode::BAD_REQUEST, message)
    };
    let unknown =
        || async { text(StatusCode::BAD_REQUEST, "known are PUT /put and GET /get/0x<commitment>") };
    Router::new()
        .route("/put", put.clone())
        .route("/put/", put)
        .route("/put/{commitment}", post(refuse_keccak).put(refuse_keccak))
        .route("/get/{commitment}", get(read))
        // Never 404: that would say that something is proven absent.
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .with_state(Door { gateway, namespace })
}

async fn put(State(door): State<Door>, body: Result<Bytes, BytesRejection>) -> Response {
    let bytes = match body {
        Ok(bytes) if bytes.is_empty() => return text(StatusCode::BAD_REQUEST, "the payload is empty"),
        Ok(bytes) => bytes.to_vec(),
        Err(rejection) => return text(rejection.status(), rejection.body_text()),
    };
    let blob = NewBlob { namespace: door.namespace, bytes, foreign: Vec::new() };
    match door.gateway.submitter.submit(vec![blob]).await {
        Ok(submitted) => {
            let (height, data_root) = (submitted.height, submitted.data_root);
            match submitted.commitments.first() {
                Some(blob) => octets(Commitment { height, data_root, blob: *blob }.encode()),
                None => text(StatusCode::INTERNAL_SERVER_ERROR, "the submission has no blob"),
            }
        }
        Err(failure) => put_failed(&failure),
    }
}

fn put_failed(failure: &SubmitFailure) -> Response {
    let status = match failure.kind() {
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Later(wait) => {
            return later(StatusCode::TOO_MANY_REQUESTS, wait.unwrap_or(SOON), failure.to_string());
        }
        // Batchers that can will post to L1 instead.
        Kind::Down | Kind::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Duplicate | Kind::Broken => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, failure.to_string())
}

async fn read(
    State(door): State<Door>,
    Path(commitment): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let drops = match speaks_extension(query.as_deref()) {
        Ok(drops) => drops,
        Err(got) => {
            let message = format!("l1_inclusion_block_number must be a number, got '{got}'");
            return text(StatusCode::BAD_REQUEST, message);
        }
    };
    let commitment = match Commitment::parse(&commitment) {
        Ok(commitment) => commitment,
        Err(error) => return not_ours(&error, drops),
    };
    match door.find(&commitment).await {
        Ok(Ok(bytes)) => octets(bytes),
        Ok(Err(absence)) if drops => drop_it(FALSE, &absence),
        Ok(Err(absence)) => text(StatusCode::NOT_FOUND, absence),
        Err(response) => response,
    }
}

impl Door {
    /// The bytes, or why they are proven absent; otherwise the response.
    async fn find(&self, commitment: &Commitment) -> Result<Result<Bytes, String>, Response> {
        let height = commitment.height;
        let looked = async {
            self.gateway.check_height(height).await?;
            Ok(self.gateway.client.lookup(height, self.namespace, commitment.blob).await?)
        };
        let (data_root, found) = match looked.await.map_err(|error| not_now(&error))? {
            Lookup::Found(blob) => (blob.header().data_root(), Some(blob.into_bytes())),
            Lookup::Absent(list) => (list.header().data_root(), None),
        };
        match found {
            _ if data_root != commitment.data_root => {
                let root = hex::encode(data_root);
                Ok(Err(format!("proven absent: block {height} has data root {root}")))
            }
            Some(bytes) => Ok(Ok(bytes)),
            None => self.check_namespace(commitment).await.map(Err),
        }
    }

    /// The blob is not in this door's namespace. A blob's commitment is its namespace's, too: where one of another
    /// namespace is known, at whatever height, this door is misconfigured, and its 404 would halt a rollup.
    async fn check_namespace(&self, commitment: &Commitment) -> Result<String, Response> {
        let (height, mine) = (commitment.height, self.namespace);
        match self.gateway.client.proof(commitment.blob).await {
            Ok(proven) if proven.entry().namespace != mine => {
                let other = proven.entry().namespace;
                let message =
                    format!("the blob is in namespace {other}, this gateway reads {mine}: correct it");
                Err(text(StatusCode::INTERNAL_SERVER_ERROR, message))
            }
            _ => Ok(format!("proven absent: namespace {mine} of block {height} does not hold this blob")),
        }
    }
}

fn not_now(failure: &ReadFailure) -> Response {
    match failure {
        ReadFailure::Future { .. }
        | ReadFailure::Client(ClientError::Unreachable { .. } | ClientError::LyingNode(_)) => {
            later(StatusCode::SERVICE_UNAVAILABLE, SOON, failure.to_string())
        }
        ReadFailure::Client(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A commitment of another layer, type or version is not this gateway's to drop: somebody else may have the bytes.
fn not_ours(error: &CommitmentError, drops: bool) -> Response {
    let message = error.to_string();
    match error {
        CommitmentError::Length { .. } | CommitmentError::Height if drops => drop_it(PARSE, &message),
        CommitmentError::Version(_) => text(StatusCode::NOT_IMPLEMENTED, message),
        _ => text(StatusCode::BAD_REQUEST, message),
    }
}

/// Whether the client drops a commitment on a 418: it says at which L1 block the commitment was included.
fn speaks_extension(query: Option<&str>) -> Result<bool, &str> {
    let mut pairs = query.unwrap_or_default().split('&');
    match pairs.find_map(|pair| pair.strip_prefix("l1_inclusion_block_number=")) {
        Some(got) => got.parse::<u64>().map(|_| true).map_err(|_| got),
        None => Ok(false),
    }
}

fn drop_it(code: u8, message: &str) -> Response {
    (StatusCode::IM_A_TEAPOT, Json(json!({ "StatusCode": code, "Msg": message }))).into_response()
}

fn later(status: StatusCode, wait: Duration, message: String) -> Response {
    let mut response = text(status, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    response
}

fn octets(bytes: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes.into()).into_response()
}

fn text(status: StatusCode, message: impl Into<String>) -> Response {
    (status, format!("{}\n", message.into())).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]
    use super::*;

    #[test]
    fn a_commitment_has_a_fixed_form_and_every_other_is_told_apart() {
        let commitment = Commitment { height: 0x0102, data_root: [0xaa; 32], blob: [0xbb; 32] };
        let text = format!("015700{}{}{}", "0000000000000102", "aa".repeat(32), "bb".repeat(32));
        assert_eq!(hex::encode(commitment.encode()), text);
        assert_eq!(Commitment::parse(&text), Ok(commitment));
        assert_eq!(Commitment::parse(&format!("0x{text}")), Ok(commitment));
        let decode = |bytes: &[u8]| Commitment::decode(bytes).unwrap_err();
        assert_eq!(decode(&[0; 33]), CommitmentError::Type(0));
        assert_eq!(decode(&[1, 0x0c, 0]), CommitmentError::Layer(0x0c));
        assert_eq!(decode(&[1, LAYER, 9]), CommitmentError::Version(9));
        for length in (0..Commitment::BYTES).chain([Commitment::BYTES + 1]) {
            let mut bytes = commitment.encode();
            bytes.resize(length, 0);
            assert_eq!(decode(&bytes), CommitmentError::Length { got: length });
        }
        let nowhere = Commitment { height: 0, ..commitment };
        assert_eq!(decode(&nowhere.encode()), CommitmentError::Height);
        assert!(matches!(Commitment::parse("0x0"), Err(CommitmentError::Hex(_))));
    }

    #[test]
    fn the_inclusion_block_shows_who_speaks_the_extension() {
        assert_eq!(speaks_extension(None), Ok(false));
        assert_eq!(speaks_extension(Some("a=1")), Ok(false));
        assert_eq!(speaks_extension(Some("a=1&l1_inclusion_block_number=0")), Ok(true));
        assert!(speaks_extension(Some("l1_inclusion_block_number=x")).is_err());
    }
}
