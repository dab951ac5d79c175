//! Certificates as rollups, light clients and contracts meet them: every block has one, across epochs; and whoever
//! attests two things of a block loses its stake.

use std::{sync::Arc, time::Duration};

use blob_api::{Client, SubmitOptions};
use chain::{
    Action, Address, Attestation, AttestationData, AttestationSecret, NANO_PER_WEFT, StateKey, Validator,
};
use da_node::{devnet::dev_key, home::KeyRole};
use light_client::Config;
use network::{Keypair, ServesNothing, Topic};
use prometheus_client::registry::Registry;

use crate::support::{Network, eventually};

/// A loaded machine takes its time for a few blocks.
const LIMIT: Duration = Duration::from_secs(120);

const EPOCH: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn every_block_is_certified_across_epochs_and_two_attestations_are_slashed() {
    let network = Network::start_with(|genesis| genesis.parameters.epoch_heights = EPOCH).await;
    let client = network.client(4);
    let home = tempfile::tempdir().unwrap();
    let config = Config { certificates: true, ..Config::default() };
    let start = light_client::Args {
        network: network.devnet.network().unwrap(),
        home: home.path().to_owned(),
        config,
    };
    let (light, _) = light_client::Client::start(start).await.unwrap();

    while network.height().await < 2 * EPOCH + 2 {
        transfer(&client).await;
    }
    let certified = async |height: u64| {
        eventually(LIMIT, "a certificate", async || client.certificate(Some(height), None).await.ok()).await
    };
    let first = certified(2 * EPOCH).await;
    assert!(first.attesters_are_proven());
    let data = first.certified().data();
    assert_eq!((data.height, first.header().data_root()), (2 * EPOCH, data.data_root));
    assert!(first.certified().power() * 3 > first.attesters().power() * 2);
    // One for each of the epoch before, or one for all of it.
    let covering = eventually(LIMIT, "a certificate that covers its epoch", async || {
        client.certificate(Some(2 * EPOCH - 1), Some(EPOCH..=2 * EPOCH - 1)).await.ok()
    })
    .await;
    for (height, root) in covering.history().unwrap().data_roots() {
        assert_eq!(client.header(height).await.unwrap().data_root(), *root);
    }
    assert_eq!(covering.certified().data().next_attesters, first.certified().data().attesters);
    assert_eq!(network.client(0).certificate(Some(EPOCH), None).await.unwrap().header().height(), EPOCH);

    eventually(LIMIT, "a light client that follows by certificates", async || {
        transfer(&client).await;
        let text = light.metrics_text();
        let counted =
            text.lines().find_map(|line| line.strip_prefix("weft_light_client_headers_certified_total "));
        (counted?.parse::<u64>().unwrap() > 3).then_some(())
    })
    .await;
    light.stop().await.unwrap();

    Box::pin(attest_twice(&network, &client)).await;
    network.stop().await;
}

/// Somebody with the last validator's key attests another data root.
async fn attest_twice(network: &Network, client: &Client) {
    let home = &network.devnet.nodes[3].home;
    let operator = home.account(KeyRole::Operator).unwrap().address();
    let secret = AttestationSecret::from_seed(&home.key(KeyRole::Attestation).unwrap()).unwrap();
    let settings = network.devnet.network().unwrap();
    let mut config = network::Config::new(&settings.chain_id, Keypair::generate_ed25519());
    config.bootstrap = network.devnet.nodes[0].running.data.clone();
    config.topics = vec![Topic::Attestations];
    let (peer, _gossip) =
        network::Network::start(config, Arc::new(ServesNothing), &mut Registry::default()).await.unwrap();

    let stake = validator(client, operator).await.unwrap().stake;
    let slashed = eventually(LIMIT, "the stake to be slashed", async || {
        transfer(client).await;
        let latest = client.certificate(None, None).await.ok()?;
        let data = AttestationData { data_root: [7; 32], ..*latest.certified().data() };
        let place = latest.attesters().index_of(&secret.key())?;
        let attestation = Attestation::sign(data, place, &secret, &settings.domain());
        let _ = peer.publish(Topic::Attestations, attestation.encode().into()).await;
        validator(client, operator).await.filter(|validator| validator.slashed)
    })
    .await;
    assert_eq!(slashed.stake, 0);
    peer.stop().await.unwrap();
    // Once: what is left unbonds, and the others go on.
    let burned = async || client.proven(StateKey::Burned).await.unwrap().number().unwrap();
    let after = burned().await;
    for _ in 0..3 {
        transfer(client).await;
    }
    assert!(burned().await - after < NANO_PER_WEFT / 10 && stake >= NANO_PER_WEFT);
}

async fn validator(client: &Client, operator: Address) -> Option<Validator> {
    let state = client.proven(StateKey::Validator(operator)).await.unwrap();
    state.value().map(|bytes| Validator::decode(bytes).unwrap())
}

/// One more block.
async fn transfer(client: &Client) {
    let action = Action::Transfer { to: dev_key(2).unwrap().address(), amount: 1 };
    let prepared =
        client.prepare_action(&dev_key(1).unwrap(), action, SubmitOptions::default()).await.unwrap();
    let id = client.send(&prepared, None).await.unwrap();
    assert!(client.wait(id, |_| ()).await.unwrap().status.is_settled());
}
