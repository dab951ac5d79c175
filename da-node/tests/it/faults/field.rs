//! Four validators as separate machines, and load for them.

use std::{
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use blob_api::{Client, SubmitOptions};
use chain::{Genesis, StateKey, Validator};
use da_node::{
    devnet::height_of,
    home::{Home, KeyRole},
    hosts,
};
use netlab::Lab;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::sleep};

use crate::support::{blob, bytes, eventually, light_block, namespace};

/// Validators; the misbehaving or failing one is the last.
pub(crate) const VALIDATORS: usize = 4;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What the last validator does wrong whenever it proposes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProposerFault {
    Withhold,
    Square,
    State,
    Oversize,
    Year,
    Skew,
}

impl ProposerFault {
    fn name(self) -> &'static str {
        match self {
            Self::Withhold => "withhold",
            Self::Square => "square",
            Self::State => "state",
            Self::Oversize => "oversize",
            Self::Year => "year",
            Self::Skew => "skew",
        }
    }
}

/// What a process ends with that gives itself up.
const SIGABRT: i32 = 6;

/// A program of the crate's examples.
fn example(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_da-node")).with_file_name("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    program
}

/// How blocks came.
pub(super) struct Progress {
    pub(super) took: Duration,
    pub(super) longest: Duration,
}

/// A running network under load. Whatever happens, its processes end with this value.
pub(crate) struct Field {
    pub(crate) lab: Lab,
    folder: TempDir,
    /// The process of each number from 1 on, unless it was killed.
    pub(crate) nodes: Vec<Option<Child>>,
    load: JoinHandle<()>,
    fault: Option<ProposerFault>,
}

impl Drop for Field {
    fn drop(&mut self) {
        self.load.abort();
        for node in self.nodes.iter_mut().flatten() {
            let _ = node.kill();
            let _ = node.wait();
        }
        if std::thread::panicking() {
            for number in 1..=VALIDATORS {
                let log = fs::read_to_string(self.log(number)).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                eprintln!("--- v{number}\n{}", lines[lines.len().saturating_sub(12)..].join("\n"));
            }
        }
    }
}

impl Field {
    /// Four validators on four hosts, the last with `fault`; blobs come in all the time.
    pub(super) async fn start(fault: Option<ProposerFault>) -> Self {
        let mut field = Self::idle(fault, |_| {}).await;
        field.load = field.keep_submitting().await;
        field
    }

    /// Four validators on four hosts and nothing to do; `change` may change the genesis.
    pub(crate) async fn idle(fault: Option<ProposerFault>, change: impl Fn(&mut Genesis)) -> Self {
        // A host more, for a twin.
        Self::with_spare(1, 7, fault, change).await
    }

    /// The same with `spare` hosts more; `seed` decides which packets get lost.
    pub(crate) async fn with_spare(
        spare: usize,
        seed: u64,
        fault: Option<ProposerFault>,
        change: impl Fn(&mut Genesis),
    ) -> Self {
        let lab = Lab::new(VALIDATORS + spare, seed).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let list: Vec<_> =
            (1..=VALIDATORS).map(|number| format!("v{number} {}", lab.hosts[number - 1].address)).collect();
        let hosts = hosts::parse(&list.join("\n")).unwrap();
        let mut genesis = hosts::make(folder.path(), "weft-faults", &hosts).unwrap();
        change(&mut genesis);
        let load = tokio::spawn(async {});
        let mut field = Self { lab, folder, nodes: Vec::new(), load, fault };
        for number in 1..=VALIDATORS {
            let home = field.home(number);
            home.write(&home.config().unwrap(), &genesis).unwrap();
            field.open_api(number, number);
            field.nodes.push(None);
            field.run(number);
        }
        for number in 1..=VALIDATORS {
            let api = field.api(number);
            eventually(PATIENCE, "the first block", async || {
                height_of(&api).await.is_ok_and(|height| height > 0).then_some(())
            })
            .await;
        }
        field
    }

