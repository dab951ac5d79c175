//! A node whose proof fails is named with the proof, and the next one is asked.

use std::sync::Arc;

use blob_api::{ClientError, Prepared, ProofKind, Reserve, SubmitOptions};
use chain::Action;
use serde_json::Value;

use crate::{
    chain_in_memory::{Chain, key, namespace},
    nodes::{Manner, Server, client, client_of, serve_router},
    submitting::blob,
};

struct Scene {
    chain: Arc<Chain>,
    liar: Server,
    honest: Server,
    sent: Prepared,
}

/// Three blobs in block 2, two of one namespace; block 3 on top.
async fn scene(manner: Manner) -> Scene {
    let chain = Chain::new();
    let (liar, honest) = (Server::start(&chain, manner).await, Server::start(&chain, Manner::Honest).await);
    let blobs = vec![blob(1, 700), blob(2, 40_000), blob(1, 1)];
    let client = client(&chain, &[&honest]);
    let sent = client.prepare(&key(1), blobs, SubmitOptions::default()).await.unwrap();
    client.send(&sent, None).await.unwrap();
    chain.decide();
    chain.decide();
    Scene { chain, liar, honest, sent }
}

impl Scene {
    /// Asks the liar alone, then the liar and an honest node.
    async fn check<T, F>(&self, expected: ProofKind, ask: impl Fn(blob_api::Client) -> F)
    where
        T: std::fmt::Debug,
        F: Future<Output = Result<T, ClientError>>,
    {
        let alone = client(&self.chain, &[&self.liar]);
        for _ in 0..2 {
            match ask(alone.clone()).await {
                Err(ClientError::LyingNode(node)) => {
                    assert_eq!((node.url, node.proof), (self.liar.url.clone(), expected));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(alone.rejected_nodes().len(), 1);
        let both = client(&self.chain, &[&self.liar, &self.honest]);
        ask(both.clone()).await.unwrap();
        ask(both.clone()).await.unwrap();
        let rejected = both.rejected_nodes();
        assert_eq!(rejected.len(), 1);
        assert_eq!((&rejected[0].url, rejected[0].proof), (&self.liar.url, expected));
    }

    fn commitment(&self) -> [u8; 32] {
        self.sent.blobs()[1].commitment
    }
}

#[tokio::test]
async fn a_flipped_byte_fails_the_commitment() {
    let scene = scene(Manner::FlipsAByte).await;
    let commitment = scene.commitment();
    scene.check(ProofKind::Commitment, |client| async move { client.get(commitment).await }).await;
    let read =
        |client: blob_api::Client| async move { client.read(&client.list(2, namespace(1)).await?).await };
    scene.check(ProofKind::Commitment, read).await;
}

#[tokio::test]
async fn another_blobs_entry_fails_the_entry_proof() {
    let scene = scene(Manner::ProvesAnotherEntry).await;
    let commitment = scene.commitment();
    scene.check(ProofKind::Entry, |client| async move { client.proof(commitment).await }).await;
    scene.check(ProofKind::Entry, |client| async move { client.get(commitment).await }).await;
}

#[tokio::test]
async fn other_shares_fail_the_range_proof() {
    let scene = scene(Manner::ProvesOtherShares).await;
    let commitment = scene.commitment();
    scene
        .check(ProofKind::Range, |client| async move { client.read_part(commitment, 1_000..1_032).await })
        .await;
}

#[tokio::test]
async fn other_blobs_and_other_transactions_fail_the_inclusion() {
    for (manner, expected) in
        [(Manner::ProvesAnotherEntry, ProofKind::Entry), (Manner::ClaimsFinality, ProofKind::Inclusion)]
    {
        let scene = scene(manner).await;
        let id = scene.sent.id();
        scene.check(expected, |client| async move { client.transaction_blobs(id).await }).await;
    }
}

#[tokio::test]
async fn an_omitted_entry_fails_the_completeness_proof() {
    let scene = scene(Manner::OmitsAnEntry).await;
    scene.check(ProofKind::Namespace, |client| async move { client.list(2, namespace(1)).await }).await;
}

#[tokio::test]
async fn a_denied_namespace_fails_the_completeness_proof() {
    let scene = scene(Manner::DeniesANamespace).await;
    scene.check(ProofKind::Namespace, |client| async move { client.list(2, namespace(1)).await }).await;
}

#[tokio::test]
async fn a_forged_header_fails_before_any_proof() {
    let scene = scene(Manner::ForgesHeaders).await;
    let commitment = scene.commitment();
    scene.check(ProofKind::Header, |client| async move { client.get(commitment).await }).await;
    scene.check(ProofKind::Header, |client| async move { client.latest().await }).await;
    scene.check(ProofKind::Header, |client| async move { client.header(2).await }).await;
}

#[tokio::test]
async fn a_false_claim_of_finality_is_disproven_by_the_block() {
    let scene = scene(Manner::ClaimsFinality).await;
    let client = client(&scene.chain, &[&scene.liar]);
    match client.confirm(&scene.sent, |_| ()).await {
        Err(ClientError::LyingNode(node)) => assert_eq!(node.proof, ProofKind::Inclusion),
        other => panic!("{other:?}"),
    }
}

/// An honest node's words about price and parameters, changed.
async fn changed(honest: &Server, change: fn(&mut Value)) -> String {
    let get = async |path: &str| {
        let answer = reqwest::get(format!("{}{path}", honest.url)).await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let (mut status, price) = (get("/v1/status").await, get("/v1/price").await);
    change(&mut status);
    let router = axum::Router::new()
        .route("/v1/status", axum::routing::get(async || axum::Json(status)))
        .route("/v1/price", axum::routing::get(async || axum::Json(price)));
    serve_router(router).await
}

#[tokio::test]
async fn impossible_words_about_the_chain_sign_nothing() {
    let (chain, honest, _) = crate::nodes::honest().await;
    let transfer = Action::Transfer { to: key(2).address(), amount: 1 };
    let wanted = Reserve::Buy { rate: 1, blocks: 1, signers: vec![key(1).address()] };
    type Lie = fn(&mut Value);
    let lies: [(Lie, &str); 3] = [
        (|status| status["parameters"]["k_max"] = 0.into(), "k_max"),
        (|status| status["height"] = u64::MAX.into(), "impossible height"),
        (|status| status["chain_id"] = "other".into(), "another chain"),
    ];
    for (change, reason) in lies {
        let liar = changed(&honest, change).await;
        let alone = client_of(&chain, std::slice::from_ref(&liar));
        let blobs = vec![blob(1, 10)];
        for error in [
            alone.prepare(&key(1), blobs.clone(), SubmitOptions::default()).await.unwrap_err(),
            alone.prepare_action(&key(1), transfer.clone(), SubmitOptions::default()).await.unwrap_err(),
            alone.reservation_price(&wanted).await.unwrap_err(),
        ] {
            let is_reason = error.to_string().contains(reason);
            assert!(matches!(error, ClientError::Unreachable { .. }) && is_reason, "{error}");
        }
        let both = client_of(&chain, &[liar, honest.url.clone()]);
        both.prepare(&key(1), blobs, SubmitOptions::default()).await.unwrap();
        both.prepare_action(&key(1), transfer.clone(), SubmitOptions::default()).await.unwrap();
        both.reservation_price(&wanted).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_refuses_everything_is_believed_only_when_no_other_answers() {
    let (chain, honest, _) = crate::nodes::honest().await;
    const REFUSAL: &str = r#"{"error":{"code":"invalid","message":"no"}}"#;
    let refuser = async || (axum::http::StatusCode::BAD_REQUEST, REFUSAL);
    let refuser = serve_router(axum::Router::new().fallback(refuser)).await;
    let both = client_of(&chain, &[refuser.clone(), honest.url.clone()]);
    assert_eq!(both.list(1, namespace(1)).await.unwrap().entries().len(), 0);
    let alone = client_of(&chain, &[refuser.clone(), refuser]);
    assert!(matches!(alone.list(1, namespace(1)).await, Err(ClientError::Refused { .. })));

    let refusing = Server::start(&chain, Manner::Refuses).await;
    let prepared = both.prepare(&key(1), vec![blob(1, 10)], SubmitOptions::default()).await.unwrap();
    let alone = client(&chain, &[&refusing]);
    assert!(matches!(alone.send(&prepared, None).await, Err(ClientError::Refused { .. })));
    assert_eq!(client(&chain, &[&refusing, &honest]).send(&prepared, None).await.unwrap(), prepared.id());
}
