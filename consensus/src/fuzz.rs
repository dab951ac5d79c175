//! What the fuzz targets of this crate run, and the tests below a bounded number of times: what peers and signers send,
//! and what the record of signatures holds.

#![allow(clippy::expect_used, clippy::panic, reason = "a body panics when something does not hold")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_app::types::streaming::{StreamId, StreamMessage};
use arc_malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use arc_malachitebft_core_types::{
    ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate, PolkaSignature, Round,
    RoundCertificate, RoundCertificateType, RoundSignature, SignedMessage, ValidatorProof, Validity,
    VoteType,
};
use arc_malachitebft_engine::util::streaming::StreamContent;
use arc_malachitebft_signing_ed25519::{PrivateKey, Signature};
use arc_malachitebft_sync::{RawDecidedValue, Request, Response, Status, ValueRequest, ValueResponse};
use bytes::Bytes;
use prost::Message as _;
use tendermint_proto::v0_38::privval::message::Sum;
use tendermint_proto::v0_38::privval::{Message, SignVoteRequest, SignedVoteResponse};
use tendermint_proto::v0_38::types as raw;

use crate::app::Payload;
use crate::block_ref::BlockRef;
use crate::context::{Address, Height, Part, Proposal, Vote, WeftContext as Ctx};
use crate::guard;
use crate::remote::{Question, SignerAddress, read_delimited};
use crate::signing::SignBytes;
use crate::wire::Wire;

pub(crate) fn block() -> BlockRef {
    let time = tendermint::Time::from_unix_timestamp(1_700_000_000, 999_999_999).expect("a time");
    BlockRef::from_parts(tendermint::Hash::Sha256([5; 32]), time)
}

pub(crate) fn peer_id() -> PeerId {
    let keypair = arc_malachitebft_app::types::Keypair::ed25519_from_bytes([8; 32]).expect("a key");
    PeerId::from_bytes(&keypair.public().to_peer_id().to_bytes()).expect("an id")
}

pub(crate) fn signature() -> Signature {
    Signature::from_bytes([3; 64])
}

fn height() -> Height {
    Height::new(9).expect("a height")
}

pub(crate) fn vote(value: NilOrVal<BlockRef>) -> SignedMessage<Ctx, Vote> {
    let address = Address([1; 20]);
    let vote =
        Vote { vote_type: VoteType::Precommit, height: height(), round: Round::new(2), value, address };
    SignedMessage::new(vote, signature())
}

pub(crate) fn part() -> Part {
    Part {
        height: height(),
        round: Round::new(0),
        proposer: Address([1; 20]),
        payload: Bytes::from_static(b"payload"),
        signature: Some(signature()),
    }
}

/// The key that signs what the verifiers check.
fn key() -> PrivateKey {
    PrivateKey::from([1; 32])
}

fn chain() -> SignBytes {
    SignBytes::new("weft-test".parse().expect("an id"))
}

/// A part with a header, and a vote, both signed.
fn signed() -> (Part, SignedMessage<Ctx, Vote>) {
    let header = crate::test_blocks::header(9, 1);
    let block = BlockRef::of(&header);
    let unsigned = Part { payload: Payload { header, body: Bytes::from_static(b"body") }.encode(), ..part() };
    let proposal = SignBytes::fresh(&unsigned, block);
    let part = Part { signature: Some(key().sign(&chain().proposal(&proposal))), ..unsigned };
    let vote = vote(NilOrVal::Val(block)).message;
    let signature = key().sign(&chain().vote(&vote));
    (part, SignedMessage::new(vote, signature))
}

fn question() -> Question {
    let vote = raw::Vote { height: 1, timestamp: Some(TIME), ..Default::default() };
    let sum = Sum::SignVoteRequest(SignVoteRequest { vote: Some(vote), chain_id: "weft-test".into() });
    Question { sum, sign_bytes: b"a vote".to_vec() }
}

const TIME: tendermint_proto::google::protobuf::Timestamp =
    tendermint_proto::google::protobuf::Timestamp { seconds: 5, nanos: 6 };

fn answer() -> Message {
    let signature = key().sign(b"a vote").to_bytes().to_vec();
    let vote = raw::Vote { height: 1, timestamp: Some(TIME), signature, ..Default::default() };
    Message { sum: Some(Sum::SignedVoteResponse(SignedVoteResponse { vote: Some(vote), error: None })) }
}

