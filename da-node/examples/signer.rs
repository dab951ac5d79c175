//! A small remote signer, for the tests and to read: `signer KEY SIGNED CHAIN_ID SOCKET`.
//!
//! It dials in at a node's `signer_listen`, a Unix socket, again and again, and speaks the privval protocol of CometBFT
//! v0.38: tells its public key, answers pings, signs votes and proposals of the one chain. KEY is a node's
//! `consensus.key`. SIGNED remembers height, round, step and bytes of what was signed last, on disk before the signature
//! leaves; nothing before that is signed, and nothing else at it. It ends when its standard input does.
//!
//! What it signs it derives by tendermint-rs from the fields of the request, as tmkms does; it shares no code with the
//! node.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use ed25519_consensus::SigningKey;
use prost::Message as _;
use tendermint::{chain, proposal::SignProposalRequest, vote::SignVoteRequest};
use tendermint_proto::v0_38::{
    crypto::{PublicKey, public_key},
    privval::{
        Message, PingResponse, PubKeyResponse, RemoteSignerError, SignedProposalResponse, SignedVoteResponse,
        message::Sum,
    },
    types::SignedMsgType,
};

/// Pause between two attempts to reach the node.
const REDIAL: Duration = Duration::from_millis(100);

/// More than any request takes.
const MAX_MESSAGE_BYTES: u64 = 16 << 10;

struct Signer {
    key: SigningKey,
    signed: PathBuf,
    chain_id: chain::Id,
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [key, signed, chain_id, socket] = &arguments[..] else {
        bail!("usage: signer KEY SIGNED CHAIN_ID SOCKET");
    };
    let mut seed = [0; 32];
    hex::decode_to_slice(fs::read_to_string(key)?.trim(), &mut seed)?;
    let signer = Signer {
        key: SigningKey::from(seed),
        signed: signed.into(),
        chain_id: chain_id.parse().map_err(plain)?,
    };
    thread::spawn(|| {
        // Whatever comes is of no interest; the end is.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    loop {
        if let Ok(stream) = UnixStream::connect(socket)
            && let Err(error) = signer.serve(stream)
        {
            eprintln!("signer: {error:#}");
        }
        thread::sleep(REDIAL);
    }
}

/// tendermint-rs's errors are no `std` errors.
#[expect(clippy::needless_pass_by_value, reason = "what map_err passes")]
fn plain(error: tendermint::Error) -> anyhow::Error {
    anyhow!("{error}")
}

impl Signer {
    /// Answers until the node closes the connection.
    fn serve(&self, mut stream: UnixStream) -> Result<()> {
        loop {
            let request = read(&mut stream)?.sum.context("an empty message")?;
            let answer = match request {
                Sum::PingRequest(_) => Sum::PingResponse(PingResponse {}),
                Sum::PubKeyRequest(_) => {
                    let key = self.key.verification_key().to_bytes().to_vec();
                    let pub_key = Some(PublicKey { sum: Some(public_key::Sum::Ed25519(key)) });
                    Sum::PubKeyResponse(PubKeyResponse { pub_key, error: None })
                }
                Sum::SignVoteRequest(request) => {
                    let mut vote = request.vote.clone().context("no vote")?;
                    let step = if vote.r#type == i32::from(SignedMsgType::Prevote) { 2 } else { 3 };
                    let request = SignVoteRequest::try_from(request).map_err(plain)?;
                    let (place, bytes) =
                        ((vote.height, vote.round, step), request.clone().into_signable_vec());
                    Sum::SignedVoteResponse(match self.sign(&request.chain_id, place, &bytes)? {
                        Ok(signature) => {
                            vote.signature = signature;
                            SignedVoteResponse { vote: Some(vote), error: None }
                        }
                        Err(error) => SignedVoteResponse { vote: None, error: Some(error) },
                    })
                }
                Sum::SignProposalRequest(request) => {
                    let mut proposal = request.proposal.clone().context("no proposal")?;
                    let request = SignProposalRequest::try_from(request).map_err(plain)?;
                    let (place, bytes) =
                        ((proposal.height, proposal.round, 1), request.clone().into_signable_vec());
                    Sum::SignedProposalResponse(match self.sign(&request.chain_id, place, &bytes)? {
                        Ok(signature) => {
                            proposal.signature = signature;
                            SignedProposalResponse { proposal: Some(proposal), error: None }
                        }
                        Err(error) => SignedProposalResponse { proposal: None, error: Some(error) },
                    })
                }
                other => bail!("an answer in place of a request: {other:?}"),
            };
            stream.write_all(&Message { sum: Some(answer) }.encode_length_delimited_to_vec())?;
        }
    }

    /// Signs, unless it signed something later, or something else there.
    fn sign(
        &self,
        chain_id: &chain::Id,
        place: (i64, i32, u8),
        bytes: &[u8],
    ) -> Result<Result<Vec<u8>, RemoteSignerError>> {
        let refuse = |description: String| Ok(Err(RemoteSignerError { code: 3, description }));
        if *chain_id != self.chain_id {
            return refuse(format!("chain {chain_id} is not {}", self.chain_id));
        }
        let (height, round, step) = place;
        let entry = format!("{height} {round} {step} {}", hex::encode(bytes));
        if let Ok(last) = fs::read_to_string(&self.signed)
            && last != entry
        {
            let mut words = last.split(' ');
            let mut next = || words.next().context("the record is damaged");
            let last = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
            if place <= last {
                return refuse(format!("{place:?} is not after {last:?}, which was signed last"));
            }
        }
        let fresh = self.signed.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(entry.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.signed)?;
        println!("{height} {round} {step}");
        Ok(Ok(self.key.sign(bytes).to_bytes().to_vec()))
    }
}

/// A message after its length.
fn read(stream: &mut UnixStream) -> Result<Message> {
    let mut length = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        length.push(byte[0]);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let length = prost::decode_length_delimiter(&length[..])? as u64;
    if length > MAX_MESSAGE_BYTES {
        bail!("a message of {length} bytes");
    }
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes)?;
    Ok(Message::decode(&bytes[..])?)
}
