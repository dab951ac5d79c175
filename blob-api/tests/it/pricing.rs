//! Prices with their history, in other units, and quotes that hold.

use blob_api::{ErrorBody, ErrorCode, PriceBody, PriceHistoryBody, QuoteBody, SubmitOptions};
use chain::fees::{FeeRules, MIN_BASE_FEE};
use reqwest::StatusCode;

use crate::{
    chain_in_memory::{Chain, key},
    nodes::{Manner, Server, client, honest},
    submitting::blob,
};

async fn get<T: serde::de::DeserializeOwned>(server: &Server, path: &str) -> (StatusCode, T) {
    let response = reqwest::get(format!("{}{path}", server.url)).await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn history_says_what_each_block_charged_and_how_full_it_was() {
    let (chain, server, client) = honest().await;
    for _ in 0..3 {
        // 64 × 64 shares hold four of these; a block stands at the target with two.
        for _ in 0..4 {
            client.submit(&key(1), vec![blob(1, 480_000)], SubmitOptions::default()).await.unwrap();
        }
        chain.decide();
    }
    chain.decide();
    let (_, history) = get::<PriceHistoryBody>(&server, "/v1/price/history").await;
    let rules = FeeRules::new(&chain.genesis.parameters);
    assert_eq!((history.target, history.capacity), (rules.target, rules.capacity));
    let heights: Vec<_> = history.blocks.iter().map(|block| block.height).collect();
    assert_eq!(heights, [1, 2, 3, 4, 5]);
    let mut excess = 0;
    for block in &history.blocks {
        assert_eq!(block.base_fee, rules.base_fee(excess));
        assert!((block.fullness - block.used as f64 / rules.capacity as f64).abs() < 1e-9);
        excess = rules.next(excess, block.used);
    }
    assert_eq!(history.blocks[1].transactions, 4);
    assert_eq!(history.blocks[1].blob_bytes, 4 * 480_000);
    assert!(history.blocks[1].fullness > 0.9 && history.blocks[4].fullness == 0.0);
    assert!(history.blocks[4].base_fee > MIN_BASE_FEE);

    let (_, part) = get::<PriceHistoryBody>(&server, "/v1/price/history?blocks=2&to=3").await;
    assert_eq!(part.blocks, history.blocks[1..3]);
    let (_, price) = get::<PriceBody>(&server, "/v1/price").await;
    assert_eq!((price.recent, price.base_fee), (history.blocks, rules.base_fee(excess)));
    assert_eq!(price.per_mib, price.base_fee * 2_048);
    let (status, refused) = get::<ErrorBody>(&server, "/v1/price/history?blocks=1001").await;
    assert_eq!((status, refused.error.field.as_deref()), (StatusCode::BAD_REQUEST, Some("blocks")));
}

#[tokio::test]
async fn a_quote_says_what_it_costs_now_is_expected_to_and_may_at_most() {
    let (chain, server, client) = honest().await;
    let idle: QuoteBody = get(&server, "/v1/quote?bytes=1000").await.1;
    assert_eq!((idle.base_fee, idle.expected_base_fee), (MIN_BASE_FEE, MIN_BASE_FEE));
    for _ in 0..8 {
        for _ in 0..4 {
            client.submit(&key(1), vec![blob(1, 480_000)], SubmitOptions::default()).await.unwrap();
        }
        chain.decide();
    }
    let busy: QuoteBody = get(&server, "/v1/quote?bytes=1000&horizon=50").await.1;
    assert!(busy.base_fee < busy.expected_base_fee && busy.expected_base_fee <= busy.fee_cap, "{busy:?}");
    assert_eq!(busy.expected_cost, busy.expected_base_fee * busy.shares);
    let rules = FeeRules::new(&chain.genesis.parameters);
    assert_eq!(busy.fee_cap, rules.guaranteed_cap(busy.excess, 50));
}

#[tokio::test]
async fn prices_come_in_a_unit_of_the_askers_own() {
    let chain = Chain::new();
    let rates = vec!["0.35 usd".parse().unwrap()];
    let config = blob_api::Config { rates, ..blob_api::Config::default() };
    let server = Server::start_with(&chain, Manner::Honest, config).await;
    let native: QuoteBody = get(&server, "/v1/quote?bytes=1000").await.1;
    assert_eq!((native.converted, native.cost), (None, 3_000));
    let configured: QuoteBody = get(&server, "/v1/quote?bytes=1000&unit=usd").await.1;
    let converted = configured.converted.unwrap();
    assert_eq!((converted.unit.as_str(), converted.per_weft.as_str()), ("usd", "0.35"));
    assert_eq!(converted.cost.unwrap(), "0.00000105");
    let price = client(&chain, &[&server]).price_at(&"2 eur".parse().unwrap()).await.unwrap();
    assert_eq!(price.converted.unwrap().per_mib.unwrap(), "0.004096");
    for bad in ["unit=gbp", "rate=1", "unit=usd&rate=1+usd"] {
        let (status, body) = get::<ErrorBody>(&server, &format!("/v1/price?{bad}")).await;
        assert_eq!((status, body.error.code), (StatusCode::BAD_REQUEST, ErrorCode::Invalid), "{bad}");
    }
}
