//! What holds whatever the door: token, cap, each payload once.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, header};

use crate::{
    chain_in_memory::{Chain, FUNDS, key, namespace},
    nodes::{Manner, Server},
    sidecar::{Deciding, Setup, Sidecar, text},
};

/// An OP door over an honest node of a chain that makes blocks.
pub(crate) async fn honest_op(setup: Setup) -> (Arc<Chain>, Server, Sidecar) {
    let chain = Chain::new();
    let node = Server::start(&chain, Manner::Honest).await;
    let sidecar = Sidecar::start(&chain, &[&node], setup, |gateway| gateway.op(namespace(9))).await;
    (chain, node, sidecar)
}

#[tokio::test]
async fn a_door_opens_with_the_token_only() {
    let (chain, _node, sidecar) = honest_op(Setup::default()).await;
    let _deciding = Deciding::start(&chain);
    let token = sidecar.token.clone().unwrap();
    let (token, url) = (token.secret(), &sidecar.url);
    let http = reqwest::Client::new();
    let status = async |request: RequestBuilder| request.body("x").send().await.unwrap().status().as_u16();
    assert_eq!(status(http.post(format!("{url}/put"))).await, 401);
    assert_eq!(status(http.post(format!("{url}/put")).bearer_auth("wrong")).await, 401);
    assert_eq!(status(http.post(format!("{url}/wrong/put"))).await, 401);
    // A wrong token in the header is not made good by one in the path.
    assert_eq!(status(http.post(format!("{url}/{token}/put")).bearer_auth("wrong")).await, 401);
    assert_eq!(chain.lock().pool.len(), 0);
    assert_eq!(status(http.post(format!("{url}/{token}/put"))).await, 200);
    assert_eq!(status(http.post(format!("{url}/put")).bearer_auth(token)).await, 200);
    let (code, message) = text(http.get(format!("{url}/get/0x01")).send().await.unwrap()).await;
    assert!(code == 401 && message.contains("Authorization: Bearer"), "{message}");
    assert_eq!(status(http.get(format!("{url}/health"))).await, 200);
    sidecar.stop().await;
}

#[tokio::test]
async fn without_a_token_web_pages_are_still_refused() {
    let (chain, _node, sidecar) = honest_op(Setup { token: false, ..Setup::default() }).await;
    let _deciding = Deciding::start(&chain);
    let page = sidecar.request(Method::POST, "/put").header(header::ORIGIN, "https://example.org").body("x");
    assert_eq!(page.send().await.unwrap().status(), 403);
    assert_eq!(sidecar.put("x").await.status(), 200);
}

#[tokio::test]
async fn the_key_spends_no_more_than_its_cap() {
    let (chain, _node, sidecar) = honest_op(Setup { limit: 20_000, ..Setup::default() }).await;
    let _deciding = Deciding::start(&chain);
    // Two shares, at 2,700 each at most, and charged at 1,000.
    let mut answered = 0;
    let refused = loop {
        let response = sidecar.put(vec![answered; 10]).await;
        if response.status() != 200 {
            break response;
        }
        answered += 1;
    };
    assert!(answered >= 5, "what was not charged is given back: {answered}");
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let (code, message) = text(refused).await;
    assert!(code == 429 && message.contains("the spending cap is 20000 nano in 3600 s"), "{message}");
    let spent = FUNDS - chain.lock().balance(key(1).address());
    assert!((10_000..=20_000).contains(&spent), "{spent}");

    let (_chain, _node, tight) = honest_op(Setup { limit: 100, ..Setup::default() }).await;
    let (code, message) = text(tight.put("x").await).await;
    assert!(code == 429 && message.contains("alone is over the cap"), "{message}");
}

#[tokio::test]
async fn the_same_payload_again_joins_the_submission_under_way() {
    let (chain, _node, sidecar) = honest_op(Setup { concurrent: 1, ..Setup::default() }).await;
    let sidecar = Arc::new(sidecar);
    let put = |bytes: &'static str| {
        let sidecar = sidecar.clone();
        tokio::spawn(async move { sidecar.put(bytes).await.bytes().await.unwrap() })
    };
    let given_up = put("payload");
    chain.pooled(1).await;
    given_up.abort();
    let (again, and_again) = (put("payload"), put("payload"));
    let busy = sidecar.put("another").await;
    assert_eq!(busy.status(), 429);
    chain.decide();
    assert_eq!(again.await.unwrap(), and_again.await.unwrap());
    assert_eq!(chain.lock().records.len(), 1);
    // Once answered, the same payload is a new submission.
    let _deciding = Deciding::start(&chain);
    assert_eq!(sidecar.put("payload").await.status(), 200);
    assert_eq!(chain.lock().records.len(), 2);
}

