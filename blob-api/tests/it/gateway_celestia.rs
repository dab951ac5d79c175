//! The celestia-node door as ev-node uses it: plain JSON-RPC, go-jsonrpc's channels, its error texts.

use std::sync::Arc;

use blob_api::{Config, Gateway, SubmitOptions};
use erasure::{ForeignKind, celestia_commitment};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    chain_in_memory::{Chain, key, namespace},
    nodes::{Manner, Server, client, client_of},
    sidecar::{Deciding, Setup, Sidecar},
    submitting::blob,
};

async fn start(setup: Setup) -> (Arc<Chain>, Server, Sidecar) {
    let chain = Chain::new();
    let node = Server::start(&chain, Manner::Honest).await;
    let sidecar = Sidecar::start(&chain, &[&node], setup, Gateway::celestia).await;
    (chain, node, sidecar)
}

/// Calls as go-jsonrpc does.
async fn call(sidecar: &Sidecar, method: &str, params: Value) -> Result<Value, String> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = sidecar.request(Method::POST, "/").json(&request).send().await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    match answer.get("error") {
        Some(error) => Err(error["message"].as_str().unwrap().to_owned()),
        None => Ok(answer["result"].clone()),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn ns(id: u8) -> String {
    base64(namespace(id).as_bytes())
}

fn commitment(id: u8, data: &[u8]) -> String {
    base64(&celestia_commitment(&namespace(id), data))
}

fn blob_json(id: u8, data: &[u8]) -> Value {
    json!({
        "namespace": ns(id), "data": base64(data), "share_version": 0, "commitment": commitment(id, data), "index": -1
    })
}

async fn submit(sidecar: &Sidecar, blobs: &[Value]) -> Result<Value, String> {
    call(sidecar, "blob.Submit", json!([blobs, { "gas_price": -1.0, "is_gas_price_set": true }])).await
}

#[tokio::test]
async fn blobs_are_submitted_together_and_found_by_their_celestia_commitments() {
    let (chain, _node, sidecar) = start(Setup::default()).await;
    let _deciding = Deciding::start(&chain);
    let height =
        submit(&sidecar, &[blob_json(1, b"one"), blob_json(2, b"two"), blob_json(1, b"three")]).await;
    assert_eq!(height.unwrap(), 2);
    assert_eq!(chain.lock().records.len(), 1);

    let got = call(&sidecar, "blob.Get", json!([2, ns(1), commitment(1, b"three")])).await.unwrap();
    assert_eq!((&got["data"], &got["namespace"]), (&base64(b"three").into(), &ns(1).into()));
    assert_eq!((&got["commitment"], &got["share_version"]), (&commitment(1, b"three").into(), &0.into()));
    assert!(got["index"].as_i64().unwrap() > 0 && got.get("signer").is_none());
    let all = call(&sidecar, "blob.GetAll", json!([2, [ns(2), ns(1), ns(3)]])).await.unwrap();
    let data: Vec<_> = all.as_array().unwrap().iter().map(|blob| blob["data"].as_str().unwrap()).collect();
    assert_eq!(data, [base64(b"two"), base64(b"one"), base64(b"three")]);
    let twice = call(&sidecar, "blob.GetAll", json!([2, [ns(2), ns(2)]])).await.unwrap();
    assert_eq!(twice.as_array().unwrap().len(), 1);
    assert_eq!(call(&sidecar, "blob.GetAll", json!([2, [ns(3)]])).await.unwrap(), Value::Null);
    for (height, data, expected) in [(2, b"one".as_slice(), true), (2, b"four", false), (1, b"one", false)] {
        let included = call(&sidecar, "blob.Included", json!([height, ns(1), [], commitment(1, data)])).await;
        assert_eq!(included.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_blob_submitted_without_its_celestia_commitment_is_found_all_the_same() {
    let (chain, node, sidecar) = start(Setup::default()).await;
    let client = client(&chain, &[&node]);
    let plain = blob(5, 700);
    assert!(!plain.foreign.contains(&ForeignKind::Celestia));
    client.submit(&key(2), vec![plain.clone()], SubmitOptions::default()).await.unwrap();
    chain.decide();
    let by = json!([2, ns(5), commitment(5, &plain.bytes)]);
    assert_eq!(call(&sidecar, "blob.Get", by).await.unwrap()["data"], base64(&plain.bytes));
    let all = call(&sidecar, "blob.GetAll", json!([2, [ns(5)]])).await.unwrap();
    assert_eq!(all[0]["commitment"], commitment(5, &plain.bytes));
}

#[tokio::test]
async fn headers_have_the_shape_that_ev_node_reads() {
    let (chain, _node, sidecar) = start(Setup::default()).await;
    chain.decide();
    let header = call(&sidecar, "header.GetByHeight", json!([2])).await.unwrap();
    let truth = chain.lock().decided[1].light.signed_header.header.clone();
    assert_eq!(header["height"], "2");
    assert_eq!((&header["header"]["height"], &header["commit"]["height"]), (&"2".into(), &"2".into()));
    assert_eq!(header["header"]["chain_id"], "weft-test");
    assert_eq!(header["header"]["time"], json!(truth.time));
    assert!(header["header"]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(header["dah"], json!({ "row_roots": [], "column_roots": [] }));
    let waiting = call(&sidecar, "header.WaitForHeight", json!([3]));
    let deciding = async {
        chain.decide();
    };
    let (third, ()) = tokio::join!(waiting, deciding);
    let third = third.unwrap();
    assert_eq!(third["height"], "3");
    for name in ["header.LocalHead", "header.NetworkHead"] {
        assert_eq!(call(&sidecar, name, json!([])).await.unwrap(), third);
    }
    let state = call(&sidecar, "header.SyncState", json!([])).await.unwrap();
    assert_eq!((&state["height"], &state["to_height"]), (&3.into(), &3.into()));
}

#[tokio::test]
async fn errors_hold_ev_nodes_words() {
    let (chain, node, sidecar) = start(Setup { concurrent: 1, ..Setup::default() }).await;
    let refused = async |method: &str, params: Value| call(&sidecar, method, params).await.unwrap_err();
    let says = |message: String, words: &str| assert!(message.contains(words), "{message}");
    let unknown = commitment(1, b"unknown");
    says(refused("blob.Get", json!([1, ns(1), unknown])).await, "blob: not found");
    let future = "given height is from the future";
    says(refused("blob.Get", json!([9, ns(1), unknown])).await, future);
    says(refused("blob.GetAll", json!([9, [ns(1)]])).await, future);
    says(refused("blob.Included", json!([9, ns(1), null, unknown])).await, future);
    says(refused("header.GetByHeight", json!([9])).await, future);
    says(refused("header.GetByHeight", json!([0])).await, "height is equal to 0");
    for name in ["blob.GetProof", "blob.GetCommitmentProof"] {
        says(refused(name, json!([1, ns(1), unknown])).await, "is not supported");
    }
    says(refused("blob.Get", json!(["x"])).await, "parameters");
    let many: Vec<_> = (0..65).map(ns).collect();
    says(refused("blob.GetAll", json!([1, many])).await, "namespaces: more than 64");
    says(refused("share.GetEDS", json!([1])).await, "Method not found");

    let big = vec![1; (1 << 20) + 1];
    says(submit(&sidecar, &[blob_json(1, &big)]).await.unwrap_err(), "blob: over size limit");
    let mut wrong = blob_json(1, b"data");
    wrong["commitment"] = unknown.into();
    says(submit(&sidecar, &[wrong]).await.unwrap_err(), "is not that of the data");
    let mut signed = blob_json(1, b"data");
    signed["share_version"] = 1.into();
    says(submit(&sidecar, &[signed]).await.unwrap_err(), "share_version 1 is not supported");
    let mut foreign = blob_json(1, b"data");
    foreign["namespace"] = base64(&[1; 29]).into();
    says(submit(&sidecar, &[foreign]).await.unwrap_err(), "namespace");
    says(submit(&sidecar, &[]).await.unwrap_err(), "none to submit");
    assert_eq!(chain.lock().records.len(), 0);

    // Too much at once: ev-node tries again.
    let blobs = [blob_json(1, b"slow")];
    let slow = submit(&sidecar, &blobs);
    let then = async {
        chain.pooled(1).await;
        let busy = submit(&sidecar, &[blob_json(1, b"busy")]).await.unwrap_err();
        says(busy, "timed out waiting for tx to be included in a block");
        chain.decide();
    };
    let (slow, ()) = tokio::join!(slow, then);
    assert_eq!(slow.unwrap(), 2);
    node.stop().await;
    let message = refused("blob.GetAll", json!([1, [ns(1)]])).await;
    assert!(message.contains("no node could answer") && !message.contains("not found"), "{message}");
}

#[tokio::test]
async fn a_lying_node_is_passed_over() {
    let chain = Chain::new();
    let honest = Server::start(&chain, Manner::Honest).await;
    let _deciding = Deciding::start(&chain);
    let writer = Sidecar::start(&chain, &[&honest], Setup::default(), Gateway::celestia).await;
    let height = submit(&writer, &[blob_json(1, b"one"), blob_json(1, b"two")]).await.unwrap();
    let by = json!([height, ns(1), commitment(1, b"two")]);
    for manner in [Manner::FlipsAByte, Manner::OmitsAnEntry, Manner::DeniesANamespace, Manner::ForgesHeaders]
    {
        let liar = Server::start(&chain, manner).await;
        let alone = Sidecar::start(&chain, &[&liar], Setup::default(), Gateway::celestia).await;
        let message = call(&alone, "blob.Get", by.clone()).await.unwrap_err();
        assert!(
            message.contains("served a false") && !message.contains("not found"),
            "{manner:?}: {message}"
        );
        let both = Sidecar::start(&chain, &[&liar, &honest], Setup::default(), Gateway::celestia).await;
        assert_eq!(call(&both, "blob.Get", by.clone()).await.unwrap()["data"], base64(b"two"), "{manner:?}");
    }
}

/// A WebSocket without a library, so that frames are seen as a Go client sees them.
struct Socket(TcpStream);

impl Socket {
    async fn open(sidecar: &Sidecar) -> Self {
        let address = sidecar.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let token = sidecar.token.as_ref().unwrap().secret();
        let hello = format!(
            "GET /{token} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(hello.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Self(stream)
    }

    /// One text frame, masked with zeros.
    async fn send(&mut self, value: &Value) {
        let text = value.to_string();
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        let head = [&[0x81, 0xfe][..], &length, &[0; 4]].concat();
        self.0.write_all(&[&head, text.as_bytes()].concat()).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        let (kind, short) = (self.0.read_u8().await.unwrap(), self.0.read_u8().await.unwrap());
        assert_eq!(kind, 0x81, "one text frame");
        let length = match short {
            126 => u64::from(self.0.read_u16().await.unwrap()),
            127 => self.0.read_u64().await.unwrap(),
            short => short.into(),
        };
        let mut text = vec![0; length as usize];
        self.0.read_exact(&mut text).await.unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

#[tokio::test]
async fn a_subscription_is_a_go_jsonrpc_channel_of_every_height_once() {
    let (chain, _node, sidecar) = start(Setup::default()).await;
    // Once the gateway has seen the first block, the next one is the subscription's first.
    call(&sidecar, "header.WaitForHeight", json!([1])).await.unwrap();
    let mut socket = Socket::open(&sidecar).await;
    socket.send(&json!({ "jsonrpc": "2.0", "id": 7, "method": "blob.Subscribe", "params": [ns(1)] })).await;
    let answer = socket.receive().await;
    assert_eq!(answer["id"], 7);
    let channel = answer["result"].as_u64().unwrap();
    chain.decide();
    let blobs = [blob_json(1, b"data")];
    let submitting = submit(&sidecar, &blobs);
    let deciding = async {
        chain.pooled(1).await;
        chain.decide();
    };
    tokio::join!(async { submitting.await.unwrap() }, deciding);
    chain.decide();
    for height in 2..=4 {
        let frame = socket.receive().await;
        assert_eq!((&frame["method"], &frame["params"][0]), (&"xrpc.ch.val".into(), &channel.into()));
        let value = &frame["params"][1];
        assert_eq!((&value["Height"], &value["header"]["height"]), (&height.into(), &height.into()));
        let data = value["Blobs"][0]["data"].as_str();
        assert_eq!(data, (height == 3).then(|| base64(b"data")).as_deref());
    }
    // The gateway looks for the latest header by itself; what a node streams may be ahead of that.
    call(&sidecar, "header.WaitForHeight", json!([4])).await.unwrap();
    socket.send(&json!({ "jsonrpc": "2.0", "id": 8, "method": "header.Subscribe", "params": [] })).await;
    let headers = socket.receive().await["result"].as_u64().unwrap();
    chain.decide();
    let mut values = [socket.receive().await, socket.receive().await].map(|frame| frame["params"].clone());
    values.sort_by_key(|params| params[1].get("Height").is_none());
    assert_eq!(values[0][1]["Height"], 5);
    assert_eq!((&values[1][0], &values[1][1]["height"]), (&headers.into(), &"5".into()));
    socket
        .send(&json!({ "jsonrpc": "2.0", "id": 9, "method": "blob.Unsubscribe", "params": [channel] }))
        .await;
    let mut ended = [socket.receive().await, socket.receive().await];
    ended.sort_by_key(|frame| frame.get("id").is_none());
    assert_eq!((&ended[0]["id"], &ended[0]["result"]), (&9.into(), &true.into()));
    assert_closes(&ended[1], channel);
    sidecar.stop().await;
    assert_closes(&socket.receive().await, headers);
}

fn assert_closes(frame: &Value, channel: u64) {
    assert_eq!((&frame["method"], &frame["params"]), (&"xrpc.ch.close".into(), &json!([channel])));
}

#[tokio::test]
async fn a_cancelled_call_ends_its_channel_and_no_other_connections() {
    let (chain, _node, sidecar) = start(Setup::default()).await;
    // Once the gateway has seen the first block, no value comes before the next.
    call(&sidecar, "header.WaitForHeight", json!([1])).await.unwrap();
    let subscribe = json!({ "jsonrpc": "2.0", "id": 7, "method": "header.Subscribe", "params": [] });
    let (mut first, mut second) = (Socket::open(&sidecar).await, Socket::open(&sidecar).await);
    let mut channels = Vec::new();
    for socket in [&mut first, &mut second] {
        socket.send(&subscribe).await;
        channels.push(socket.receive().await["result"].as_u64().unwrap());
    }
    // Neither another call's number nor another connection's channel ends anything.
    first.send(&json!({ "jsonrpc": "2.0", "method": "xrpc.cancel", "params": [8] })).await;
    let other = json!({ "jsonrpc": "2.0", "id": 8, "method": "header.Unsubscribe", "params": [channels[1]] });
    first.send(&other).await;
    first.send(&json!({ "jsonrpc": "2.0", "method": "xrpc.cancel", "params": [7] })).await;
    let mut ended = [first.receive().await, first.receive().await];
    ended.sort_by_key(|frame| frame.get("id").is_none());
    assert_eq!((&ended[0]["id"], &ended[0]["result"]), (&8.into(), &false.into()));
    assert_closes(&ended[1], channels[0]);
    chain.decide();
    let value = second.receive().await;
    assert_eq!((&value["method"], &value["params"][0]), (&"xrpc.ch.val".into(), &channels[1].into()));
}

async fn subscribe(socket: &mut Socket) -> u64 {
    socket.send(&json!({ "jsonrpc": "2.0", "id": 7, "method": "blob.Subscribe", "params": [ns(1)] })).await;
    socket.receive().await["result"].as_u64().unwrap()
}

#[tokio::test]
async fn a_subscription_before_anything_is_verified_starts_at_the_first_verified_height() {
    let chain = Chain::new();
    // Connections wait until somebody serves them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_of(&chain, &[format!("http://{}", listener.local_addr().unwrap())]);
    let sidecar = Sidecar::start_over(client, Setup::default(), Gateway::celestia).await;
    let mut socket = Socket::open(&sidecar).await;
    subscribe(&mut socket).await;
    chain.decide();
    chain.decide();
    let _node = Server::start_at(&chain, Manner::Honest, Config::default(), listener);
    assert_eq!(socket.receive().await["params"][1]["Height"], 3);
}
