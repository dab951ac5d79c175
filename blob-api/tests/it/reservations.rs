//! Reservations through client and command, and the state's proofs.

use blob_api::{ClientError, NewBlob, ReservationBody, Reserve, SubmitOptions};
use chain::{ReservationId, StateKey};

use crate::{
    chain_in_memory::{Chain, FUNDS, key, namespace},
    nodes::{Manner, Server, client},
};

#[tokio::test]
async fn a_reservation_is_bought_shown_with_its_proof_and_submitted_from() {
    let chain = Chain::new();
    let server = Server::start(&chain, Manner::Honest).await;
    let client = client(&chain, &[&server]);
    let wanted = Reserve::Buy { rate: 10, blocks: 100, signers: vec![key(2).address()] };
    let price = client.reservation_price(&wanted).await.unwrap();
    assert!(price > 10 * 100 * 1_000);
    let bought = client.prepare_reserve(&key(1), wanted, price, SubmitOptions::default()).await.unwrap();
    let id = ReservationId::from(client.send(&bought, None).await.unwrap());
    chain.decide();
    let (state, none) = client.reservation(id).await.unwrap();
    assert_eq!((state.header().height(), none), (2, None));
    chain.decide();
    let (state, found) = client.reservation(id).await.unwrap();
    let found = found.unwrap();
    assert_eq!((state.header().height(), found.owner, found.rate, found.end), (3, key(1).address(), 10, 103));

    let blob = NewBlob { namespace: namespace(1), bytes: vec![3; 5 * 512], foreign: vec![] };
    let options = SubmitOptions { reservation: Some(id), ..SubmitOptions::default() };
    let prepared = client.prepare(&key(2), vec![blob], options).await.unwrap();
    assert_eq!((prepared.shares(), prepared.cost_limit()), (6, 0));
    client.send(&prepared, None).await.unwrap();
    chain.decide();
    assert_eq!(client.confirm(&prepared, |_| ()).await.unwrap().transaction.charged, Some(0));
    let stranger = NewBlob { namespace: namespace(1), bytes: vec![3; 512], foreign: vec![] };
    let prepared = client.prepare(&key(3), vec![stranger], options).await.unwrap();
    let refused = client.send(&prepared, None).await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused { detail, .. }
        if detail.field.as_deref() == Some("reservation")),
        "{refused}"
    );

    let url = format!("{}/v1/reservations/{id}", server.url);
    let body: ReservationBody = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert_eq!(body.reservation.unwrap().rate, 10);
}

#[tokio::test]
async fn a_balance_is_proven_and_a_false_one_is_its_servers_fault() {
    let chain = Chain::new();
    let (liar, honest) =
        (Server::start(&chain, Manner::FlipsAByte).await, Server::start(&chain, Manner::Honest).await);
    let balance = StateKey::Account(key(1).address());
    assert_eq!(client(&chain, &[&honest]).proven(balance).await.unwrap().number().unwrap(), FUNDS);
    let refused = client(&chain, &[&liar]).proven(balance).await;
    assert!(matches!(refused, Err(ClientError::LyingNode(_))), "{refused:?}");
    let url = format!("{}/v1/state/nothing", honest.url);
    assert_eq!(reqwest::get(url).await.unwrap().status(), 400);
}
