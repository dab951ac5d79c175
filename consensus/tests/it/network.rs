//! A few engines that know each other.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_malachitebft_signing_ed25519::PrivateKey;
use consensus::{Config, Handle, Timeouts, ValidatorKey, start};
use tempfile::TempDir;
use tendermint::{PublicKey, account, validator};

use crate::app::{CHAIN_ID, Pace, TestApp};

/// No step of any test takes this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

pub(crate) const FAST: Pace = Pace { interval: Duration::from_millis(20), idle: Duration::from_millis(20) };

pub(crate) struct Node {
    pub(crate) app: Arc<TestApp>,
    pub(crate) handle: Handle,
    config: Config,
    home: TempDir,
}

impl Node {
    /// Waits for a committed height.
    pub(crate) async fn reach(&self, height: u64) {
        let mut tip = self.app.tip.subscribe();
        let reached = tokio::time::timeout(LIMIT, tip.wait_for(|tip| *tip >= height)).await;
        let tip = reached.map(|tip| *tip.unwrap());
        assert!(tip.is_ok(), "at height {} instead of {height}", *self.app.tip.borrow());
    }

    /// Waits for a round of a height that does not come to an end.
    pub(crate) async fn reach_round(&self, height: u64, round: u32) {
        let mut watch = self.handle.watch();
        let reached = watch.wait_for(|view| view.height == height && view.round >= round);
        tokio::time::timeout(LIMIT, reached).await.unwrap().unwrap();
    }

    pub(crate) fn tip(&self) -> u64 {
        *self.app.tip.borrow()
    }

    /// Starts the engine again in the same directory, over the same blocks.
    pub(crate) async fn restart(&mut self, others: &[&Node]) {
        for other in others {
            self.config.persistent_peers.push(other.address().parse().unwrap());
        }
        self.handle = start(self.config.clone(), Arc::clone(&self.app) as _).await.unwrap();
    }

    /// The same under another name, with the key somewhere else.
    pub(crate) async fn restart_as(&mut self, name: &str, key: ValidatorKey, others: &[&Node]) {
        self.config.moniker = name.into();
        self.config.validator = Some(key);
        self.restart(others).await;
    }

    /// Where this test's files of the node are.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn address(&self) -> String {
        self.handle.view().listening[0].clone()
    }
}

pub(crate) fn timeouts() -> Timeouts {
    Timeouts {
        propose: Duration::from_millis(600),
        propose_per_mib: Duration::ZERO,
        prevote: Duration::from_millis(300),
        precommit: Duration::from_millis(300),
        delta: Duration::from_millis(200),
        rebroadcast: Duration::from_millis(1_000),
        finalize: Duration::from_millis(100),
    }
}

pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    pub(crate) validators: validator::Set,
}

impl Network {
    /// `validators` validators of equal power and `followers` nodes without a vote.
    pub(crate) async fn start(validators: u8, followers: u8, pace: Pace) -> Self {
        let key = |seed: u8| {
            let key = PrivateKey::from([seed; 32]).public_key();
            PublicKey::from_raw_ed25519(key.as_bytes()).unwrap()
        };
        let infos = (1..=validators).map(|seed| validator::Info::new(key(seed), 10u32.into()));
        let set = validator::Set::without_proposer(infos.collect());
        let mut nodes = Vec::<Node>::new();
        for seed in 1..=validators + followers {
            let home = tempfile::tempdir().unwrap();
            let listen = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
            let chain_id = CHAIN_ID.parse().unwrap();
            let mut config = Config::new(chain_id, home.path().join("consensus"), listen, [100 + seed; 32]);
            config.moniker = format!("node-{seed}");
            config.persistent_peers = nodes.iter().map(|n| n.address().parse().unwrap()).collect();
            config.validator = (seed <= validators).then_some(ValidatorKey::Seed([seed; 32]));
            config.timeouts = timeouts();
            let app = Arc::new(TestApp::new(account::Id::from(key(seed)), set.clone(), pace));
            let handle = start(config.clone(), Arc::clone(&app) as _).await.unwrap();
            handle.watch().wait_for(|view| !view.listening.is_empty()).await.unwrap();
            nodes.push(Node { app, handle, config, home });
        }
        Self { nodes, validators: set }
    }

    /// Waits until all nodes have committed a height.
    pub(crate) async fn reach(&self, height: u64) {
        for node in &self.nodes {
            node.reach(height).await;
        }
    }

    pub(crate) async fn stop(self) {
        for node in &self.nodes {
            node.handle.stop().await.unwrap();
        }
    }
}
