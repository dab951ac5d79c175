//! Light clients beside honest nodes: they hold what a lost block is rebuilt from, and stop where one proves fraud.

use std::time::{Duration, Instant};

use chain::{Checkpoint, LightBlock, NetworkConfig};
use light_client::{
    Args, Client, Config, Event, HaltReason,
    sampler::{Seed, Timing},
};
use network::{Kind, Multiaddr};
use tempfile::TempDir;
use tokio::{sync::broadcast, task::JoinSet};

use super::{
    CHAIN,
    net::{Honest, Producer, within},
    wrong::{Wrong, sign, sign_wide},
};
use crate::{
    rebuild::{RebuildError, rebuild},
    test_chain::TestChain,
};

/// Twenty cells of a block that is 16 shares wide.
const TWENTY_SAMPLES: &str = "99.87%";

struct Light {
    client: Client,
    events: broadcast::Receiver<Event>,
    _home: TempDir,
}

impl Light {
    async fn start(checkpoint: &LightBlock, seed: u8, listen: bool, peers: &[Multiaddr]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let header = &checkpoint.signed_header.header;
        let network = NetworkConfig {
            chain_id: CHAIN.into(),
            genesis_hash: [0; 32],
            // Genesis is some years ago.
            trusting_period_seconds: 100 * 365 * 86_400,
            bootstrap: peers.iter().map(ToString::to_string).collect(),
            api: Vec::new(),
            checkpoint: Checkpoint {
                height: checkpoint.height(),
                hash: header.hash().as_bytes().try_into().unwrap(),
            },
        };
        let config = Config {
            confidence: TWENTY_SAMPLES.parse().unwrap(),
            timing: Timing {
                deadline: Duration::from_secs(10),
                hedge_after: Duration::from_secs(1),
                retry_after: Duration::from_millis(100),
                retry_at_most: Duration::from_secs(1),
                ..Timing::default()
            },
            listen: listen.then(|| "/ip4/127.0.0.1/tcp/0".parse().unwrap()).into_iter().collect(),
            poll_after: Duration::from_millis(500),
            seed: Some(Seed::from_bytes([seed; 32])),
            ..Config::default()
        };
        let args = Args { network, home: home.path().to_owned(), config };
        let (client, events) = Client::start(args).await.unwrap();
        Self { client, events, _home: home }
    }

