//! Every refusal names the field and the limit, and leaves nothing in the pool.

use blob_api::{ErrorBody, ErrorCode, ErrorDetail, NewBlob, PROTOBUF, SubmitOptions};
use chain::{Action, BlobHeader, Payload, Submission};
use erasure::{ForeignKind, Namespace};
use proptest::prelude::*;
use reqwest::{Response, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    chain_in_memory::{Chain, key, namespace},
    nodes::{Server, honest},
};

async fn post(server: &Server, body: Vec<u8>) -> Response {
    let request =
        reqwest::Client::new().post(format!("{}/v1/tx", server.url)).header("content-type", PROTOBUF);
    request.body(body).send().await.unwrap()
}

async fn detail(response: Response) -> (StatusCode, ErrorDetail) {
    (response.status(), response.json::<ErrorBody>().await.unwrap().error)
}

fn payload(chain: &Chain, blobs: Vec<BlobHeader>) -> Payload {
    Payload {
        sender: key(1).address(),
        salt: [1; 16],
        valid_until: chain.height() + 50,
        fee_cap: 3_000,
        tip: 0,
        action: Action::SubmitBlobs { blobs, reservation: None },
    }
}

fn sign(chain: &Chain, payload: Payload, bodies: Vec<Vec<u8>>) -> Submission {
    Submission { transaction: key(1).sign(payload, vec![], &chain.genesis.domain()).unwrap(), bodies }
}

/// A good submission of one blob, changed before it is signed.
fn changed(chain: &Chain, bytes: &[u8], change: impl FnOnce(&mut Payload)) -> Submission {
    let header = BlobHeader::describe(namespace(1), bytes, &[ForeignKind::Keccak256], &[]);
    let mut payload = payload(chain, vec![header]);
    change(&mut payload);
    sign(chain, payload, vec![bytes.to_vec()])
}

fn first(payload: &mut Payload) -> &mut BlobHeader {
    match &mut payload.action {
        Action::SubmitBlobs { blobs, .. } => &mut blobs[0],
        _ => panic!("no blobs"),
    }
}

#[tokio::test]
async fn a_refused_submission_names_field_and_limit_and_leaves_nothing() {
    let (chain, server, _) = honest().await;
    let chain = &chain;
    let height = chain.height();
    let limit = chain.genesis.parameters.max_blob_bytes;
    let bytes = b"bytes".as_slice();
    let mut other_signer = changed(chain, bytes, |_| ());
    other_signer.transaction.payload.sender = key(2).address();
    let mut high_s = changed(chain, bytes, |_| ());
    flip_s(&mut high_s.transaction.signature);
    let mut longer = changed(chain, bytes, |_| ());
    longer.bodies[0].push(0);
    let mut none = changed(chain, bytes, |_| ());
    none.bodies.clear();
    let empty = changed(chain, b"", |_| ());
    let oversize = changed(chain, &vec![1; limit as usize + 1], |_| ());
    let cases = [
        ("0 bytes", empty, "blobs.len", Some((limit, 0))),
        ("over the limit", oversize, "blobs.len", Some((limit, limit + 1))),
        (
            "reserved namespace",
            changed(chain, bytes, |p| first(p).namespace = Namespace::TRANSACTIONS),
            "blobs.namespace",
            None,
        ),
        (
            "wrong commitment",
            changed(chain, bytes, |p| first(p).commitment[0] ^= 1),
            "blobs[0].commitment",
            None,
        ),
        (
            "wrong hash",
            changed(chain, bytes, |p| first(p).foreign[0].value[0] ^= 1),
            "blobs[0].foreign",
            None,
        ),
        ("body longer than announced", longer, "bodies[0]", Some((5, 6))),
        ("no body", none, "bodies", None),
        ("cap under the base fee", changed(chain, bytes, |p| p.fee_cap = 999), "fee_cap", Some((1_000, 999))),
        (
            "expired",
            changed(chain, bytes, |p| p.valid_until = height),
            "valid_until",
            Some((height + 1, height)),
        ),
        (
            "too distant",
            changed(chain, bytes, |p| p.valid_until = height + 102),
            "valid_until",
            Some((height + 101, height + 102)),
        ),
        ("signature by another key", other_signer, "signature", None),
        ("high s", high_s, "signature", None),
        (
            "kzg on a length that is no multiple",
            changed(chain, bytes, |p| first(p).foreign[0].kind = ForeignKind::Eip4844),
            "blobs.len",
            Some((131_072, 5)),
        ),
        ("no blobs", sign(chain, payload(chain, vec![]), vec![]), "blobs", Some((64, 0))),
    ];
    for (case, submission, field, numbers) in cases {
        let (status, error) = detail(post(&server, submission.encode()).await).await;
        assert_eq!((status.as_u16(), error.code), (400, ErrorCode::Invalid), "{case}: {error:?}");
        assert_eq!(error.field.as_deref(), Some(field), "{case}: {error:?}");
        let got = error.limit.zip(error.got).map(|(l, g)| (l.as_u64().unwrap(), g.as_u64().unwrap()));
        assert_eq!(got, numbers, "{case}");
        assert!(chain.lock().pool.is_empty() && chain.lock().records.is_empty(), "{case}");
    }
}

