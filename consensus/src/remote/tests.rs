#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::path::Path;

use arc_malachitebft_signing_ed25519::PrivateKey;
use cometbft_p2p::{AsyncReadMsg as _, AsyncSecretConnection, AsyncWriteMsg as _};
use prost::Message as _;
use tendermint_proto::google::protobuf::Timestamp;
use tendermint_proto::v0_38::crypto::{PublicKey as RawPublicKey, public_key};
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{
    Message, PingResponse, PubKeyResponse, RemoteSignerError, SignVoteRequest, SignedVoteResponse,
};
use tendermint_proto::v0_38::types::Vote;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::*;

fn key() -> PrivateKey {
    PrivateKey::from([1; 32])
}

fn config(address: &str, public_key: Option<PublicKey>) -> SignerConfig {
    SignerConfig {
        address: address.parse().unwrap(),
        chain_id: "weft-test".into(),
        identity_seed: [9; 32],
        public_key: public_key.map(|key| *key.as_bytes()),
    }
}

const TIME: Timestamp = Timestamp { seconds: 5, nanos: 6 };

fn question() -> Question {
    let vote = Vote { height: 1, timestamp: Some(TIME), ..Default::default() };
    let sum = Sum::SignVoteRequest(SignVoteRequest { vote: Some(vote), chain_id: "weft-test".into() });
    Question { sum, sign_bytes: b"a vote".to_vec() }
}

/// A signed vote, dated and signed as told.
fn signed(timestamp: Timestamp, message: &[u8]) -> Sum {
    let signature = key().sign(message).to_bytes().to_vec();
    let vote = Vote { height: 1, timestamp: Some(timestamp), signature, ..Default::default() };
    Sum::SignedVoteResponse(SignedVoteResponse { vote: Some(vote), error: None })
}

fn delimited(sum: Sum) -> Vec<u8> {
    Message { sum: Some(sum) }.encode_length_delimited_to_vec()
}

fn its_key(key: &PrivateKey) -> Sum {
    let sum = public_key::Sum::Ed25519(key.public_key().as_bytes().to_vec());
    Sum::PubKeyResponse(PubKeyResponse { pub_key: Some(RawPublicKey { sum: Some(sum) }), error: None })
}

/// A signer that says what it is told to.
struct Script(UnixStream);

impl Script {
    async fn dial(path: &Path, key: &PrivateKey) -> Self {
        let mut script = Self(UnixStream::connect(path).await.unwrap());
        assert!(
            matches!(script.asked().await, Some(Sum::PubKeyRequest(asked)) if asked.chain_id == "weft-test")
        );
        script.say(&delimited(its_key(key))).await;
        script
    }

    /// The next request; nothing when the node has closed the connection.
    async fn asked(&mut self) -> Option<Sum> {
        let mut bytes = vec![0; self.0.read_u8().await.ok()?.into()];
        self.0.read_exact(&mut bytes).await.ok()?;
        Message::decode(&bytes[..]).unwrap().sum
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Answers pings, until there is something to sign; says `answer` to that.
    async fn answer(&mut self, answer: &[u8]) {
        loop {
            match self.asked().await {
                Some(Sum::PingRequest(_)) => self.say(&delimited(Sum::PingResponse(PingResponse {}))).await,
                Some(Sum::SignVoteRequest(_)) => return self.say(answer).await,
                other => panic!("asked for {other:?}"),
            }
        }
    }
}

async fn connected(signer: &RemoteSigner, is: bool) {
    signer.connected().wait_for(|connected| *connected == is).await.unwrap();
}

/// A node that listens in a folder, for the signer with [`key`].
async fn listening() -> (tempfile::TempDir, std::path::PathBuf, RemoteSigner) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signer");
    let address = format!("unix://{}", path.display());
    let signer = RemoteSigner::listen(config(&address, Some(key().public_key()))).await.unwrap();
    (folder, path, signer)
}

#[tokio::test]
async fn what_a_signer_signs_is_checked_and_a_refusal_leaves_it_connected() {
    let (_folder, path, signer) = listening().await;
    assert!(matches!(signer.sign(question()).await, Err(SignerError::Absent)));
    let mut script = Script::dial(&path, &key()).await;
    connected(&signer, true).await;

    let later = Timestamp { seconds: 6, ..TIME };
    let refusal = RemoteSignerError { code: 3, description: "double sign".into() };
    let refusal = Sum::SignedVoteResponse(SignedVoteResponse { vote: None, error: Some(refusal) });
    let answers = [
        (signed(TIME, b"a vote"), None),
        (signed(later, b"a vote"), Some(SignerError::Timestamp)),
        (signed(TIME, b"another vote"), Some(SignerError::Signature)),
        (refusal, Some(SignerError::Refused { description: "double sign".into(), code: 3 })),
        (signed(TIME, b"a vote"), None),
    ];
    for (answer, expected) in answers {
        let answer = delimited(answer);
        let (got, ()) = tokio::join!(signer.sign(question()), script.answer(&answer));
        match (got, expected) {
            (Ok(signature), None) => key().public_key().verify(b"a vote", &signature).unwrap(),
            (Err(got), Some(expected)) => {
                assert_eq!(got.to_string(), expected.to_string());
                assert!(!got.is_passing());
            }
            (got, expected) => panic!("{got:?} in place of {expected:?}"),
        }
        assert!(*signer.connected().borrow());
    }
}

