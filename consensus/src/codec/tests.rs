//! Every message there and back, cut short and damaged.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::fmt::Debug;

use super::*;
use crate::fuzz::{block, part, peer_id, signature, vote};

/// Round trip; no prefix decodes; one changed byte or random input never panics, and whatever
/// still decodes has the encoding it was decoded from.
fn check<T: Wire + PartialEq + Debug>(value: &T) {
    let bytes = value.to_wire();
    assert_eq!(&T::from_wire(bytes.clone()).unwrap(), value);
    for end in 0..bytes.len() {
        assert!(T::from_wire(bytes.slice(..end)).is_err(), "{end} of {} bytes", bytes.len());
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(T::from_wire(longer.into()).is_err());
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] ^= flip;
            if let Ok(other) = T::from_wire(changed.clone().into()) {
                assert_eq!(other.to_wire(), changed);
            }
        }
    }
    let mut seed = 0x9e37_79b9u32;
    for len in 0..200 {
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        });
        let _ = T::from_wire(noise.take(len).collect());
    }
}

#[test]
fn gossip_messages_survive_a_round_trip_and_nothing_else_does() {
    let proposal = Proposal {
        height: Height::new(9).unwrap(),
        round: Round::new(2),
        value: block(),
        pol_round: Round::Nil,
        address: Address([1; 20]),
    };
    check(&SignedConsensusMsg::<Ctx>::Vote(vote(NilOrVal::Nil)));
    check(&SignedConsensusMsg::<Ctx>::Vote(vote(NilOrVal::Val(block()))));
    check(&SignedConsensusMsg::<Ctx>::Proposal(SignedMessage::new(proposal, signature())));
    check(&part());
    check(&Part { signature: None, ..part() });
    for content in [StreamContent::Data(part()), StreamContent::Fin] {
        check(&StreamMessage::new(StreamId::new(Bytes::from_static(b"id")), 3, content));
    }
    check(&ValidatorProof::<Ctx>::new(vec![1; 32], vec![2; 38], signature()));
}

#[test]
fn certificates_survive_a_round_trip_and_nothing_else_does() {
    let (height, round) = (Height::new(9).unwrap(), Round::new(2));
    let polka_signatures = vec![PolkaSignature::new(Address([1; 20]), signature()); 3];
    let polka = PolkaCertificate { height, round, value_id: block(), polka_signatures };
    check(&polka);
    check(&LivenessMsg::PolkaCertificate(polka));
    check(&LivenessMsg::<Ctx>::Vote(vote(NilOrVal::Nil)));
    for cert_type in [RoundCertificateType::Skip, RoundCertificateType::Precommit] {
        let round_signatures = vec![
            RoundSignature::new(VoteType::Prevote, NilOrVal::Nil, Address([1; 20]), signature()),
            RoundSignature::new(VoteType::Precommit, NilOrVal::Val(block()), Address([2; 20]), signature()),
        ];
        let certificate = RoundCertificate { height, round, cert_type, round_signatures };
        check(&LivenessMsg::SkipRoundCertificate(certificate));
    }
}

#[test]
fn log_and_sync_messages_survive_a_round_trip_and_nothing_else_does() {
    let (height, round) = (Height::new(9).unwrap(), Round::new(2));
    for validity in [Validity::Valid, Validity::Invalid] {
        let proposer = Address([1; 20]);
        let valid_round = Round::Nil;
        check(&ProposedValue::<Ctx> { height, round, valid_round, proposer, value: block(), validity });
    }
    let commit_signatures = vec![ExtendedCommitSignature::new(Address([1; 20]), signature(), None); 2];
    let certificate = ExtendedCommitCertificate { height, round, value_id: block(), commit_signatures };
    let value = RawDecidedValue::new(Bytes::from_static(b"value"), certificate);
    let response = Response::ValueResponse(ValueResponse::new(height, vec![value; 2]));
    check(&response);
    assert_eq!(WeftCodec.encoded_len(&response), Ok(response.to_wire().len()));
    check(&Request::<Ctx>::ValueRequest(ValueRequest::new(height..=Height::new(12).unwrap())));
    check(&Status::<Ctx> { peer_id: peer_id(), tip_height: height, history_min_height: height });
}

#[test]
fn an_announced_length_is_refused_before_anything_is_allocated() {
    let mut out = BytesMut::new();
    block().write(&mut out);
    let mut bytes = BytesMut::new();
    Height::new(1).unwrap().write(&mut bytes);
    Round::new(0).write(&mut bytes);
    bytes.extend_from_slice(&out);
    bytes.put_u32(u32::MAX);
    let refused = PolkaCertificate::<Ctx>::from_wire(bytes.freeze());
    assert_eq!(refused, Err(DecodeError::TooLong { limit: MAX_SIGNATURES, got: u32::MAX as usize }));
}