/// s becomes the curve's order less s, and v the other: the same signature's second form.
fn flip_s(signature: &mut [u8; 65]) {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
        0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
    ];
    let mut borrow = 0i16;
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(digit < 0);
        signature[32 + at] = digit.rem_euclid(256) as u8;
    }
    signature[64] = 27 + 28 - signature[64];
}

#[tokio::test]
async fn a_poor_account_a_repeat_and_a_strangers_copy_are_refused() {
    let (chain, server, client) = honest().await;
    let new = NewBlob { namespace: namespace(1), bytes: vec![1; 600_000], foreign: vec![] };
    let options = SubmitOptions { fee_cap: Some(u64::from(u32::MAX)), ..Default::default() };
    let dear = client.prepare(&key(1), vec![new.clone()], options).await.unwrap();
    match client.send(&dear, None).await {
        Err(blob_api::ClientError::Refused { detail, .. }) => {
            assert_eq!((detail.code, detail.field.as_deref()), (ErrorCode::Underfunded, Some("fee_cap")));
        }
        other => panic!("{other:?}"),
    }
    assert!(chain.lock().pool.is_empty());

    let good = changed(&chain, b"bytes", |_| ());
    assert_eq!(post(&server, good.encode()).await.status(), 200);
    let (status, error) = detail(post(&server, good.encode()).await).await;
    assert_eq!((status.as_u16(), error.code), (409, ErrorCode::Duplicate));
    let mut copied = good.clone();
    copied.transaction =
        key(2).sign(good.transaction.payload.clone(), vec![], &chain.genesis.domain()).unwrap();
    let (_, error) = detail(post(&server, copied.encode()).await).await;
    assert_eq!(error.field.as_deref(), Some("signature"));
    assert_eq!(chain.lock().pool.len(), 1);
}

#[tokio::test]
async fn a_malformed_namespace_is_named_wherever_it_comes_in() {
    let (chain, server, _) = honest().await;
    let (status, error) =
        detail(reqwest::get(format!("{}/v1/height/1/namespace/zz", server.url)).await.unwrap()).await;
    assert_eq!((status.as_u16(), error.field.as_deref()), (400, Some("namespace")));

    // A namespace of version 1, as a foreign encoder would write it.
    let mut bytes = changed(&chain, b"bytes", |_| ()).encode();
    let at = bytes.windows(29).position(|w| w == namespace(1).as_bytes()).unwrap();
    bytes[at] = 1;
    let (status, error) = detail(post(&server, bytes).await).await;
    assert_eq!((status.as_u16(), error.field.as_deref()), (400, Some("blobs.namespace")), "{error:?}");
}