#[tokio::test]
async fn a_signer_that_breaks_the_protocol_is_disconnected_and_may_come_back() {
    let (_folder, path, signer) = listening().await;
    let answers: [&[u8]; 5] = [
        // Announces 16 GiB, 128 KiB, garbage, nothing, and then something that it was not asked.
        &[0xff, 0xff, 0xff, 0xff, 0x3f],
        &[0x80, 0x80, 0x08],
        &[0x03, 0xff, 0xff, 0xff],
        &[0x00],
        &delimited(Sum::PingResponse(PingResponse {})),
    ];
    for answer in answers {
        let mut script = Script::dial(&path, &key()).await;
        connected(&signer, true).await;
        let (got, ()) = tokio::join!(signer.sign(question()), script.answer(answer));
        let error = got.unwrap_err();
        assert!(error.is_passing(), "{error}");
        assert!(!*signer.connected().borrow());
        assert!(script.asked().await.is_none(), "still connected after {error}");
    }
    let mut script = Script::dial(&path, &key()).await;
    let answer = delimited(signed(TIME, b"a vote"));
    connected(&signer, true).await;
    let (got, ()) = tokio::join!(signer.sign(question()), script.answer(&answer));
    got.unwrap();
}

#[tokio::test]
async fn a_silent_signer_costs_a_signature_and_its_connection() {
    let (_folder, path, signer) = listening().await;
    let _silent = Script::dial(&path, &key()).await;
    connected(&signer, true).await;
    assert!(matches!(signer.sign(question()).await, Err(SignerError::Silent | SignerError::Absent)));
    assert!(matches!(signer.sign(question()).await, Err(SignerError::Absent)));
    let mut script = Script::dial(&path, &key()).await;
    connected(&signer, true).await;
    let answer = delimited(signed(TIME, b"a vote"));
    let (got, ()) = tokio::join!(signer.sign(question()), script.answer(&answer));
    got.unwrap();
}

#[tokio::test]
async fn a_signer_that_goes_away_between_votes_is_missed() {
    let (_folder, path, signer) = listening().await;
    let script = Script::dial(&path, &key()).await;
    connected(&signer, true).await;
    drop(script);
    connected(&signer, false).await;
}

#[tokio::test]
async fn another_validators_signer_is_turned_away() {
    let (_folder, path, signer) = listening().await;
    let mut other = Script::dial(&path, &PrivateKey::from([2; 32])).await;
    assert!(other.asked().await.is_none());
    assert!(!*signer.connected().borrow());
    let _own = Script::dial(&path, &key()).await;
    connected(&signer, true).await;
}

#[tokio::test]
async fn the_first_signer_tells_the_key_and_a_socket_file_left_behind_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signer");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address = format!("unix://{}", path.display());
    // Nobody listens at what is left.
    assert!(UnixStream::connect(&path).await.is_err());
    let dialling = async {
        while UnixStream::connect(&path).await.is_err() {
            tokio::task::yield_now().await;
        }
        Script::dial(&path, &key()).await
    };
    let (signer, _script) = tokio::join!(RemoteSigner::listen(config(&address, None)), dialling);
    let signer = signer.unwrap();
    assert_eq!(signer.public_key(), *key().public_key().as_bytes());

    let second = RemoteSigner::listen(config(&address, None)).await;
    assert!(matches!(second, Err(SignerError::Listen { .. })), "two nodes at one socket");
}

#[tokio::test]
async fn over_tcp_the_connection_is_secret_and_the_signers_id_is_checked() {
    let identity = IdentitySecret::from_bytes(&[7; 32]);
    let id = cometbft_p2p::PublicKey::from(&identity).peer_id();
    let address = format!("tcp://{id}@127.0.0.1:0");
    let signer = RemoteSigner::listen(config(&address, Some(key().public_key()))).await.unwrap();
    let SignerAddress::Tcp { listen, .. } = signer.address() else { panic!("not TCP") };

    let stranger = IdentitySecret::from_bytes(&[8; 32]);
    let stream = TcpStream::connect(listen).await.unwrap();
    let mut secret = AsyncSecretConnection::new(stream, &stranger).await.unwrap();
    assert!(secret.read_msg::<Message>().await.is_err(), "a stranger was asked");

    let stream = TcpStream::connect(listen).await.unwrap();
    let mut secret = AsyncSecretConnection::new(stream, &identity).await.unwrap();
    let node = cometbft_p2p::PublicKey::from(&IdentitySecret::from_bytes(&[9; 32]));
    assert_eq!(*secret.peer_public_key(), node);
    let answering = async {
        loop {
            let asked: Message = secret.read_msg().await.unwrap();
            let (answer, last) = match asked.sum.unwrap() {
                Sum::PubKeyRequest(_) => (its_key(&key()), false),
                Sum::PingRequest(_) => (Sum::PingResponse(PingResponse {}), false),
                _ => (signed(TIME, b"a vote"), true),
            };
            secret.write_msg(Message { sum: Some(answer) }).await.unwrap();
            if last {
                return;
            }
        }
    };
    let asking = async {
        connected(&signer, true).await;
        signer.sign(question()).await.unwrap();
    };
    tokio::join!(answering, asking);
}
