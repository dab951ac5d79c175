//! A remote signer that shares no code with the engine: what it signs, tendermint-rs derives from the request.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_malachitebft_signing_ed25519::PrivateKey;
use prost::Message as _;
use tendermint::proposal::SignProposalRequest;
use tendermint::vote::SignVoteRequest;
use tendermint_proto::v0_38::crypto::{PublicKey, public_key};
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{
    Message, PingResponse, PubKeyResponse, RemoteSignerError, SignedProposalResponse, SignedVoteResponse,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// Height, round, step and bytes of what was signed last.
pub(crate) type Last = Arc<Mutex<(i64, i32, u8, Vec<u8>)>>;

/// Dials in again and again, until it is dropped.
pub(crate) struct Signer(JoinHandle<()>);

impl Drop for Signer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Signer {
    pub(crate) fn start(path: PathBuf, seed: [u8; 32], last: Last) -> Self {
        Self(tokio::spawn(async move {
            loop {
                if let Ok(stream) = UnixStream::connect(&path).await {
                    serve(stream, &PrivateKey::from(seed), &last).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
    }
}

async fn serve(mut stream: UnixStream, key: &PrivateKey, last: &Last) {
    while let Some(asked) = read(&mut stream).await {
        let answer = match asked {
            Sum::PubKeyRequest(_) => {
                let sum = public_key::Sum::Ed25519(key.public_key().as_bytes().to_vec());
                Sum::PubKeyResponse(PubKeyResponse {
                    pub_key: Some(PublicKey { sum: Some(sum) }),
                    error: None,
                })
            }
            Sum::SignVoteRequest(request) => {
                let mut vote = request.vote.clone().unwrap();
                let bytes = SignVoteRequest::try_from(request).unwrap().into_signable_vec();
                let signed = sign(key, last, (vote.height, vote.round, vote.r#type as u8 + 1, bytes));
                let error = signed.map(|signature| vote.signature = signature).err();
                Sum::SignedVoteResponse(SignedVoteResponse { vote: error.is_none().then_some(vote), error })
            }
            Sum::SignProposalRequest(request) => {
                let mut proposal = request.proposal.clone().unwrap();
                let bytes = SignProposalRequest::try_from(request).unwrap().into_signable_vec();
                let signed = sign(key, last, (proposal.height, proposal.round, 1, bytes));
                let error = signed.map(|signature| proposal.signature = signature).err();
                let proposal = error.is_none().then_some(proposal);
                Sum::SignedProposalResponse(SignedProposalResponse { proposal, error })
            }
            _ => Sum::PingResponse(PingResponse {}),
        };
        let answer = Message { sum: Some(answer) }.encode_length_delimited_to_vec();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Signs like CometBFT's own: nothing before what was signed last, and nothing else there.
fn sign(key: &PrivateKey, last: &Last, next: (i64, i32, u8, Vec<u8>)) -> Result<Vec<u8>, RemoteSignerError> {
    let mut last = last.lock().unwrap();
    if next != *last && (next.0, next.1, next.2) <= (last.0, last.1, last.2) {
        let description = format!("{:?} after {:?}", (next.0, next.1, next.2), (last.0, last.1, last.2));
        return Err(RemoteSignerError { code: 3, description });
    }
    let signature = key.sign(&next.3).to_bytes().to_vec();
    *last = next;
    Ok(signature)
}

async fn read(stream: &mut UnixStream) -> Option<Sum> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.ok()?;
    Message::decode(&bytes[..]).unwrap().sum
}
