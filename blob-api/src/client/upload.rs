//! Sending bodies in pieces, each resumed where a broken line left it.

use bytes::Bytes;
use chain::{Submission, TxId};
use reqwest::header::CONTENT_TYPE;

use super::{
    Client, ClientError, Prepared, Progress,
    error::Fault,
    hedge::Node,
    patience::{Patience, SHORT_PATIENCE, patiently},
    request::json,
};
use crate::{ErrorCode, PROTOBUF, SubmittedBody, UploadBody};

/// Bytes in one piece: what is sent again at most after a broken line.
const PIECE_BYTES: usize = 256 * 1024;

impl Client {
    /// Hands a signed submission to a node, its bodies in pieces; goes on where it was after a broken line or a node's
    /// restart, and starts again at another node if the first is gone for good, or silent for a quarter of a minute.
    /// For slow or unsteady lines: whole submissions ([`Client::send`]) take fewer requests.
    pub async fn send_in_pieces(
        &self,
        prepared: &Prepared,
        progress: Option<Progress>,
    ) -> Result<TxId, ClientError> {
        let Submission { transaction, bodies } = Submission::decode(&prepared.body)
            .map_err(|error| ClientError::Local(format!("cannot read the submission: {error}")))?;
        let bare = Submission { transaction, bodies: vec![Vec::new(); bodies.len()] }.encode();
        let bodies: Vec<_> = prepared
            .blobs
            .iter()
            .map(|blob| blob.commitment)
            .zip(bodies.into_iter().map(Bytes::from))
            .collect();
        let (bodies, bare, progress) = (&bodies, Bytes::from(bare), &progress);
        let ask = |node: Node| {
            let bare = bare.clone();
            async move {
                let mut sent = 0;
                for (commitment, body) in bodies {
                    self.upload(&node, *commitment, body, |at| {
                        if let Some(progress) = progress {
                            progress(sent + at);
                        }
                    })
                    .await?;
                    sent += body.len() as u64;
                }
                let request = self
                    .transport
                    .post(&node, "/v1/tx")
                    .header(CONTENT_TYPE, PROTOBUF)
                    .body(bare)
                    .silence(SHORT_PATIENCE);
                match json::<SubmittedBody>(request).await {
                    Ok(SubmittedBody { id }) if id == prepared.id => Ok(id),
                    Ok(SubmittedBody { id }) => {
                        Err(Fault::Passing(format!("answered with another id, {id}")))
                    }
                    Err(Fault::Answer(detail)) if detail.code == ErrorCode::Duplicate => Ok(prepared.id),
                    Err(fault) => Err(fault),
                }
            }
        };
        patiently(|| async { Ok(self.transport.any(&ask).await?.1) }).await
    }

    /// Uploads one body to one node, as long as it answers now and then.
    async fn upload(
        &self,
        node: &Node,
        commitment: [u8; 32],
        body: &Bytes,
        told: impl Fn(u64),
    ) -> Result<(), Fault> {
        let path = format!("/v1/bodies/{}", hex::encode(commitment));
        let mut patience = Patience::short();
        let mut at = json::<UploadBody>(self.transport.get(node, &path)).await?.received;
        let mut furthest = 0;
        loop {
            let start = usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
            told(start as u64);
            if start == body.len() {
                return Ok(());
            }
            let end = (start + PIECE_BYTES).min(body.len());
            let piece = body.slice(start..end);
            let request = self
                .transport
                .put(node, &format!("{path}?offset={start}"))
                .body(piece)
                .silence(SHORT_PATIENCE);
            match json::<UploadBody>(request).await {
                Ok(UploadBody { received }) if received != end as u64 => {
                    return Err(Fault::Passing(format!("took bytes up to {end} and says {received}")));
                }
                Ok(UploadBody { received }) => {
                    at = received;
                    // Who loses everything now and then gets no further.
                    if at > furthest {
                        furthest = at;
                        patience.answered();
                    }
                }
                // What came of the piece is there: ask how much that is.
                Err(fault) => {
                    patience.bear_fault(fault).await?;
                    if let Ok(UploadBody { received }) = json(self.transport.get(node, &path)).await {
                        at = received;
                    }
                }
            }
        }
    }
}
