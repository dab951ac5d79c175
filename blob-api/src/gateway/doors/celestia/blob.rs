//! `blob.*`: blobs by their Celestia commitment.

use base64::{Engine, engine::general_purpose::STANDARD};
use chain::Height;
use erasure::{ForeignCommitment, ForeignKind, IndexEntry, Namespace, celestia_commitment};
use futures::{
    StreamExt,
    future::ready,
    stream::{self, BoxStream},
};
use jsonrpsee::{Methods, types::ErrorObjectOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::{
    super::super::{Gateway, ReadFailure},
    Answer, channel, check_height, failure, method, unsupported,
};
use crate::{Client, ClientError, Lookup, NewBlob, VerifiedBlob, VerifiedList};

/// Namespaces in one `blob.GetAll`.
const NAMESPACES: usize = 64;

/// A blob as celestia-node's JSON has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct BlobJson {
    namespace: Base64,
    data: Base64,
    share_version: u8,
    commitment: Option<Base64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signer: Option<Base64>,
    /// First share in the block's square, row by row; -1 before the blob is in one.
    #[serde(default = "nowhere")]
    index: i64,
}

const fn nowhere() -> i64 {
    -1
}

/// Bytes as Go writes them: base64, or null for none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base64(Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Base64 {
    fn namespace(&self) -> Result<Namespace, ErrorObjectOwned> {
        Namespace::from_bytes(&self.0).map_err(|error| failure(format!("namespace: {error}")))
    }

    fn digest(&self) -> Result<[u8; 32], ErrorObjectOwned> {
        self.0
            .as_slice()
            .try_into()
            .map_err(|_| failure(format!("commitment: 32 bytes, got {}", self.0.len())))
    }
}

type ByCommitment = (Height, Base64, Base64);

pub(super) fn register(methods: &mut Methods, gateway: &Gateway) {
    method(methods, gateway, "blob.Submit", submit);
    method(methods, gateway, "blob.Get", get);
    method(methods, gateway, "blob.GetAll", get_all);
    method(methods, gateway, "blob.Included", included);
    method(methods, gateway, "blob.GetProof", |_, _: Value| async { Err(unsupported("blob.GetProof")) });
    method(methods, gateway, "blob.GetCommitmentProof", |_, _: Value| async {
        Err(unsupported("blob.GetCommitmentProof"))
    });
    channel::register(methods, gateway, "blob.Subscribe", "blob.Unsubscribe", |gateway, (namespace,)| {
        Base64::namespace(&namespace).map(|namespace| subscribe(gateway, namespace))
    });
}

/// All blobs in one transaction. Celestia's gas options have no meaning here and are not looked at.
async fn submit(gateway: Gateway, parameters: Value) -> Answer {
    let [blobs, ..] = parameters.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err(failure("blobs: missing"));
    };
    let blobs: Vec<BlobJson> =
        serde_json::from_value(blobs.clone()).map_err(|error| failure(format!("blobs: {error}")))?;
    if blobs.is_empty() {
        return Err(failure("blobs: none to submit"));
    }
    // Hashing megabytes takes milliseconds.
    let describe = || blobs.into_iter().enumerate().map(|(at, blob)| describe(at, blob)).collect();
    let described: Result<Vec<_>, _> =
        tokio::task::spawn_blocking(describe).await.map_err(|error| failure(error.to_string()))?;
    Ok(json!(gateway.submitter.submit(described?).await?.height))
}

fn describe(at: usize, blob: BlobJson) -> Result<NewBlob, ErrorObjectOwned> {
    let bad = |message: String| failure(format!("blobs[{at}]: {message}"));
    if blob.share_version != 0 || blob.signer.is_some() {
        return Err(bad(format!(
            "share_version {} is not supported, 0 without a signer is: the transaction's signer is in the index",
            blob.share_version
        )));
    }
    let namespace = blob.namespace.namespace()?;
    let bytes = blob.data.0;
    if bytes.is_empty() {
        return Err(bad("data: empty".into()));
    }
    let commitment = celestia_commitment(&namespace, &bytes);
    match blob.commitment {
        Some(given) if !given.0.is_empty() && given.0 != commitment => Err(bad(format!(
            "commitment: {} is not that of the data, which is {}",
            STANDARD.encode(given.0),
            STANDARD.encode(commitment)
        ))),
        _ => Ok(NewBlob { namespace, bytes, foreign: vec![ForeignKind::Celestia] }),
    }
}

async fn get(gateway: Gateway, (height, namespace, commitment): ByCommitment) -> Answer {
    let (namespace, commitment) = (namespace.namespace()?, commitment.digest()?);
    match find(&gateway, height, namespace, commitment).await? {
        Some(blob) => Ok(json!(blob)),
        None => Err(failure("blob: not found")),
    }
}