    pub(crate) fn home(&self, number: usize) -> Home {
        Home::new(self.path(&format!("v{number}")))
    }

    /// A path in the folder of all machines.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a validator has logged, one JSON object a line unless it misbehaves.
    pub(crate) fn log(&self, number: usize) -> PathBuf {
        self.path(&format!("v{number}.log"))
    }

    /// Lets the API of the folder `number` listen on the address of `host`.
    pub(crate) fn open_api(&self, number: usize, host: usize) {
        let home = self.home(number);
        let mut config = home.config().unwrap();
        config.api_listen.set_ip(self.lab.hosts[host - 1].address.into());
        home.write(&config, &home.genesis().unwrap()).unwrap();
    }

    pub(crate) fn api(&self, number: usize) -> String {
        format!("http://{}:26658", self.lab.hosts[number - 1].address)
    }

    /// Starts the node of a validator on its host.
    pub(crate) fn run(&mut self, number: usize) {
        self.nodes[number - 1] = Some(self.spawn(number, number));
    }

    fn spawn(&self, number: usize, host: usize) -> Child {
        let home = self.home(number).path("").display().to_string();
        match self.fault.filter(|_| number == VALIDATORS) {
            Some(fault) => self.spawn_program(number, host, &example("misbehave"), &[fault.name(), &home]),
            None => {
                let arguments = ["--log-json", "run", "--home", &home, "--until-stdin-closes"];
                self.spawn_program(number, host, Path::new(env!("CARGO_BIN_EXE_da-node")), &arguments)
            }
        }
    }

    /// Starts a program on a host, with the log of `number`.
    pub(crate) fn spawn_program(
        &self,
        number: usize,
        host: usize,
        program: &Path,
        arguments: &[&str],
    ) -> Child {
        let log = File::options().create(true).append(true).open(self.log(number)).unwrap();
        let mut command = self.lab.hosts[host - 1].command(program.to_str().unwrap());
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// Starts a validator that dies when it reaches `step` for the `count`-th time, and waits until it has.
    pub(super) async fn crash(&mut self, number: usize, step: &str, count: u32) {
        let home = self.home(number).path("").display().to_string();
        let mut node =
            self.spawn_program(number, number, &example("crash"), &[step, &count.to_string(), &home]);
        let died = eventually(PATIENCE, &format!("'{step}'"), async || node.try_wait().unwrap()).await;
        assert_eq!(died.signal(), Some(SIGABRT), "{died}: {step}");
    }

    /// Waits until a validator has the block that all others have by now.
    pub(super) async fn catches_up(&self, number: usize) -> Duration {
        let (started, tip, api) = (Instant::now(), self.height().await, self.api(number));
        eventually(PATIENCE, &format!("v{number} to reach {tip}"), async || {
            height_of(&api).await.is_ok_and(|height| height >= tip).then_some(())
        })
        .await;
        started.elapsed()
    }

    /// Reads the namespace of the load at every height from a validator.
    pub(super) async fn has_all(&self, number: usize) {
        let client = self.client(&[number]).await;
        for height in 2..=self.height().await {
            eventually(PATIENCE, &format!("block {height} at v{number}"), async || {
                let list = client.list(height, namespace(1)).await.ok()?;
                match list.entries().first() {
                    Some(entry) => client.get(entry.commitment).await.ok().map(|_| ()),
                    None => Some(()),
                }
            })
            .await;
        }
    }

    /// Kills a validator as a power cut would.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut node = self.nodes[number - 1].take().unwrap();
        node.kill().unwrap();
        node.wait().unwrap();
    }

