//! Truncated, oversize, malformed and endless frames, on every protocol and in both directions.

use std::time::Duration;

use futures::future::join_all;
use network::{FrameError, Kind, Request, RequestError, ServesNothing};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    adversary::{Adversary, Raw},
    support::{Echo, Node, client, config, request, serving, start, within},
};

const OVERSIZE: &[u8] = &[0xff, 0xff, 0xff, 0x7f];
const ENDLESS: &[u8] = &[0xff; 64];
const NOT_PROTOBUF: &[u8] = &[3, 0xff, 0xff, 0xff];
const TRUNCATED: &[u8] = &[9, 1, 2];
const EMPTY: &[u8] = &[];

async fn still_serves(node: &Node) {
    let client = client().await;
    client.connect(node).await;
    let answer = client.network.request(node.id(), request(Kind::Sample));
    assert!(within(answer).await.is_ok());
}

#[tokio::test]
async fn bad_requests_are_not_answered_and_their_sender_is_dropped() {
    let server = start(serving(), Echo).await;
    let target = (server.id(), server.address());
    for (bytes, banned) in
        [(EMPTY, false), (TRUNCATED, false), (OVERSIZE, true), (ENDLESS, true), (NOT_PROTOBUF, true)]
    {
        let before = server.network.metrics().peers_banned.get();
        join_all(Kind::ALL.map(|kind| {
            let target = target.clone();
            async move {
                let adversary = Adversary::start(kind, EMPTY.into()).await;
                let came = adversary.attack(target, bytes).await;
                assert!(came.is_none_or(|bytes| bytes.is_empty()), "{kind:?}");
            }
        }))
        .await;
        let expected = if banned { Kind::ALL.len() as u64 } else { 0 };
        assert_eq!(server.network.metrics().peers_banned.get() - before, expected, "{bytes:?}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_request_out_of_bounds_is_refused_as_malformed() {
    let server = start(serving(), Echo).await;
    let adversary = Adversary::start(Kind::Range, EMPTY.into()).await;
    // Field 3, the count, is 8,193.
    let request: &[u8] = &[3, 0x18, 0x81, 0x40];
    let came = adversary.attack((server.id(), server.address()), request).await;
    // Field 2, the refusal, is 4.
    assert_eq!(came, Some(vec![2, 0x10, 4]));
    assert_eq!(server.network.peers().len(), 1);
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up_at_the_deadline() {
    let mut config = serving();
    config.limits.small_deadline = Duration::from_millis(300);
    config.limits.bulk_deadline = Duration::from_millis(300);
    let server = start(config, Echo).await;
    let target = (server.id(), server.address());
    join_all(Kind::ALL.map(|kind| {
        let target = target.clone();
        async move {
            let adversary = Adversary::start(kind, EMPTY.into()).await;
            let raw = Raw { bytes: TRUNCATED.to_vec(), stalls: true };
            assert_eq!(adversary.attack(target, raw).await, None);
        }
    }))
    .await;
    still_serves(&server).await;
}

#[tokio::test]
async fn bad_answers_end_in_typed_errors_and_their_sender_is_dropped() {
    for kind in Kind::ALL {
        let node = client().await;
        for (bytes, banned) in
            [(EMPTY, false), (TRUNCATED, false), (OVERSIZE, true), (ENDLESS, true), (NOT_PROTOBUF, true)]
        {
            let adversary = Adversary::start(kind, bytes.into()).await;
            within(node.network.dial(adversary.address.clone())).await.unwrap();
            let answer = within(node.network.request(adversary.id, request(kind))).await;
            match (bytes, answer) {
                (EMPTY, Err(RequestError::Truncated { expected, got })) => {
                    assert_eq!((expected, got), (0, 0));
                }
                (TRUNCATED, Err(RequestError::Truncated { expected, got })) => {
                    assert_eq!((expected, got), (9, 2));
                }
                (OVERSIZE, Err(RequestError::Oversize { limit, got })) => {
                    assert!(limit < got && limit < kind.max_answer_bytes() + 64);
                }
                (ENDLESS, Err(RequestError::Malformed(FrameError::Length))) => {}
                (NOT_PROTOBUF, Err(RequestError::Malformed(FrameError::Message(_)))) => {}
                (bytes, other) => panic!("{kind:?} {bytes:?}: {other:?}"),
            }
            if banned {
                node.without(adversary.id).await;
            } else {
                assert!(node.network.peers().iter().any(|p| p.id == adversary.id));
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_trickles_ends_at_the_deadline() {
    let deadline = Duration::from_millis(300);
    let mut config = config();
    config.limits.small_deadline = deadline;
    config.limits.bulk_deadline = deadline;
    let node = start(config, ServesNothing).await;
    let node = &node;
    join_all(Kind::ALL.map(|kind| async move {
        let raw = Raw { bytes: TRUNCATED.to_vec(), stalls: true };
        let adversary = Adversary::start(kind, raw).await;
        within(node.network.dial(adversary.address.clone())).await.unwrap();
        let answer = within(node.network.request(adversary.id, request(kind))).await;
        assert_eq!(answer, Err(RequestError::Timeout { deadline }), "{kind:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_peer_that_does_not_introduce_itself_still_says_what_it_lacks() {
    let node = client().await;
    let adversary = Adversary::start(Kind::Sample, EMPTY.into()).await;
    within(node.network.dial(adversary.address.clone())).await.unwrap();
    let request = Request::Index { height: 1 };
    let answer = within(node.network.request(adversary.id, request)).await;
    let kind = Kind::Index;
    assert_eq!(answer, Err(RequestError::Unsupported { kind }));
}

#[tokio::test]
async fn bytes_that_are_no_handshake_are_hung_up_on() {
    let server = start(serving(), Echo).await;
    let port = server.address().to_string();
    let port = port.split('/').nth(4).unwrap().parse::<u16>().unwrap();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 4096]] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let mut rest = Vec::new();
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
    still_serves(&server).await;
}
