//! A node refuses bad input by naming field and limit, keeps nothing of it, and goes on.

use std::time::Duration;

use blob_api::{Client, ErrorBody, ErrorCode, ErrorDetail, PROTOBUF};
use chain::{Action, Address, BlobHeader, Genesis, KzgOpening, Payload, SecretKey, Submission, TxStatus};
use da_node::{
    devnet::{PREFUNDED, dev_genesis, dev_key, height_of, make_validator},
    home::{Home, KeyRole, NodeConfig},
    run,
};
use erasure::{ForeignKind, Namespace};
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{MutexGuard, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::support::{ALONE, eventually, field_elements, namespace};

/// One validator in this process.
struct Node {
    api: String,
    client: Client,
    genesis: Genesis,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
    _dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Node {
    async fn start() -> Self {
        let _alone = ALONE.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("node"));
        let member = make_validator(&home, "it").unwrap();
        home.write_key(KeyRole::Faucet, &dev_key(0).unwrap().to_bytes()).unwrap();
        let mut genesis = dev_genesis("weft-it", vec![member]).unwrap();
        // Without work, no block comes during a test: the height stands still.
        genesis.parameters.idle_interval_ms = 600_000;
        home.write(&NodeConfig::loopback("it"), &genesis).unwrap();
        let node = run::start(&home, run::Options::default()).await.unwrap();
        let api = node.running.api.clone();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(node.until(async move {
            let _ = stopped.await;
        }));
        let client = Client::new(std::slice::from_ref(&api), None).unwrap();
        let node = Self { api, client, genesis, stop, task, _dir: dir, _alone };
        eventually(Duration::from_secs(10), "the first block", async || {
            (node.height().await == 1).then_some(())
        })
        .await;
        node
    }

    async fn height(&self) -> u64 {
        height_of(&self.api).await.unwrap()
    }

    /// Good input is still welcome: it becomes final, and is charged so much.
    async fn goes_on(&self, salt: u8) -> u64 {
        let good = self.changed(self.height().await, b"good", |payload| payload.salt = [salt; 16]);
        let (status, error) = self.post(good.encode()).await;
        assert_eq!(status, 200, "{error:?}");
        let id = good.transaction.id(&self.genesis.domain());
        let settled = timeout(Duration::from_secs(10), self.client.wait(id, |_| ())).await;
        let settled = settled.expect("the node makes blocks").unwrap();
        assert!(matches!(settled.status, TxStatus::Final { .. }), "{:?}", settled.status);
        settled.charged.unwrap()
    }

    async fn post(&self, body: Vec<u8>) -> (StatusCode, Option<ErrorDetail>) {
        let request = reqwest::Client::new().post(format!("{}/v1/tx", self.api));
        let answer = request.header("content-type", PROTOBUF).body(body).send().await.unwrap();
        let status = answer.status();
        (status, answer.json::<ErrorBody>().await.ok().map(|body| body.error))
    }

    /// Nothing is left of what `account` tried.
    async fn keeps_nothing_of(&self, account: Address, case: &str) {
        assert_eq!(self.client.account(account).await.unwrap().pending, 0, "{case}");
        let metrics = reqwest::get(format!("{}/metrics", self.api)).await.unwrap().text().await.unwrap();
        assert!(metrics.lines().any(|line| line == "weft_node_pool_transactions 0"), "{case}:\n{metrics}");
        assert!(metrics.lines().any(|line| line == "weft_node_pool_bytes 0"), "{case}:\n{metrics}");
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    fn sign(
        &self,
        key: &SecretKey,
        payload: Payload,
        kzg: Vec<KzgOpening>,
        bodies: Vec<Vec<u8>>,
    ) -> Submission {
        Submission { transaction: key.sign(payload, kzg, &self.genesis.domain()).unwrap(), bodies }
    }

    /// A good submission of one blob, changed before it is signed.
    fn changed(&self, height: u64, bytes: &[u8], change: impl FnOnce(&mut Payload)) -> Submission {
        let header = BlobHeader::describe(namespace(1), bytes, &[ForeignKind::Keccak256], &[]);
        let mut payload = payload(height, vec![header]);
        change(&mut payload);
        self.sign(&user(), payload, Vec::new(), vec![bytes.to_vec()])
    }
}

fn user() -> SecretKey {
    dev_key(1).unwrap()
}

fn payload(height: u64, blobs: Vec<BlobHeader>) -> Payload {
    Payload {
        sender: user().address(),
        salt: [1; 16],
        valid_until: height + 50,
        fee_cap: 3_000,
        tip: 0,
        action: Action::SubmitBlobs { blobs, reservation: None },
    }
}

fn first(payload: &mut Payload) -> &mut BlobHeader {
    match &mut payload.action {
        Action::SubmitBlobs { blobs, .. } => &mut blobs[0],
        _ => panic!("no blobs"),
    }
}

/// s becomes the curve's order less s, and v the other: the same signature's second form.
fn raise_s(signature: &mut [u8; 65]) {
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

/// The KZG opening of canonical bytes.
fn open(bytes: &[u8]) -> KzgOpening {
    let settings = c_kzg::ethereum_kzg_settings(0);
    let blob = c_kzg::Blob::from_bytes(bytes).unwrap();
    let commitment = settings.blob_to_kzg_commitment(&blob).unwrap().to_bytes();
    let proof = settings.compute_blob_kzg_proof(&blob, &commitment).unwrap().to_bytes();
    KzgOpening { commitment: commitment.into_inner(), proof: proof.into_inner() }
}

/// What a case is called, what is sent, the field that the answer names, and limit and what was got instead.
type Case = (&'static str, Submission, &'static str, Option<(u64, u64)>);

/// Submissions whose every fault is in the transaction or its bodies.
fn malformed(node: &Node, height: u64) -> Vec<Case> {
    let bytes = b"bytes".as_slice();
    let limit = node.genesis.parameters.max_blob_bytes;
    let changed = |change: &dyn Fn(&mut Payload)| node.changed(height, bytes, change);
    let mut stranger = changed(&|_| ());
    stranger.transaction.payload.sender = dev_key(2).unwrap().address();
    let mut high_s = changed(&|_| ());
    raise_s(&mut high_s.transaction.signature);
    let mut longer = changed(&|_| ());
    longer.bodies[0].push(0);
    vec![
        ("0 bytes", node.changed(height, b"", |_| ()), "blobs.len", Some((limit, 0))),
        (
            "a byte over the limit",
            node.changed(height, &vec![1; limit as usize + 1], |_| ()),
            "blobs.len",
            Some((limit, limit + 1)),
        ),
        ("no blob", node.sign(&user(), payload(height, vec![]), vec![], vec![]), "blobs", Some((64, 0))),
        (
            "reserved namespace",
            changed(&|p| first(p).namespace = Namespace::TRANSACTIONS),
            "blobs.namespace",
            None,
        ),
        ("wrong commitment", changed(&|p| first(p).commitment[0] ^= 1), "blobs[0].commitment", None),
        ("wrong keccak256", changed(&|p| first(p).foreign[0].value[0] ^= 1), "blobs[0].foreign", None),
        ("cap under the base fee", changed(&|p| p.fee_cap = 999), "fee_cap", Some((1_000, 999))),
        ("expired", changed(&|p| p.valid_until = height), "valid_until", Some((height + 1, height))),
        (
            "too distant",
            changed(&|p| p.valid_until = height + 102),
            "valid_until",
            Some((height + 101, height + 102)),
        ),
        ("high s", high_s, "signature", None),
        ("another key's signature", stranger, "signature", None),
        (
            "eip4844 on a length that is no multiple",
            changed(&|p| first(p).foreign[0].kind = ForeignKind::Eip4844),
            "blobs.len",
            Some((131_072, 5)),
        ),
        ("a body longer than its header says", longer, "bodies[0]", Some((5, 6))),
    ]
}

/// An EIP-4844 blob with a word that is no field element, and one whose opening is another's.
fn bad_kzg(node: &Node, height: u64) -> Vec<Case> {
    let canonical = field_elements(1);
    let mut wild = canonical.clone();
    wild[32..64].fill(0xff);
    let opening = open(&canonical);
    let submission = |bytes: Vec<u8>| {
        let kzg = vec![opening.clone()];
        let header = BlobHeader::describe(namespace(1), &bytes, &[ForeignKind::Eip4844], &kzg);
        node.sign(&user(), payload(height, vec![header]), kzg, vec![bytes])
    };
    let other = submission(field_elements(2));
    vec![
        ("non-canonical EIP-4844 blob", submission(wild), "bodies[0]", None),
        ("another blob's KZG opening", other, "kzg", None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_submissions_name_field_and_limit_and_leave_nothing() {
    let node = Node::start().await;
    let height = node.height().await;
    for (case, submission, field, numbers) in
        malformed(&node, height).into_iter().chain(bad_kzg(&node, height))
    {
        let (status, error) = node.post(submission.encode()).await;
        let error = error.unwrap_or_else(|| panic!("{case}: {status}"));
        assert_eq!((status.as_u16(), error.code), (400, ErrorCode::Invalid), "{case}: {error:?}");
        assert_eq!(error.field.as_deref(), Some(field), "{case}: {error:?}");
        let got = error.limit.zip(error.got).map(|(l, g)| (l.as_u64().unwrap(), g.as_u64().unwrap()));
        assert_eq!(got, numbers, "{case}: {}", error.message);
        node.keeps_nothing_of(user().address(), case).await;
    }
    assert_eq!(node.height().await, height);
    node.goes_on(2).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poor_accounts_and_repeated_transactions_are_refused() {
    let node = Node::start().await;
    let poor = SecretKey::from_bytes(&[9; 32]).unwrap();
    let header = BlobHeader::describe(namespace(1), b"bytes", &[], &[]);
    let unpaid = Payload { sender: poor.address(), ..payload(node.height().await, vec![header]) };
    let unpaid = node.sign(&poor, unpaid, Vec::new(), vec![b"bytes".to_vec()]);
    let (status, error) = node.post(unpaid.encode()).await;
    let error = error.unwrap();
    assert_eq!((status.as_u16(), error.code), (402, ErrorCode::Underfunded));
    assert_eq!(error.field.as_deref(), Some("fee_cap"), "{error:?}");
    assert_eq!((error.limit.unwrap().as_u64(), error.got.unwrap().as_u64() > Some(0)), (Some(0), true));
    node.keeps_nothing_of(poor.address(), "underfunded").await;

    let good = node.changed(node.height().await, b"bytes", |_| ());
    let id = good.transaction.id(&node.genesis.domain());
    let repeated = async |when: &str| {
        let (status, error) = node.post(good.encode()).await;
        let error = error.unwrap();
        assert_eq!((status.as_u16(), error.code), (409, ErrorCode::Duplicate), "{when}");
        assert_eq!((error.field.as_deref(), error.got), (Some("id"), Some(id.to_string().into())), "{when}");
    };
    assert_eq!(node.post(good.encode()).await.0, 200);
    repeated("in the pool").await;
    let charged = node.client.wait(id, |_| ()).await.unwrap().charged.unwrap();
    repeated("in the chain").await;
    node.keeps_nothing_of(user().address(), "repeated").await;
    let more = node.goes_on(2).await;
    let balance = node.client.account(user().address()).await.unwrap().balance;
    assert_eq!(PREFUNDED - balance, charged + more, "each is paid once");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bytes_are_refused_with_their_place() {
    let node = Node::start().await;
    let good = node.changed(node.height().await, b"bytes", |_| ()).encode();

    let mut foreign_version = good.clone();
    let at = good.windows(29).position(|window| window == namespace(1).as_bytes()).unwrap();
    foreign_version[at] = 1;
    for (case, body, field) in [
        ("namespace of version 1", foreign_version, "blobs.namespace"),
        ("truncated protobuf", good[..good.len() - 1].to_vec(), "body"),
        ("no protobuf", b"\xff\xff\xff\xff".to_vec(), "body"),
        ("nothing", Vec::new(), "sender"),
    ] {
        let (status, error) = node.post(body).await;
        let error = error.unwrap();
        assert_eq!((status.as_u16(), error.field.as_deref()), (400, Some(field)), "{case}: {error:?}");
        node.keeps_nothing_of(user().address(), case).await;
    }

    let answer = raw(&node, good.len() + 1, &good).await;
    let named = format!("\"field\":\"content-length\",\"limit\":{},\"got\":{}", good.len() + 1, good.len());
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(&named), "{answer}");
    let limit = node.client.status().await.unwrap().max_submission_bytes;
    let answer = raw(&node, limit as usize + 1, b"").await;
    let named = format!("\"field\":\"body\",\"limit\":{limit},\"got\":{}", limit + 1);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains(&named), "{answer}");
    // Longer than announced: the rest is no request.
    let answer = raw(&node, good.len() - 1, &good).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");

    for (json, field) in
        [("{", "body"), ("{}", "blobs"), (r#"{"blobs": [{"bytes": "many"}]}"#, "blobs[0].bytes")]
    {
        let request = reqwest::Client::new().post(format!("{}/v1/quote", node.api));
        let answer = request.header("content-type", "application/json").body(json).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{json}");
        let error = answer.json::<ErrorBody>().await.unwrap().error;
        assert_eq!(error.field.as_deref(), Some(field), "{json}: {error:?}");
    }
    let read = reqwest::get(format!("{}/v1/height/1/namespace/zz", node.api)).await.unwrap();
    assert_eq!(read.status(), 400);
    assert_eq!(read.json::<ErrorBody>().await.unwrap().error.field.as_deref(), Some("namespace"));

    node.keeps_nothing_of(user().address(), "all of it").await;
    node.goes_on(2).await;
    node.stop().await;
}

/// Announces `length` bytes, sends `body` and closes; gives what the node answered.
async fn raw(node: &Node, length: usize, body: &[u8]) -> String {
    let head = format!(
        "POST /v1/tx HTTP/1.1\r\nhost: node\r\ncontent-type: {PROTOBUF}\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(node.api.trim_start_matches("http://")).await.unwrap();
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has still delivered what came before.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
