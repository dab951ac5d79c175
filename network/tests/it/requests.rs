//! Requests and answers between honest peers.

use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use network::{Answer, Kind, Network, PeerId, Provider, Refusal, Request, RequestError, ServesNothing};
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, mpsc};

use crate::support::{Always, Echo, Node, QUIC, client, config, echo, request, serving, start, within};

#[tokio::test]
async fn every_kind_is_asked_and_answered_over_tcp_and_quic() {
    for listen in [crate::support::TCP, QUIC] {
        let server =
            start(network::Config { listen: vec![listen.parse().unwrap()], ..serving() }, Echo).await;
        let client = client().await;
        client.connect(&server).await;
        for kind in Kind::ALL {
            let request = request(kind);
            let answer = within(client.network.request(server.id(), request.clone())).await;
            assert_eq!(answer, Ok(echo(&request)), "{kind:?} over {listen}");
            let traffic = client.network.traffic(kind);
            assert!(traffic.read_bytes > traffic.written_bytes);
        }
    }
}

#[tokio::test]
async fn the_largest_answer_of_every_kind_arrives_and_a_larger_one_is_refused() {
    for kind in Kind::ALL {
        for (bytes, fits) in [(kind.max_answer_bytes(), true), (kind.max_answer_bytes() + 1, false)] {
            let payload = Bytes::from(vec![7; bytes]);
            let server = start(serving(), Always(Ok(payload.clone()))).await;
            let client = client().await;
            client.connect(&server).await;
            let answer = within(client.network.request(server.id(), request(kind))).await;
            if fits {
                assert_eq!(answer, Ok(payload), "{kind:?}");
            } else {
                assert_eq!(answer, Err(Refusal::Malformed.into()), "{kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_refusal_is_told_apart() {
    for refusal in [Refusal::NotFound, Refusal::Pruned, Refusal::Busy, Refusal::Malformed] {
        let server = start(serving(), Always(Err(refusal))).await;
        let client = client().await;
        client.connect(&server).await;
        let answer = client.network.request(server.id(), request(Kind::Sample));
        assert_eq!(within(answer).await, Err(RequestError::Refused(refusal)));
    }
}

#[tokio::test]
async fn a_request_out_of_bounds_is_not_sent() {
    let client = client().await;
    let request = Request::Body { commitment: [0; 32], offset: 0, len: (1 << 20) + 1 };
    let answer = client.network.request(client.id(), request).await;
    assert!(matches!(answer, Err(RequestError::Invalid(bounds)) if bounds.field == "len"));
}

#[tokio::test]
async fn a_peer_is_asked_only_what_it_serves_and_only_while_connected() {
    let light = network::Config { serves: vec![Kind::Sample], ..serving() };
    let server = start(light, Echo).await;
    let client = client().await;
    let sample = request(Kind::Sample);
    let answer = client.network.request(server.id(), sample.clone()).await;
    assert_eq!(answer, Err(RequestError::Disconnected));
    client.connect(&server).await;
    let answer = within(client.network.request(server.id(), sample)).await;
    assert!(answer.is_ok());
    let kind = Kind::Body;
    let answer = within(client.network.request(server.id(), request(kind))).await;
    assert_eq!(answer, Err(RequestError::Unsupported { kind }));
}

#[tokio::test]
async fn a_server_asks_a_client_that_listens_nowhere_over_the_clients_connection() {
    let server = start(serving(), ServesNothing).await;
    let behind_nat = network::Config { listen: Vec::new(), bootstrap: vec![server.address()], ..serving() };
    let client = start(behind_nat, Echo).await;
    server.identified(client.id()).await;
    assert!(client.network.listen_addrs().is_empty());
    assert!(!server.network.peers()[0].outbound);
    let request = request(Kind::Sample);
    let answer = within(server.network.request(client.id(), request.clone())).await;
    assert_eq!(answer, Ok(echo(&request)));
}

/// Tells when a request came, and answers once allowed.
struct Gated {
    came: mpsc::UnboundedSender<()>,
    allowed: Arc<Semaphore>,
}

#[async_trait]
impl Provider for Gated {
    async fn serve(&self, _: PeerId, request: Request) -> Answer {
        self.came.send(()).unwrap();
        let _allowed = self.allowed.acquire().await.unwrap();
        Ok(echo(&request))
    }
}

#[tokio::test]
async fn requests_above_the_peers_and_the_nodes_slots_are_busy() {
    for per_peer in [true, false] {
        let mut config = serving();
        if per_peer {
            config.limits.inbound_requests_per_peer = 2;
        } else {
            config.limits.inbound_requests = 2;
        }
        let (came, mut comes) = mpsc::unbounded_channel();
        let allowed = Arc::new(Semaphore::new(0));
        let provider = Gated { came, allowed: allowed.clone() };
        let server = start(config, provider).await;
        let client = client().await;
        client.connect(&server).await;
        let ask = || client.network.request(server.id(), request(Kind::Sample));
        let third = async {
            within(comes.recv()).await.unwrap();
            within(comes.recv()).await.unwrap();
            assert_eq!(ask().await, Err(Refusal::Busy.into()));
            allowed.add_permits(1);
        };
        let (first, second, ()) = within(async { tokio::join!(ask(), ask(), third) }).await;
        assert!(first.is_ok() && second.is_ok());
        assert!(within(ask()).await.is_ok(), "slots are given back");
    }
}

#[tokio::test]
async fn a_peer_over_its_byte_budget_is_busy_and_others_are_not() {
    let mut config = serving();
    config.limits.peer_burst_bytes = 2_000;
    config.limits.peer_bytes_per_second = 1;
    let server = start(config, Always(Ok(vec![0; 2_000].into()))).await;
    for _ in 0..2 {
        let client = client().await;
        client.connect(&server).await;
        let ask = || client.network.request(server.id(), request(Kind::Sample));
        assert!(within(ask()).await.is_ok());
        assert_eq!(within(ask()).await, Err(Refusal::Busy.into()));
    }
}

#[tokio::test]
async fn requests_above_this_nodes_own_limit_are_not_sent() {
    let server = start(serving(), Echo).await;
    let mut config = config();
    config.limits.outbound_requests = 1;
    let client = start(config, ServesNothing).await;
    client.connect(&server).await;
    let asks = (0..3).map(|_| client.network.request(server.id(), request(Kind::Sample)));
    let answers = within(join_all(asks)).await;
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(RequestError::Overloaded { limit: 1 }));
}

/// Never answers.
struct Silent;

#[async_trait]
impl Provider for Silent {
    async fn serve(&self, _: PeerId, _: Request) -> Answer {
        pending().await
    }
}

#[tokio::test]
async fn a_provider_that_never_answers_ends_at_the_deadline() {
    let server = start(serving(), Silent).await;
    let mut config = config();
    let deadline = Duration::from_millis(300);
    config.limits.small_deadline = deadline;
    let client = start(config, ServesNothing).await;
    client.connect(&server).await;
    let begun = std::time::Instant::now();
    let answer = client.network.request(server.id(), request(Kind::Sample));
    assert_eq!(within(answer).await, Err(RequestError::Timeout { deadline }));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Panics.
struct Broken;

#[async_trait]
impl Provider for Broken {
    async fn serve(&self, _: PeerId, _: Request) -> Answer {
        panic!("a provider with a bug")
    }
}

#[tokio::test]
async fn a_provider_that_panics_costs_its_request_only() {
    let mut config = serving();
    config.limits.inbound_requests = 1;
    let server = start(config, Broken).await;
    let client = client().await;
    client.connect(&server).await;
    for _ in 0..3 {
        let answer = client.network.request(server.id(), request(Kind::Sample));
        assert!(matches!(within(answer).await, Err(RequestError::Truncated { .. })));
    }
    within(server.network.stop()).await.unwrap();
}

#[tokio::test]
async fn requests_end_when_the_network_stops() {
    let server = start(serving(), Silent).await;
    let client = client().await;
    client.connect(&server).await;
    let ask = client.network.request(server.id(), request(Kind::Sample));
    let (answer, stopped) = within(async { tokio::join!(ask, client.network.stop()) }).await;
    assert_eq!(answer, Err(RequestError::Stopped));
    assert_eq!(stopped, Ok(()));
    let again = client.network.request(server.id(), request(Kind::Sample));
    assert_eq!(again.await, Err(RequestError::Stopped));
    server.without(client.id()).await;
}

#[tokio::test]
async fn what_happened_is_counted_under_registered_names() {
    let mut registry = Registry::default();
    let started = Network::start(serving(), Arc::new(Echo), &mut registry);
    let (network, gossip) = within(started).await.unwrap();
    let server = Node { network, gossip };
    let client = client().await;
    client.connect(&server).await;
    let answer = client.network.request(server.id(), request(Kind::Sample));
    assert!(within(answer).await.is_ok());
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "weft_network_peers 1",
        "weft_network_serves_started_total{kind=\"sample\"} 1",
        "weft_network_serves_answered_total{kind=\"sample\"} 1",
        "weft_network_message_read_bytes_total{kind=\"sample\"} 9",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
    assert_eq!(server.network.wire_bytes().0, server.network.metrics().wire_read_bytes.get());
}
