//! Certificates over HTTP: as a contract is given them, and as a client verifies them.

use blob_api::{AttestersBody, CertificateBody, ClientError, ErrorBody, ErrorCode, ProofKind};
use chain::Attesters;
use erasure::keccak256;

use crate::{
    chain_in_memory::Chain,
    nodes::{Manner, Server, client},
};

#[tokio::test]
async fn a_certificate_is_verified_and_covers_a_range() {
    let chain = Chain::new();
    let server = Server::start(&chain, Manner::Honest).await;
    for _ in 0..5 {
        chain.decide();
    }
    let client = client(&chain, &[&server]);
    let latest = client.certificate(None, None).await.unwrap();
    assert_eq!((latest.header().height(), latest.certified().power()), (6, 60));
    assert!(latest.attesters_are_proven() && latest.history().is_none());

    let covering = client.certificate(Some(5), Some(2..=4)).await.unwrap();
    let history = covering.history().unwrap();
    let heights: Vec<_> = history.data_roots().map(|(height, root)| (height, *root)).collect();
    for (height, root) in &heights {
        assert_eq!(client.header(*height).await.unwrap().data_root(), *root);
    }
    assert_eq!(heights.iter().map(|(height, _)| *height).collect::<Vec<_>>(), [2, 3, 4]);

    let get = async |path: &str| reqwest::get(format!("{}{path}", server.url)).await.unwrap();
    let body: CertificateBody = get("/v1/certificate/5").await.json().await.unwrap();
    assert_eq!(body.evm.signature.0.len(), 128);
    assert_eq!(body.evm.absent.len(), 2);
    let preimage = [
        b"weft/attesters/1",
        &body.evm.count.to_be_bytes()[..],
        &body.evm.power.to_be_bytes(),
        &body.evm.aggregate_key.0,
        &body.evm.root.0,
    ];
    assert_eq!(keccak256(&preimage.concat()).to_vec(), body.attesters.0);
    let path = format!("/v1/attesters/{}", hex::encode(&body.attesters.0));
    let attesters: AttestersBody = get(&path).await.json().await.unwrap();
    assert_eq!(Attesters::decode(&attesters.attesters.0).unwrap().hash().to_vec(), body.attesters.0);

    for (path, status) in [
        ("/v1/certificate/5?range=4-6", 400),
        ("/v1/certificate/5?range=0-3", 400),
        ("/v1/certificate/5?range=4-3", 400),
        ("/v1/certificate/5?range=4", 400),
        ("/v1/certificate/5?ranges=4-5", 400),
        ("/v1/certificate/five", 400),
        ("/v1/certificate/7", 503),
        ("/v1/attesters/00", 400),
    ] {
        assert_eq!(get(path).await.status(), status, "{path}");
    }
    let refused: ErrorBody = get("/v1/certificate/5?range=4-6").await.json().await.unwrap();
    assert_eq!(refused.error.code, ErrorCode::Invalid);
    assert_eq!(refused.error.message, "range: the certificate of height 5 covers 1-5, got 4-6");
}

#[tokio::test]
async fn a_forged_certificate_names_its_server() {
    let chain = Chain::new();
    for _ in 0..3 {
        chain.decide();
    }
    let forger = Server::start(&chain, Manner::ForgesCertificates).await;
    let honest = Server::start(&chain, Manner::Honest).await;
    let client = client(&chain, &[&forger, &honest]);
    assert_eq!(client.certificate(Some(2), None).await.unwrap().header().height(), 2);
    let rejected = client.rejected_nodes();
    assert_eq!((rejected.len(), rejected[0].proof), (1, ProofKind::Certificate));

    let behind = Server::start(&chain, Manner::Behind).await;
    let client = self::client(&chain, &[&behind]);
    assert!(matches!(client.certificate(None, None).await, Err(ClientError::Unreachable { .. })));
}