/// Null where the namespaces are proven to have nothing, as celestia-node has it. A namespace given twice is read once.
async fn get_all(gateway: Gateway, (height, given): (Height, Vec<Base64>)) -> Answer {
    let mut namespaces: Vec<Namespace> = Vec::new();
    for namespace in given {
        let namespace = namespace.namespace()?;
        if !namespaces.contains(&namespace) {
            namespaces.push(namespace);
        }
        if namespaces.len() > NAMESPACES {
            return Err(failure(format!("namespaces: more than {NAMESPACES}; ask in parts")));
        }
    }
    let mut blobs = Vec::new();
    for namespace in namespaces {
        let list = gateway.list(check_height(height)?, namespace).await?;
        blobs.extend(read(&gateway.client, &list).await.map_err(ReadFailure::Client)?);
    }
    Ok(if blobs.is_empty() { Value::Null } else { json!(blobs) })
}

/// Whatever proof the caller holds: the door verifies by itself.
async fn included(
    gateway: Gateway,
    (height, namespace, _proof, commitment): (Height, Base64, Value, Base64),
) -> Answer {
    let (namespace, commitment) = (namespace.namespace()?, commitment.digest()?);
    Ok(json!(find(&gateway, height, namespace, commitment).await?.is_some()))
}

/// None where it is proven absent. A blob that was submitted without its Celestia commitment is found too, if only
/// after its bytes were read.
async fn find(
    gateway: &Gateway,
    height: Height,
    namespace: Namespace,
    commitment: [u8; 32],
) -> Result<Option<BlobJson>, ErrorObjectOwned> {
    gateway.check_height(check_height(height)?).await?;
    let name = ForeignCommitment { kind: ForeignKind::Celestia, value: commitment };
    let client = &gateway.client;
    let list = match client.lookup(height, namespace, name).await.map_err(ReadFailure::Client)? {
        Lookup::Found(blob) => return Ok(Some(blob_json(blob).await.map_err(ReadFailure::Client)?)),
        Lookup::Absent(list) => list,
    };
    if list.entries().iter().all(|entry| carried(entry).is_some()) {
        return Ok(None);
    }
    let mut blobs = read(&gateway.client, &list).await.map_err(ReadFailure::Client)?.into_iter();
    Ok(blobs.find(|blob| blob.commitment.as_ref().is_some_and(|found| found.0 == commitment)))
}

fn carried(entry: &IndexEntry) -> Option<[u8; 32]> {
    entry.foreign.iter().find(|foreign| foreign.kind == ForeignKind::Celestia).map(|foreign| foreign.value)
}

async fn read(client: &Client, list: &VerifiedList) -> Result<Vec<BlobJson>, ClientError> {
    let mut blobs = Vec::with_capacity(list.entries().len());
    for blob in client.read(list).await? {
        blobs.push(blob_json(blob).await?);
    }
    Ok(blobs)
}

async fn blob_json(blob: VerifiedBlob) -> Result<BlobJson, ClientError> {
    let entry = blob.entry().clone();
    let bytes = blob.into_bytes();
    let commitment = match carried(&entry) {
        Some(commitment) => commitment,
        None => {
            let (namespace, bytes) = (entry.namespace, bytes.clone());
            let hashed = tokio::task::spawn_blocking(move || celestia_commitment(&namespace, &bytes)).await;
            hashed.map_err(|error| ClientError::Local(error.to_string()))?
        }
    };
    Ok(BlobJson {
        namespace: Base64(entry.namespace.as_bytes().to_vec()),
        data: Base64(bytes.into()),
        share_version: 0,
        commitment: Some(Base64(commitment.to_vec())),
        signer: None,
        index: entry.start.into(),
    })
}

/// Every height after the latest, once, in order, those without a blob too. A height that no node can answer is
/// asked for again until one can.
fn subscribe(gateway: Gateway, namespace: Namespace) -> BoxStream<'static, Value> {
    let client = gateway.client.clone();
    let lists = stream::once(channel::next_height(gateway)).flat_map({
        let client = client.clone();
        move |first| client.follow_namespace(namespace, first)
    });
    let lists = lists.filter_map(|list| {
        ready(list.inspect_err(|error| tracing::warn!(%error, "a subscription waits for a height")).ok())
    });
    lists.then(move |list| value(client.clone(), list)).boxed()
}

async fn value(client: Client, list: VerifiedList) -> Value {
    let read = || {
        let (client, list) = (client.clone(), list.clone());
        async move { read(&client, &list).await }
    };
    let blobs = channel::persist(read).await;
    let blobs = if blobs.is_empty() { Value::Null } else { json!(blobs) };
    let (height, header) = (list.height(), list.header().header());
    let header = json!({ "chain_id": header.chain_id, "height": height, "time": header.time });
    // Go reads names whatever their case, Rust's client as celestia-node once wrote them.
    json!({ "Blobs": blobs, "Height": height, "header": header })
}