#[tokio::test]
async fn an_account_without_funds_and_a_node_that_is_down_are_503() {
    let (chain, node, sidecar) = honest_op(Setup::default()).await;
    let everything = chain.lock().balance(key(1).address());
    let payload = chain::Payload {
        sender: key(1).address(),
        salt: [7; 16],
        valid_until: 50,
        fee_cap: 3_000,
        tip: 0,
        action: chain::Action::Transfer { to: key(2).address(), amount: everything - 10_000 },
    };
    let transaction = key(1).sign(payload, vec![], &chain.genesis.domain()).unwrap();
    chain.admit(chain::Submission { transaction, bodies: vec![] }).unwrap();
    chain.decide();
    let (code, message) = text(sidecar.put(vec![1; 10_000]).await).await;
    assert!(code == 503 && message.contains("fund the account"), "{message}");
    node.stop().await;
    let (code, message) = text(sidecar.put("x").await).await;
    assert!(code == 503 && message.contains("no node could answer"), "{message}");
}

#[tokio::test]
async fn a_submission_whose_end_is_not_known_is_gone_on_with_and_paid_once() {
    let chain = Chain::new();
    let node = Server::start(&chain, Manner::LosesAnswers).await;
    // Room for one submission: two shares at 2,700 at most.
    let setup = Setup { limit: 6_000, ..Setup::default() };
    let sidecar = Sidecar::start(&chain, &[&node], setup, |gateway| gateway.op(namespace(9))).await;
    let url = node.url.clone();
    let away = async {
        chain.pooled(1).await;
        node.stop().await;
    };
    let (lost, ()) = tokio::join!(sidecar.put("payload"), away);
    let (code, message) = text(lost).await;
    assert!(code == 503 && message.contains("no node could answer"), "{message}");

    let _node = Server::restart(&chain, &url).await;
    let again = sidecar.put("payload");
    let deciding = async {
        // Not before the same blobs were put again, and handed over.
        let mut changes = chain.changes.subscribe();
        tokio::time::timeout(std::time::Duration::from_secs(1), changes.changed()).await.ok();
        assert_eq!(chain.lock().pool.len(), 1);
        chain.decide();
    };
    let (again, ()) = tokio::join!(again, deciding);
    assert_eq!(again.status(), 200);
    assert_eq!(chain.lock().records.len(), 1);
    assert_eq!(FUNDS - chain.lock().balance(key(1).address()), 2_000);
    // What was not charged is given back: there is no room for two, but for one.
    let _deciding = Deciding::start(&chain);
    let (code, message) = text(sidecar.put("another").await).await;
    assert!(code == 429 && message.contains("2000 of it is spent"), "{message}");
}

#[tokio::test]
async fn a_refusal_after_a_lost_answer_signs_nothing_anew() {
    let chain = Chain::new();
    let (lossy, refusing) =
        (Server::start(&chain, Manner::LosesAnswers).await, Server::start(&chain, Manner::Refuses).await);
    let nodes = [&lossy, &refusing];
    let sidecar = Sidecar::start(&chain, &nodes, Setup::default(), |gateway| gateway.op(namespace(9))).await;
    let deciding = async {
        chain.pooled(1).await;
        chain.decide();
    };
    let (put, ()) = tokio::join!(sidecar.put("payload"), deciding);
    assert_eq!(put.status(), 200);
    assert_eq!(chain.lock().records.len(), 1);
}

#[tokio::test]
async fn what_expired_counts_nothing_and_is_signed_anew() {
    let (chain, node, sidecar) = honest_op(Setup { limit: 6_000, ..Setup::default() }).await;
    let dropping = async {
        chain.pooled(1).await;
        let mut inner = chain.lock();
        let id = inner.pool.pop().unwrap().transaction().id();
        inner.records.get_mut(&id).unwrap().status = chain::TxStatus::Expired;
        drop(inner);
        chain.tick();
        id
    };
    let (put, early) = tokio::join!(sidecar.put("payload"), dropping);
    let (code, message) = text(put).await;
    assert!(code == 503 && message.contains("expired"), "{message}");
    // Blocks that could hold it are still to come: the node's word is not enough.
    let (code, message) = text(sidecar.put("payload").await).await;
    assert!(code == 503 && message.contains(&early.to_string()), "{message}");
    assert_eq!(text(sidecar.put("another").await).await.0, 429, "still promised");
    let valid_until = chain.lock().records[&early].valid_until;
    while chain.height() < valid_until {
        chain.decide();
    }
    let _deciding = Deciding::start(&chain);
    assert_eq!(sidecar.put("payload").await.status(), 200);
    assert_eq!(chain.lock().records.len(), 2);
    drop(node);
}
