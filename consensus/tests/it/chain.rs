use std::time::Duration;

use tendermint::block::CommitSig;
use tendermint::block::signed_header::SignedHeader;
use tendermint::validator;
use tendermint_light_client_verifier::options::Options;
use tendermint_light_client_verifier::types::{TrustThreshold, TrustedBlockState, UntrustedBlockState};
use tendermint_light_client_verifier::{ProdVerifier, Verdict, Verifier as _};

use crate::app::{CHAIN_ID, now};
use crate::network::{FAST, Network};

/// What a stock light client that trusts `trusted` says of `untrusted`.
fn verify(trusted: &SignedHeader, untrusted: &SignedHeader, validators: &validator::Set) -> Verdict {
    let untrusted =
        UntrustedBlockState { signed_header: untrusted, validators, next_validators: Some(validators) };
    let trusted = TrustedBlockState {
        chain_id: &CHAIN_ID.parse().unwrap(),
        header_time: trusted.header.time,
        height: trusted.header.height,
        next_validators: validators,
        next_validators_hash: validators.hash(),
    };
    let options = Options {
        trust_threshold: TrustThreshold::ONE_THIRD,
        trusting_period: Duration::from_secs(3_600),
        clock_drift: Duration::from_secs(5),
    };
    ProdVerifier::default().verify_update_header(untrusted, trusted, &options, now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_commit_of_four_validators_satisfies_a_stock_light_client() {
    let network = Network::start(4, 1, FAST).await;
    network.reach(12).await;
    let first = network.nodes[0].app.signed_headers();
    for node in &network.nodes {
        let headers = node.app.signed_headers();
        let validators = &network.validators;
        for (ours, theirs) in headers.iter().zip(&first) {
            assert_eq!(ours.header, theirs.header);
        }
        for pair in headers.windows(2) {
            assert_eq!(verify(&pair[0], &pair[1], validators), Verdict::Success);
        }
        for later in &headers[2..] {
            assert_eq!(verify(&headers[0], later, validators), Verdict::Success);
        }
    }

    let (trusted, genuine) = (&first[0], &first[6]);
    let mut tampered = Vec::new();
    let mut header = genuine.header.clone();
    header.time = (header.time + Duration::from_nanos(1)).unwrap();
    tampered.push((header, genuine.commit.clone()));
    let mut commit = genuine.commit.clone();
    commit.round = commit.round.increment();
    tampered.push((genuine.header.clone(), commit));
    let mut commit = genuine.commit.clone();
    commit.signatures.iter_mut().take(2).for_each(|entry| *entry = CommitSig::BlockIdFlagAbsent);
    tampered.push((genuine.header.clone(), commit));
    tampered.push((genuine.header.clone(), first[7].commit.clone()));
    for (header, commit) in tampered {
        // Some are refused at once.
        let Ok(signed) = SignedHeader::new(header, commit) else {
            continue;
        };
        assert_ne!(verify(trusted, &signed, &network.validators), Verdict::Success);
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_of_four_go_on_and_the_fourth_catches_up_after_a_restart() {
    let mut network = Network::start(4, 0, FAST).await;
    network.reach(3).await;
    let mut stopped = network.nodes.pop().unwrap();
    stopped.handle.stop().await.unwrap();
    let behind = stopped.tip();
    network.reach(behind + 8).await;

    let others: Vec<_> = network.nodes.iter().collect();
    stopped.restart(&others).await;
    let ahead = network.nodes[0].tip();
    stopped.reach(ahead + 4).await;
    assert!(*stopped.app.synced.borrow() > 0, "nothing came through sync");
    network.nodes.push(stopped);
    network.reach(ahead + 6).await;

    let chains: Vec<_> = network.nodes.iter().map(|node| node.app.signed_headers()).collect();
    for height in 0..(ahead + 6) as usize {
        assert!(chains.iter().all(|chain| chain[height].header == chains[0][height].header));
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_validator_is_a_chain() {
    let network = Network::start(1, 0, FAST).await;
    network.reach(5).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_stopped_starts_again_at_once() {
    let mut network = Network::start(1, 0, FAST).await;
    let node = &mut network.nodes[0];
    for height in 1..=20 {
        node.reach(height).await;
        node.handle.stop().await.unwrap();
        node.restart(&[]).await;
    }
    network.stop().await;
}
