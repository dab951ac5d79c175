//! Reading a snapshot, from a file or a node, into the folder of a node that has no database.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use blob_api::{Client, ErrorBody};
use bytes::{Bytes, BytesMut};
use chain::{
    Checkpoint, Genesis, NetworkConfig, SNAPSHOT_MAGIC, SNAPSHOT_PART_BYTES, SnapshotError, SnapshotHead,
    StateChunk, StateRestore, StateUpdate, VerifiedSnapshot,
};

use super::PATH;
use crate::{clock, home::Home, storage::Importing};

/// The folder in a node's of a database that is not whole.
pub(crate) const UNFINISHED: &str = "db.new";

/// How long a node may be silent.
const SILENT: Duration = Duration::from_secs(60);

/// Bytes read from a file at once.
const READ_BYTES: usize = 1 << 20;

/// Where a snapshot comes from.
#[derive(Debug)]
pub(crate) enum Source {
    File(File),
    Node(reqwest::Response),
}

impl Source {
    pub(crate) fn file(path: &Path) -> Result<Self> {
        File::open(path).map(Self::File).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Asks the node whose API is at `url`.
    pub(crate) async fn node(url: &str) -> Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(SILENT).read_timeout(SILENT).build()?;
        let answer = http.get(format!("{}{PATH}", url.trim_end_matches('/'))).send().await;
        let answer = answer.with_context(|| format!("{url} does not answer"))?;
        let status = answer.status();
        if !status.is_success() {
            let said = answer.json().await.map(|body: ErrorBody| body.error.message);
            bail!("{url} gives no snapshot: {}", said.unwrap_or_else(|_| status.to_string()));
        }
        Ok(Self::Node(answer))
    }

    /// What comes next; none at the end.
    pub(crate) async fn more(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Node(answer) => answer.chunk().await.context("the snapshot broke off; load it again"),
            Self::File(file) => {
                let mut bytes = vec![0; READ_BYTES];
                let read = file.read(&mut bytes).context("the snapshot cannot be read")?;
                bytes.truncate(read);
                Ok((read > 0).then(|| bytes.into()))
            }
        }
    }
}

/// A snapshot being read.
struct Parts {
    source: Source,
    buffer: BytesMut,
}

/// How much a snapshot held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) values: usize,
    pub(crate) bytes: usize,
}

impl Parts {
    async fn begin(source: Source) -> Result<(SnapshotHead, Self)> {
        let mut parts = Self { source, buffer: BytesMut::new() };
        let magic = parts.exactly(SNAPSHOT_MAGIC.len()).await?;
        ensure!(
            magic == SNAPSHOT_MAGIC[..],
            "this is no snapshot of this version: it does not begin with '{}'",
            String::from_utf8_lossy(SNAPSHOT_MAGIC)
        );
        let head = parts.part().await?.ok_or(SnapshotError::Incomplete)?;
        Ok((SnapshotHead::decode(&head).map_err(SnapshotError::from)?, parts))
    }

    async fn exactly(&mut self, bytes: usize) -> Result<Bytes> {
        while self.buffer.len() < bytes {
            let more = self.source.more().await?.ok_or(SnapshotError::Incomplete)?;
            self.buffer.extend_from_slice(&more);
        }
        Ok(self.buffer.split_to(bytes).freeze())
    }

    /// The next part; none once all were read.
    async fn part(&mut self) -> Result<Option<Bytes>> {
        let len = u32::from_be_bytes(self.exactly(4).await?[..].try_into()?) as usize;
        let limit = SNAPSHOT_PART_BYTES;
        ensure!(len <= limit, "a part of the snapshot has {len} bytes, at most {limit} are allowed");
        Ok(if len == 0 { None } else { Some(self.exactly(len).await?) })
    }

    /// Reads all values, each verified before it is kept.
    async fn read(
        mut self,
        mut restore: StateRestore,
        keep: impl Fn(&StateUpdate) -> Result<()>,
    ) -> Result<Size> {
        let mut size = Size::default();
        while let Some(part) = self.part().await? {
            let chunk = StateChunk::decode(&part).map_err(SnapshotError::from)?;
            size = Size { values: size.values + chunk.count(), bytes: size.bytes + part.len() };
            keep(&restore.add(chunk)?)?;
        }
        keep(&restore.finish()?)?;
        Ok(size)
    }
}

/// Reads a snapshot of one's own node: that it is whole, and has the root that its own header says.
pub(crate) async fn check(source: Source) -> Result<(SnapshotHead, Size)> {
    let (head, parts) = Parts::begin(source).await?;
    let root = head
        .next
        .signed_header
        .header
        .app_hash
        .as_bytes()
        .try_into()
        .map_err(|_| SnapshotError::Incomplete)?;
    let size = parts.read(StateRestore::new(head.height(), root), |_| Ok(())).await?;
    Ok((head, size))
}

/// Makes the database of the node in `home` of a snapshot that `checkpoint` leads to; `node` is asked for headers
/// where the snapshot does not hold the checkpoint's own.
pub(crate) async fn load(
    home: &Home,
    source: Source,
    checkpoint: Checkpoint,
    node: Option<&str>,
) -> Result<(VerifiedSnapshot, Size)> {
    let (genesis, path) = (home.genesis()?, home.path("db"));
    let _lock = home.lock("da-node snapshot load")?;
    if path.exists() {
        bail!(
            "{} exists: this node has blocks and state; move that folder away to start from a snapshot",
            path.display()
        );
    }
    let (head, parts) = Parts::begin(source).await?;
    let snapshot = Box::pin(verify(&genesis, head, checkpoint, node)).await?;
    let importing = Importing::begin(&home.path(UNFINISHED))?;
    let size = parts.read(snapshot.restore(), |update| Ok(importing.put(update)?)).await?;
    forget_height(home)?;
    importing.finish(&genesis, &snapshot, &path)?;
    Ok((snapshot, size))
}

/// Removes consensus' log of the height that was under way. What it decides from there is not in the new database; what
/// was signed, the record beside it knows.
fn forget_height(home: &Home) -> Result<()> {
    let log = home.path("engine/consensus.wal");
    match std::fs::remove_file(&log) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", log.display()))
        }
        _ => Ok(()),
    }
}

async fn verify(
    genesis: &Genesis,
    head: SnapshotHead,
    checkpoint: Checkpoint,
    node: Option<&str>,
) -> Result<VerifiedSnapshot> {
    let network = NetworkConfig {
        chain_id: genesis.chain_id.clone(),
        genesis_hash: genesis.hash(),
        trusting_period_seconds: genesis.parameters.trusting_period_seconds,
        bootstrap: Vec::new(),
        api: node.into_iter().map(str::to_owned).collect(),
        checkpoint,
    };
    let options = network.trust_options();
    let trusted = match head.trusted(&genesis.chain_id, &network.checkpoint, clock::now(), &options) {
        Err(SnapshotError::OtherHeight { .. }) if node.is_some() => {
            Client::new(&[], Some(network))?.header(head.next.height()).await?
        }
        Err(error @ SnapshotError::OtherHeight { .. }) => {
            return Err(error)
                .context("name a node to ask for the headers in between (--node), or another checkpoint");
        }
        trusted => trusted?,
    };
    Ok(head.verify(genesis, &trusted, clock::now(), &options)?)
}