#[tokio::test]
async fn wrong_paths_parameters_and_bodies_get_the_one_error_shape() {
    let (_chain, server, _) = honest().await;
    let get = |path: &'static str| reqwest::get(format!("{}{path}", server.url));
    let cases = [
        ("/v1/quote", 400, Some("bytes")),
        ("/v1/quote?bytes=0", 400, Some("bytes")),
        ("/v1/quote?bytes=9999999999", 400, Some("bytes")),
        ("/v1/quote?bytes=-1", 400, Some("bytes")),
        ("/v1/quote?bytes=1&bytes=2", 400, Some("bytes")),
        ("/v1/quote?bytes=1&blobs=65", 400, Some("blobs")),
        ("/v1/quote?bytes=1&horizon=101", 400, Some("horizon")),
        ("/v1/quote?bytes=1&foreign=md5", 400, Some("foreign")),
        ("/v1/quote?bytes=1000&foreign=eip4844", 400, Some("foreign")),
        ("/v1/quote?bytes=1&size=2", 400, Some("size")),
        ("/v1/tx/zz", 400, Some("id")),
        ("/v1/tx/%ff", 400, Some("path")),
        (
            "/v1/tx/0000000000000000000000000000000000000000000000000000000000000000?wait_ms=99999999",
            400,
            Some("wait_ms"),
        ),
        ("/v1/header/first", 400, Some("height")),
        ("/v1/blob/00", 400, Some("commitment")),
        ("/v1/account/0x00", 400, Some("address")),
        ("/v1/nothing", 404, None),
        ("/v1/tx", 405, None),
    ];
    for (path, expected, field) in cases {
        let (status, error) = detail(get(path).await.unwrap()).await;
        assert_eq!((status.as_u16(), error.field.as_deref()), (expected, field), "{path}: {error:?}");
    }

    let http = reqwest::Client::new();
    let quote = |json: &'static str| {
        let request =
            http.post(format!("{}/v1/quote", server.url)).header("content-type", "application/json");
        request.body(json).send()
    };
    for (json, field) in [
        ("{", "body"),
        ("[]", "body"),
        ("{}", "blobs"),
        (r#"{"blobs": [{}]}"#, "blobs[0].bytes"),
        (r#"{"blobs": [], "size": 1}"#, "size"),
        (r#"{"blobs": [{"bytes": "many"}]}"#, "blobs[0].bytes"),
        (r#"{"blobs": [{"bytes": 1, "foreign": ["md5"]}]}"#, "blobs[0].foreign"),
        (r#"{"blobs": []}"#, "blobs"),
    ] {
        let (status, error) = detail(quote(json).await.unwrap()).await;
        assert_eq!((status.as_u16(), error.field.as_deref()), (400, Some(field)), "{json}: {error:?}");
    }
    let untyped = http.post(format!("{}/v1/tx", server.url)).body("x").send().await.unwrap();
    let (status, error) = detail(untyped).await;
    assert_eq!((status.as_u16(), error.code), (415, ErrorCode::UnsupportedMediaType));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let (_chain, server, client) = honest().await;
    let limit = client.status().await.unwrap().max_submission_bytes;
    let announced = format!(
        "POST /v1/tx HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ncontent-length: {}\r\n\r\n",
        limit + 1
    );
    let answer = raw(&server, announced.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains(&format!("\"limit\":{limit},\"got\":{}", limit + 1)), "{answer}");

    let endless = futures::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(vec![0u8; 65_536]));
    let request =
        reqwest::Client::new().post(format!("{}/v1/tx", server.url)).header("content-type", PROTOBUF);
    // The server answers without reading on; the client may see the answer or the closed connection.
    if let Ok(answer) = request.body(reqwest::Body::wrap_stream(endless)).send().await {
        assert_eq!(answer.status(), 413);
    }
    assert_eq!(client.status().await.unwrap().height, 1);
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_refused() {
    let (chain, server, client) = honest().await;
    let good = changed(&chain, b"bytes", |_| ()).encode();
    for announced in [good.len() - 1, good.len() + 1] {
        let mut request =
            format!("POST /v1/tx HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ncontent-length: {announced}\r\n\r\n")
                .into_bytes();
        request.extend_from_slice(&good);
        let answer = raw(&server, &request).await;
        if announced > good.len() {
            let numbers =
                format!("\"field\":\"content-length\",\"limit\":{announced},\"got\":{}", good.len());
            assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(&numbers), "{answer}");
        } else {
            // The byte too many may close the connection before the answer is read.
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
        assert!(chain.lock().pool.is_empty());
    }
    assert_eq!(client.status().await.unwrap().height, 1);
}

/// Sends bytes as they are and reads until the server closes.
async fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn arbitrary_bytes_are_refused_without_a_panic() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (chain, server, _client) = runtime.block_on(honest());
    let good = changed(&chain, b"bytes", |_| ()).encode();
    let refused = |bytes| {
        let (status, error) = runtime.block_on(async { detail(post(&server, bytes).await).await });
        assert_eq!((status.as_u16(), error.code), (400, ErrorCode::Invalid));
        assert!(chain.lock().pool.is_empty());
    };
    proptest!(ProptestConfig::with_cases(200), |(bytes in prop::collection::vec(any::<u8>(), 0..400))| refused(bytes));
    proptest!(ProptestConfig::with_cases(300), |(at in 0..good.len(), bit in 0..8u8)| {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << bit;
        refused(bytes);
    });
    proptest!(ProptestConfig::with_cases(50), |(at in 0..good.len())| refused(good[..at].to_vec()));
}