    async fn until<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        within(async {
            loop {
                if let Some(found) = wanted(&self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        })
        .await
    }

    async fn until_available(&mut self, height: u64) {
        self.until(|event| match event {
            Event::Available { height: available, samples, .. } if *available == height => {
                assert_eq!(*samples, 20);
                Some(())
            }
            Event::Unavailable { height, .. } => panic!("{height} is unavailable"),
            _ => None,
        })
        .await;
    }
}

/// Producers that served nothing but samples and headers, the node that lacks their block, and light clients that
/// sampled it before the producers vanished.
async fn after_the_producers_vanished(count: u8) -> (Honest, Vec<Light>, LightBlock) {
    let mut chain = TestChain::new(CHAIN);
    let producer = Producer::serving(CHAIN, vec![Kind::Header, Kind::Sample]).await;
    let honest = Honest::start(&chain.genesis).await;
    let signed = sign_wide(&mut chain, &honest.node.store, 1);
    let light = signed.light.clone();
    honest.commit(&signed);
    producer.publish(signed);
    let mut clients = Vec::new();
    for seed in 0..count {
        clients.push(Light::start(&light, seed, seed < 3, &[producer.address(), honest.address()]).await);
    }
    for client in &mut clients {
        client.until_available(1).await;
    }
    producer.network.stop().await.unwrap();
    (honest, clients, light)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seventy_light_clients_with_twenty_samples_rebuild_a_block() {
    let (honest, clients, _) = after_the_producers_vanished(70).await;
    let began = Instant::now();
    honest.backfill();
    honest.until_whole().await;
    println!("rebuilt from {} light clients in {:?}", clients.len(), began.elapsed());
    let square = honest.node.square(1).unwrap().unwrap();
    assert_eq!(square.width().get(), 16);
    let light = honest.node.light_block(1).unwrap().unwrap();
    assert_eq!(Some(tendermint::Hash::Sha256(square.data_root())), light.signed_header.header.data_hash);
    // None of them listened but the first three.
    assert!(clients[3..].iter().all(|light| light.client.listen_addrs().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_light_clients_leave_a_block_unreachable_and_nobody_who_comes_late_calls_it_available() {
    let (honest, clients, light) = after_the_producers_vanished(10).await;
    let header = honest.node.verified_header(1).unwrap().unwrap();
    match within(rebuild(&honest.network, 1, header.data_root())).await {
        Err(RebuildError::Unreachable { height: 1, missing, cells: 1024 }) => {
            assert!((512..1024).contains(&missing), "{missing}");
        }
        other => panic!("{other:?}"),
    }
    assert!(honest.node.store.index(1).unwrap().is_none(), "what is missing reads as unreachable");
    let mut peers = vec![honest.address()];
    peers.extend(clients.iter().flat_map(|light| light.client.listen_addrs()));
    assert_eq!(peers.len(), 4);
    let mut late = Light::start(&light, 200, false, &peers).await;
    late.until(|event| match event {
        Event::Available { .. } => panic!("{event:?}"),
        Event::Unavailable { height: 1, .. } => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(late.client.status().await.unwrap().available_height, None);
}

/// From the moment at which a full node has a proof to the last light client that shows it.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn light_clients_of_one_honest_node_stop_at_each_kind_of_wrong_block() {
    const CLIENTS: u8 = 5;
    for wrong in Wrong::ALL {
        let mut chain = TestChain::new(CHAIN);
        let producer = Producer::start(CHAIN).await;
        let honest = Honest::start(&chain.genesis).await;
        within(honest.network.dial(producer.address())).await.unwrap();
        honest.backfill();
        let right = sign(&mut chain, &honest.node.store, 1, None);
        let checkpoint = right.light.clone();
        honest.commit(&right);
        producer.publish(right);
        let mut clients = Vec::new();
        for seed in 0..CLIENTS {
            let peers = [producer.address(), honest.address()];
            clients.push(Light::start(&checkpoint, seed, false, &peers).await);
        }
        honest.until_whole().await;
        for light in &mut clients {
            light.until(|event| matches!(event, Event::Available { height: 1, .. }).then_some(())).await;
        }
        let signed = sign(&mut chain, &honest.node.store, 2, Some(wrong));
        let block = signed.block.clone();
        let commit = signed.light.signed_header.commit.clone();
        producer.publish(signed);
        for light in &mut clients {
            light.until(|event| matches!(event, Event::HeaderVerified { height: 2 }).then_some(())).await;
        }

        honest.node.accept_decided(&block).unwrap();
        honest.node.commit(2, block.header.hash(), commit).unwrap();
        let convicted = within(honest.node.frauds.halted()).await;
        let found = Instant::now();
        let mut stopping = JoinSet::new();
        for mut light in clients {
            let convicted = convicted.clone();
            stopping.spawn(async move {
                let halt = light.until(|event| match event {
                    Event::Halted(halt) => Some(halt.clone()),
                    _ => None,
                });
                let halt = halt.await;
                assert_eq!(halt.height, 2);
                assert_eq!(halt.reason, HaltReason::Fraud { kind: convicted.what });
                let shown = light.client.status().await.unwrap().halted.unwrap();
                let json = std::fs::read_to_string(shown.evidence).unwrap();
                assert!(json.contains(&hex::encode(convicted.proof)));
                light
            });
        }
        stopping.join_all().await;
        let elapsed = found.elapsed();
        println!("{wrong:?} ({}): {CLIENTS} light clients stopped within {elapsed:?}", convicted.what);
        assert!(elapsed < STOPPED_WITHIN, "{wrong:?}: {elapsed:?}");
    }
}
