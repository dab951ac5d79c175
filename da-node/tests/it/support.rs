//! A network of processes, looked at through its public interfaces.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use blob_api::{Client, NewBlob};
use chain::{Genesis, LightBlock};
use da_node::devnet::{Devnet, height_of};
use erasure::{ForeignKind, Namespace};
use light_client::{StateReport, Status};
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};

/// Two cores hold one network at a time.
pub(crate) static ALONE: Mutex<()> = Mutex::const_new(());

/// How long the light clients may take to sample a final block.
const SAMPLED_WITHIN: Duration = Duration::from_secs(30);

/// How long a node may take to have a block that another has.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(30);

/// Programs that a network runs.
const PROGRAMS: [&str; 2] = ["da-node", "light-client"];

/// Pause between two looks at something that will change.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until `look` finds something.
pub(crate) async fn eventually<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        sleep(LOOK).await;
    }
}

/// The folder where the workspace's programs are.
pub(crate) fn programs() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_da-node")).parent().unwrap();
    for program in PROGRAMS.map(|name| folder.join(name)) {
        assert!(program.exists(), "{} is not there: `make build` builds it", program.display());
    }
    folder.to_path_buf()
}

pub(crate) fn namespace(id: u8) -> Namespace {
    Namespace::from_user_id([id; 10])
}

/// Bytes that no two seeds share, and that compress badly.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let block = |at: u64| erasure::sha256(&[seed.to_be_bytes(), at.to_be_bytes()].concat());
    let mut bytes: Vec<u8> = (0..len.div_ceil(32) as u64).flat_map(block).collect();
    bytes.truncate(len);
    bytes
}

/// 131,072 bytes of which every 32-byte word is below the scalar order.
pub(crate) fn field_elements(seed: u64) -> Vec<u8> {
    let mut bytes = bytes(seed, 131_072);
    bytes.iter_mut().step_by(32).for_each(|byte| *byte = 0);
    bytes
}

pub(crate) fn blob(id: u8, bytes: Vec<u8>, foreign: &[ForeignKind]) -> NewBlob {
    NewBlob { namespace: namespace(id), bytes, foreign: foreign.to_vec() }
}

/// The light block at `height` as a node serves it, once it has it: the node that told of it may be ahead.
pub(crate) async fn light_block(api: &str, height: u64) -> LightBlock {
    eventually(FOLLOWS_WITHIN, &format!("block {height}"), async || {
        (height_of(api).await.ok()? >= height).then_some(())
    })
    .await;
    let answer = reqwest::get(format!("{api}/v1/header/{height}")).await.unwrap();
    answer.error_for_status().unwrap().json().await.unwrap()
}

/// A devnet in a folder of its own. Whatever happens, its processes end with this value.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) devnet: Devnet,
    dir: Folder,
    _alone: MutexGuard<'static, ()>,
}

/// Where in its folder the network is.
const NETWORK: &str = "network";

/// Lines of each log that a failed test shows.
const LOG_LINES: usize = 15;

/// A folder that shows the ends of the network's logs when a test fails.
#[derive(Debug)]
struct Folder(TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for entry in fs::read_dir(self.0.path().join(NETWORK)).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
                eprintln!("--- the end of {}\n{end}", path.display());
            }
        }
    }
}

impl Network {
    /// Four validators and a full node.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with another genesis.
    pub(crate) async fn start_with(change: impl Fn(&mut Genesis)) -> Self {
        let _alone = ALONE.lock().await;
        let dir = Folder(tempfile::tempdir().unwrap());
        let devnet = Devnet::start(&dir.0.path().join(NETWORK), &programs(), 4, change).await.unwrap();
        Self { devnet, dir, _alone }
    }

    /// The API of a node: validators 0 to 3, the full node 4.
    pub(crate) fn api(&self, node: usize) -> &str {
        &self.devnet.nodes[node].running.api
    }

    /// The APIs of all nodes.
    pub(crate) fn apis(&self) -> Vec<String> {
        self.devnet.nodes.iter().map(|node| node.running.api.clone()).collect()
    }

    /// A client that verifies and asks one node only.
    pub(crate) fn client(&self, node: usize) -> Client {
        Client::new(&[self.api(node).to_owned()], Some(self.devnet.network().unwrap())).unwrap()
    }

    /// The latest height of the full node.
    pub(crate) async fn height(&self) -> u64 {
        height_of(self.api(4)).await.unwrap()
    }

    /// Waits until every light client has found a block available, with the confidence that it wants.
    pub(crate) async fn confident(&self) {
        for light in &self.devnet.lights {
            let what = format!("{} to be confident of a block", light.process.name);
            eventually(SAMPLED_WITHIN, &what, async || {
                let status: Status = reqwest::get(&light.status).await.unwrap().json().await.unwrap();
                status.confidence.filter(|confidence| *confidence >= status.wanted_confidence)
            })
            .await;
        }
    }

    /// Waits until every light client found the block available, and gives what each reported of it.
    pub(crate) async fn sampled(&self, height: u64) -> Vec<(f64, Option<usize>)> {
        let mut found = Vec::new();
        for light in &self.devnet.lights {
            let what = format!("{} to sample block {height}", light.process.name);
            let report = eventually(SAMPLED_WITHIN, &what, async || {
                let status: Status = reqwest::get(&light.status).await.unwrap().json().await.unwrap();
                let report = status.heights.into_iter().find(|report| report.height == height)?;
                match report.state {
                    StateReport::Available { confidence } => Some((confidence, report.width)),
                    _ => None,
                }
            });
            found.push(report.await);
        }
        found
    }

    /// Processes of our programs whose command line names this network's folder.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_of(self.dir.0.path())
    }

    /// Stops every process the regular way; none may be left.
    pub(crate) async fn stop(self) {
        let pids: Vec<_> = self.devnet.nodes.iter().map(|node| node.running.pid).collect();
        self.devnet.stop().await.unwrap();
        for pid in pids {
            assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
        }
        assert_eq!(processes_of(self.dir.0.path()), [0u32; 0]);
    }
}

fn processes_of(folder: &Path) -> Vec<u32> {
    let folder = folder.display().to_string();
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        // A process that has just ended has no command line any more.
        let Ok(command) = fs::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command);
        let program = command.split('\0').next().unwrap_or_default();
        if PROGRAMS.iter().any(|name| program.ends_with(name)) && command.contains(&folder) {
            pids.push(pid);
        }
    }
    pids
}