    /// Starts a second node with the consensus key of `number` and an empty memory, on the spare host.
    pub(super) async fn run_twin_of(&mut self, number: usize) {
        let twin = VALIDATORS + 1;
        let (from, to) = (self.home(number), self.home(twin));
        to.write(&from.config().unwrap(), &from.genesis().unwrap()).unwrap();
        for role in [KeyRole::Consensus, KeyRole::Operator] {
            to.write_key(role, &from.key(role).unwrap()).unwrap();
        }
        to.write_key(KeyRole::Network, &[0x77; 32]).unwrap();
        self.open_api(twin, twin);
        let child = self.spawn(twin, twin);
        self.nodes.push(Some(child));
        let (api, tip) = (self.api(twin), height_of(&self.api(1)).await.unwrap());
        eventually(PATIENCE, "the twin to catch up", async || {
            height_of(&api).await.is_ok_and(|height| height >= tip).then_some(())
        })
        .await;
    }

    /// A client that asks these validators.
    pub(crate) async fn client(&self, numbers: &[usize]) -> Client {
        let apis: Vec<_> = numbers.iter().map(|number| self.api(*number)).collect();
        let path = self.home(1).path("network.toml");
        let network = eventually(PATIENCE, "network.toml", async || blob_api::read_network(&path).ok()).await;
        Client::new(&apis, Some(network)).unwrap()
    }

    /// Small blobs, one after the other, through whoever of the first two answers.
    async fn keep_submitting(&self) -> JoinHandle<()> {
        let client = self.client(&[1, 2]).await;
        let key = self.home(1).account(KeyRole::Operator).unwrap();
        tokio::spawn(async move {
            for seed in 0.. {
                let blobs = vec![blob(1, bytes(seed, 20_000), &[])];
                // A node that is down or cut off refuses; the next attempt may be luckier.
                if let Err(error) = client.submit(&key, blobs, SubmitOptions::default()).await {
                    println!("a blob was not taken: {error}");
                }
                sleep(Duration::from_millis(300)).await;
            }
        })
    }

    /// Submits a blob to one validator.
    pub(super) async fn submit(&self, number: usize, seed: u64) {
        let key = self.home(number).account(KeyRole::Operator).unwrap();
        let blobs = vec![blob(2, bytes(seed << 32, 20_000), &[])];
        self.client(&[number]).await.submit(&key, blobs, SubmitOptions::default()).await.unwrap();
    }

    async fn height(&self) -> u64 {
        let mut best = 0;
        for number in (1..=VALIDATORS).filter(|number| self.nodes[number - 1].is_some()) {
            best = best.max(height_of(&self.api(number)).await.unwrap_or(0));
        }
        best
    }

    /// Waits for `blocks` more blocks.
    pub(super) async fn progress(&self, blocks: u64) -> Progress {
        let started = Instant::now();
        let first = self.height().await;
        let (mut last, mut seen, mut longest) = (started, first, Duration::ZERO);
        while seen < first + blocks {
            let height = self.height().await;
            if height > seen {
                longest = longest.max(last.elapsed());
                (seen, last) = (height, Instant::now());
            }
            assert!(last.elapsed() < PATIENCE, "no block after {seen} for {PATIENCE:?}");
            sleep(LOOK).await;
        }
        Progress { took: started.elapsed(), longest }
    }

    /// Watches a chain that must not go on; gives the blocks that were under way.
    pub(super) async fn halted(&self, watched: Duration) -> u64 {
        let before = self.height().await;
        // What was being decided may still end.
        sleep(Duration::from_secs(3)).await;
        let at = self.height().await;
        sleep(watched - Duration::from_secs(3)).await;
        assert_eq!(self.height().await, at, "a chain without a quorum went on");
        at - before
    }

    /// How long until the next block.
    pub(super) async fn goes_on(&self, limit: Duration) -> Duration {
        let (started, before) = (Instant::now(), self.height().await);
        eventually(limit, "the chain to go on", async || (self.height().await > before).then_some(())).await;
        started.elapsed()
    }

