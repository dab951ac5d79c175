//! Who is connected, who is kept away, and who comes back.

use std::{sync::Arc, time::Duration};

use network::{
    Config, DialError, Keypair, Kind, Multiaddr, Network, Offence, RequestError, ServesNothing, StartError,
};
use prometheus_client::registry::Registry;

use crate::support::{Echo, QUIC, client, config, request, serving, start, within};

#[tokio::test]
async fn peers_tell_what_they_serve_and_who_opened_the_connection() {
    let server = start(serving(), Echo).await;
    let client = client().await;
    client.connect(&server).await;
    let (seen, seer) = (client.network.peers(), server.network.peers());
    assert_eq!(seen[0].serves, Kind::ALL);
    assert!(seen[0].outbound);
    assert!(seer[0].serves.is_empty());
    assert!(!seer[0].outbound);
}

#[tokio::test]
async fn a_reported_peer_is_dropped_at_once_and_comes_back_after_its_ban() {
    let mut limits = config().limits;
    limits.ban = Duration::from_millis(700);
    let server = start(Config { limits, ..serving() }, Echo).await;
    let client = client().await;
    client.connect(&server).await;
    server.network.report(client.id(), Offence::WrongProof).await;
    server.without(client.id()).await;
    client.without(server.id()).await;
    assert_eq!(server.network.metrics().peers_banned.get(), 1);

    let mut kept_away = 0;
    within(async {
        while server.network.peers().is_empty() {
            // A banned peer's connection is refused after the handshake, if it is not before.
            if client.network.dial(server.address()).await.is_ok() {
                let answer = client.network.request(server.id(), request(Kind::Sample));
                match answer.await {
                    Ok(_) => break,
                    Err(error) => assert!(
                        matches!(error, RequestError::Disconnected | RequestError::Broken { .. }),
                        "{error}"
                    ),
                }
            }
            kept_away += 1;
        }
    })
    .await;
    assert!(kept_away > 0);
}

#[tokio::test]
async fn a_peer_of_another_chain_is_dropped() {
    let server = start(serving(), Echo).await;
    let stranger = Config::new("another", Keypair::generate_ed25519());
    let stranger = start(stranger, ServesNothing).await;
    within(stranger.network.dial(server.address())).await.unwrap();
    stranger.until(<[_]>::is_empty).await;
    server.until(<[_]>::is_empty).await;
}

#[tokio::test]
async fn a_bootstrap_peer_that_restarts_on_its_port_is_found_again() {
    for (transport, names_peer) in [(crate::support::TCP, true), (crate::support::TCP, false), (QUIC, true)] {
        let identity = Keypair::generate_ed25519();
        let at =
            |address: Multiaddr| Config { keypair: identity.clone(), listen: vec![address], ..serving() };
        let server = start(at(transport.parse().unwrap()), Echo).await;
        let named = server.address();
        let mut bare = named.clone();
        bare.pop();
        let mut limits = config().limits;
        limits.redial_min = Duration::from_millis(50);
        let client =
            Config { bootstrap: vec![if names_peer { named } else { bare.clone() }], limits, ..config() };
        let client = start(client, ServesNothing).await;
        client.identified(server.id()).await;
        within(server.network.stop()).await.unwrap();
        client.without(server.id()).await;

        let server = restart(&at(bare)).await;
        client.identified(server.id()).await;
        let answer = client.network.request(server.id(), request(Kind::Sample));
        assert!(within(answer).await.is_ok());
    }
}

/// Starts on an address whose last user may not have let go of it.
async fn restart(config: &Config) -> crate::support::Node {
    within(async {
        loop {
            let provider = Arc::new(Echo);
            match Network::start(config.clone(), provider, &mut Registry::default()).await {
                Ok((network, gossip)) => break crate::support::Node { network, gossip },
                Err(StartError::Listen { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_node_with_its_own_address_as_bootstrap_does_not_find_itself() {
    let server = start(serving(), Echo).await;
    let mut bare = server.address();
    bare.pop();
    let identity = Keypair::generate_ed25519();
    let node = Config { keypair: identity, bootstrap: vec![bare], ..serving() };
    let node = start(node, Echo).await;
    node.identified(server.id()).await;
    let own = within(node.network.dial(node.address())).await;
    assert!(matches!(own, Err(DialError::Failed { .. })));
    assert_eq!(node.network.peers().len(), 1);
}

#[tokio::test]
async fn start_refuses_an_address_in_use_and_one_of_an_unknown_transport() {
    let server =
        Config { listen: vec![crate::support::TCP.parse().unwrap(), QUIC.parse().unwrap()], ..serving() };
    let server = start(server, Echo).await;
    let mut addresses = server.network.listen_addrs();
    assert_eq!(addresses.len(), 2);
    for taken in &mut addresses {
        taken.pop();
    }
    addresses.push("/ip4/127.0.0.1/udp/0".parse().unwrap());
    for address in addresses {
        let config = Config { listen: vec![address.clone()], ..serving() };
        let mut registry = Registry::default();
        let started = Network::start(config, Arc::new(Echo), &mut registry);
        match within(started).await {
            Err(StartError::Listen { address: at, .. }) => assert_eq!(at, address),
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
}

#[tokio::test]
async fn a_network_stops_when_its_last_handle_is_dropped() {
    let server = start(serving(), Echo).await;
    let client = client().await;
    client.connect(&server).await;
    let id = client.id();
    drop(client);
    server.without(id).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let mut limits = config().limits;
    limits.inbound_connections = 1;
    let server = start(Config { limits, ..serving() }, Echo).await;
    let (first, second) = (client().await, client().await);
    first.connect(&server).await;
    if within(second.network.dial(server.address())).await.is_ok() {
        second.without(server.id()).await;
    }
    assert_eq!(server.network.peers().len(), 1);
}