/// A valid encoding of each kind of message and record.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let (height, round, value_id, address) = (height(), Round::new(2), block(), Address([1; 20]));
    let proposal = Proposal { height, round, value: value_id, pol_round: Round::Nil, address };
    let polka_signatures = vec![PolkaSignature::new(address, signature()); 3];
    let polka = PolkaCertificate { height, round, value_id, polka_signatures };
    let nil = RoundSignature::new(VoteType::Prevote, NilOrVal::Nil, address, signature());
    let round_signatures = vec![nil; 2];
    let cert_type = RoundCertificateType::Skip;
    let skip = RoundCertificate { height, round, cert_type, round_signatures };
    let commit_signatures = vec![ExtendedCommitSignature::new(address, signature(), None); 2];
    let certificate = ExtendedCommitCertificate { height, round, value_id, commit_signatures };
    let raw = RawDecidedValue::new(Bytes::from_static(b"value"), certificate);
    let (validity, valid_round, proposer, value) = (Validity::Valid, Round::Nil, address, value_id);
    let (signed_part, signed_vote) = signed();
    let log = |step, height, hash: [u8; 32]| {
        format!("{step} {height} 0 {}\n", tendermint::Hash::Sha256(hash).to_string().to_lowercase())
    };
    let wires = [
        SignedConsensusMsg::<Ctx>::Vote(vote(NilOrVal::Nil)).to_wire(),
        SignedConsensusMsg::<Ctx>::Vote(signed_vote).to_wire(),
        SignedConsensusMsg::<Ctx>::Proposal(SignedMessage::new(proposal, signature())).to_wire(),
        LivenessMsg::PolkaCertificate(polka).to_wire(),
        LivenessMsg::SkipRoundCertificate(skip).to_wire(),
        ProposedValue::<Ctx> { height, round, valid_round, proposer, value, validity }.to_wire(),
        Response::ValueResponse(ValueResponse::new(height, vec![raw; 2])).to_wire(),
        Request::<Ctx>::ValueRequest(ValueRequest::new(height..=height)).to_wire(),
        Status::<Ctx> { peer_id: peer_id(), tip_height: height, history_min_height: height }.to_wire(),
        ValidatorProof::<Ctx>::new(vec![1; 32], vec![2; 38], signature()).to_wire(),
        StreamMessage::new(StreamId::new(Bytes::from_static(b"id")), 3, StreamContent::Data(part()))
            .to_wire(),
        signed_part.payload.clone(),
        signed_part.to_wire(),
    ];
    let mut all: Vec<Vec<u8>> = wires.into_iter().map(Vec::from).collect();
    all.push(answer().encode_length_delimited_to_vec());
    all.push(Message { sum: Some(question().sum) }.encode_length_delimited_to_vec());
    all.push((log("prevote", 7, [7; 32]) + &log("precommit", 6, [8; 32])).into_bytes());
    all.push(b"tcp://0123456789abcdef0123456789abcdef01234567@127.0.0.1:26659".to_vec());
    all
}

/// What a signer's answer, length first, says; none if it says nothing.
fn delimited(mut data: &[u8]) -> Option<Message> {
    let reading = pin!(read_delimited(&mut data));
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(message) => message.ok(),
        Poll::Pending => panic!("a slice is always ready"),
    }
}

/// Decodes `data` as everything that peers and signers send and the guard's file holds. All but privval's messages and
/// the header in a payload, which are protobuf of Tendermint's, is canonical.
pub fn decoders(data: &[u8]) {
    macro_rules! canonical {
        ($($type:ty),*) => {$(
            if let Ok(value) = <$type>::from_wire(Bytes::copy_from_slice(data)) {
                assert_eq!(value.to_wire(), data, stringify!($type));
            }
        )*};
    }
    canonical!(SignedConsensusMsg<Ctx>, LivenessMsg<Ctx>, StreamMessage<Part>, Part, ValidatorProof<Ctx>);
    canonical!(PolkaCertificate<Ctx>, RoundCertificate<Ctx>, ExtendedCommitCertificate<Ctx>);
    canonical!(ProposedValue<Ctx>, Response<Ctx>, Request<Ctx>, Status<Ctx>, BlockRef);
    if let Ok(payload) = Payload::decode(Bytes::copy_from_slice(data)) {
        assert_eq!(Payload::decode(payload.encode()), Ok(payload));
    }
    let _ = delimited(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(marks) = guard::read(text) {
        // Lines may come in another order.
        assert_eq!(guard::read(&guard::written(&marks)), Ok(marks));
        assert_eq!(guard::written(&marks).len(), text.len());
    }
    if let Ok(address) = text.parse::<SignerAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

/// Checks the signatures of `data`, a signed message or answer that was changed: what verifies is what was signed.
pub fn verifiers(data: &[u8]) {
    let (chain, key) = (chain(), key().public_key());
    let (part, vote) = signed();
    if let Ok(SignedConsensusMsg::<Ctx>::Vote(other)) =
        SignedConsensusMsg::from_wire(Bytes::copy_from_slice(data))
        && chain.check_vote(&other, &key)
    {
        // The voter's address finds the key and is not signed.
        assert_eq!(Vote { address: vote.message.address, ..other.message }, vote.message);
    }
    if let Ok(other) = Part::from_wire(Bytes::copy_from_slice(data))
        && let Ok(Payload { header, .. }) = Payload::decode(other.payload.clone())
        && chain.check_part(&other, BlockRef::of(&header), &key)
    {
        // The header commits to the body, which the application checks.
        let expected = Payload::decode(part.payload).map(|payload| payload.header);
        assert_eq!((Ok(header), other.height, other.round), (expected, part.height, part.round));
    }
    if let Some(Message { sum: Some(sum) }) = delimited(data)
        && let Ok(signature) = question().answered(sum, &key)
    {
        key.verify(b"a vote", &signature).expect("a signature that was handed on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: fuzzing::Measured = fuzzing::Measured;

    fn run(body: fn(&[u8]), runs: u64) {
        let seeds = seeds();
        let body = |data: &[u8]| {
            if let Some((_, bytes)) = fuzzing::chosen(&seeds, data) {
                let ((), largest) = fuzzing::largest_allocation(|| body(&bytes));
                // A message of a signer is read into what its length says, which is at most 16 KiB.
                assert!(largest <= (16 << 10) + 8 * bytes.len(), "{largest} bytes for {}", bytes.len());
            }
            body(data);
        };
        fuzzing::run(body, runs, 18);
    }

    #[test]
    fn decoders_hold() {
        run(decoders, 20_000);
    }

    #[test]
    fn verifiers_hold() {
        run(verifiers, 2_000);
    }
}