    /// Every running validator catches up, and all have the same blocks.
    pub(super) async fn agree(&self) {
        let tip = self.height().await;
        let running: Vec<_> =
            (1..=VALIDATORS).filter(|number| self.nodes[number - 1].is_some()).map(|n| self.api(n)).collect();
        for api in &running {
            eventually(PATIENCE, &format!("{api} to reach {tip}"), async || {
                height_of(api).await.is_ok_and(|height| height >= tip).then_some(())
            })
            .await;
        }
        for height in 1..=tip {
            let mut hashes = Vec::new();
            for api in &running {
                hashes.push(light_block(api, height).await.signed_header.header.hash());
            }
            hashes.dedup();
            assert_eq!(hashes.len(), 1, "a fork at height {height}: {hashes:?}");
        }
    }

    /// Committed blocks that the last validator proposed.
    pub(super) async fn blocks_of_the_misbehaving(&self) -> usize {
        let seed = self.home(VALIDATORS).key(KeyRole::Consensus).unwrap();
        let address = da_node::run::consensus_address(&seed).unwrap();
        let mut own = 0;
        for height in 1..=self.height().await {
            let header = light_block(&self.api(1), height).await.signed_header.header;
            own += usize::from(header.proposer_address == address);
        }
        own
    }

    /// What the honest validators count together under metrics whose names end like this.
    pub(super) async fn counted(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for number in 1..VALIDATORS {
            let answer = reqwest::get(format!("{}/metrics", self.api(number))).await.unwrap();
            for line in answer.text().await.unwrap().lines().filter(|line| !line.starts_with('#')) {
                let (metric, value) = line.rsplit_once(' ').unwrap_or_default();
                if metric.split('{').next().is_some_and(|metric| metric.ends_with(name)) {
                    sum += value.parse::<f64>().unwrap();
                }
            }
        }
        sum
    }

    /// Waits until the honest validators have counted something under `name`: that the fault was there.
    pub(super) async fn saw(&self, name: &str) {
        eventually(PATIENCE, name, async || (self.counted(name).await > 0.0).then_some(())).await;
    }

    /// Waits until each of the honest validators proves that the last one is slashed, and it has no vote any more.
    pub(super) async fn slashed_the_last(&self) {
        let operator = self.home(VALIDATORS).account(KeyRole::Operator).unwrap().address();
        let seed = self.home(VALIDATORS).key(KeyRole::Consensus).unwrap();
        let address = da_node::run::consensus_address(&seed).unwrap();
        for number in 1..VALIDATORS {
            let client = self.client(&[number]).await;
            eventually(PATIENCE, &format!("v{number} to slash"), async || {
                let proven = client.proven(StateKey::Validator(operator)).await.ok()?;
                let validator = Validator::decode(proven.value()?).unwrap();
                let tip = height_of(&self.api(number)).await.ok()?;
                let votes = light_block(&self.api(number), tip).await.validators;
                // All of its stake, less the fine, unbonds: once.
                let once = (validator.stake, validator.unbonding.len()) == (0, 1);
                (validator.slashed && once && votes.validator(address).is_none()).then_some(())
            })
            .await;
        }
    }

    /// How long until four blobs of 1 MiB, submitted to one validator, are final on all.
    pub(super) async fn full_block(&self) -> Duration {
        self.load.abort();
        let client = self.client(&[1]).await;
        let key = self.home(2).account(KeyRole::Operator).unwrap();
        let started = Instant::now();
        let blobs = (0..4).map(|seed| blob(2, bytes(1_000 + seed, 1 << 20), &[])).collect();
        let receipt = client.submit_and_wait(&key, blobs, SubmitOptions::default()).await.unwrap();
        let height = receipt.header.height();
        for number in 1..=VALIDATORS {
            let api = self.api(number);
            eventually(PATIENCE, "the block everywhere", async || {
                height_of(&api).await.is_ok_and(|seen| seen >= height).then_some(())
            })
            .await;
        }
        started.elapsed()
    }
}
