//! One running node: its parts, the order in which they start and stop.
//!
//! ```text
//!            ┌── network ◀── Serve ──┐
//!  peers ────┤                       ├── Node ── RocksDB
//!            └── engine  ◀── Agree ──┤
//!  rollups ───── HTTP    ◀── Api ────┘
//! ```
//!
//! Whatever part ends first ends the node. It stops outside in: HTTP, engine, network, database.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use axum::{Router, routing::get};
use chain::{AttestationSecret, Checkpoint, Height, NetworkConfig, RULES_VERSION, UnknownRules};
use consensus::{Application, Guard, SignerAddress, Timeouts, ValidatorKey};
use network::{Keypair, Kind, Multiaddr, Network, Topic};
use prometheus_client::registry::Registry;
use tendermint::{account, chain::Id as ChainId};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    agree::{Agree, Halted},
    alarms::Alarms,
    api::{Api, Faucet},
    attest::{self, Attesting, Signer},
    evidence::Reporter,
    fetch::Fetcher,
    fraud::{self, Convicted, Watch},
    home::{Home, KeyRole, Running},
    http::Server,
    lock::HomeLock,
    metrics::Metrics,
    node::Node,
    retention::{self, Retention},
    serve::Serve,
    signer, snapshot,
    storage::Store,
};

/// How long the parts may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(4);

/// A node that has started.
#[derive(Debug)]
pub struct RunningNode {
    /// Where it listens.
    pub running: Running,
    node: Arc<Node>,
    network: Network,
    /// None of a node that was halted before it started.
    following: Option<Following>,
    tasks: JoinSet<Result<()>>,
    home: Home,
    _lock: HomeLock,
}

/// What follows the chain and answers users, and ends when a block is proven wrong.
#[derive(Debug)]
struct Following {
    engine: consensus::Handle,
    stop_http: watch::Sender<bool>,
    http: Server,
    /// Ends once `network.toml` is written.
    network_file: Option<JoinHandle<Result<()>>>,
}

/// How this run differs from the folder's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// End once this height is committed.
    pub halt_height: Option<Height>,
    /// Keep all squares and states, whatever the settings say.
    pub archive: bool,
    /// Keep squares for so many seconds, whatever the settings say.
    pub retention_seconds: Option<u64>,
    /// Where the process that has the consensus key dials in, whatever the settings say.
    pub signer_listen: Option<SignerAddress>,
    /// The newest version of the rules that this build knows: the node ends before a block of a later one.
    pub newest_rules: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            halt_height: None,
            archive: false,
            retention_seconds: None,
            signer_listen: None,
            newest_rules: RULES_VERSION,
        }
    }
}

/// Starts the node of `home`.
pub async fn start(home: &Home, options: Options) -> Result<RunningNode> {
    start_as(home, options, |app| app).await
}

/// As [`start`], with what consensus drives wrapped into something else: a validator that misbehaves, for a test.
pub async fn start_as(
    home: &Home,
    options: Options,
    wrap: impl FnOnce(Arc<dyn Application>) -> Arc<dyn Application>,
) -> Result<RunningNode> {
    let Options { halt_height: halt, archive, retention_seconds, signer_listen, newest_rules } = options;
    let (config, genesis) = (home.config()?, home.genesis()?);
    let lock = home.lock("da-node run")?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let (path, unfinished) = (home.path("db"), home.path(snapshot::UNFINISHED));
    if unfinished.exists() && !path.exists() {
        bail!(
            "{} is of a snapshot that was not loaded to its end: run `da-node snapshot load` again, or remove that \
             folder to sync from the first block",
            unfinished.display()
        );
    }
    let store = Store::open(&path, &genesis)?;
    let node = Arc::new(Node::open(genesis, store, metrics, newest_rules)?);
    let next = node.head().next_height();
    let retention = Retention::new(
        archive || (config.archive && retention_seconds.is_none()),
        retention_seconds.or(config.retention_seconds),
        &node.genesis.parameters,
    )?;
    if let Some(halt) = halt.filter(|halt| *halt < next) {
        bail!(
            "--halt-height {halt} is past: this node has committed {}; run it without, or with a later one",
            next - 1
        );
    }

    // One that was halted has a proof to give to others.
    if node.frauds.convicted().is_none() {
        node.head().rules()?;
    }
    let network_seed = home.key(KeyRole::Network)?;
    let mut network_config =
        network::Config::new(&node.genesis.chain_id, Keypair::ed25519_from_bytes(network_seed)?);
    network_config.listen.clone_from(&config.data_listen);
    network_config.bootstrap.clone_from(&config.data_peers);
    network_config.serves = Kind::ALL.to_vec();
    network_config.topics = Topic::ALL.to_vec();
    let (network, gossip) = Network::start(network_config, Arc::new(Serve(node.clone())), &mut registry)
        .await
        .context("the data network did not start")?;

    let (notices, noticed) = fraud::queue();
    let (attestations, attested) = attest::queue();
    let fetcher = Arc::new(Fetcher::new(node.clone(), network.clone(), notices, attestations));
    let mut tasks = JoinSet::new();
    let (following, watching) = (fetcher.clone(), Watch::new(node.clone(), network.clone()));
    tasks.spawn(async move {
        following.follow_gossip(gossip).await;
        Err(anyhow!("the data network's gossip ended"))
    });
    tasks.spawn(async move {
        watching.run(noticed).await;
        Err(anyhow!("the watch for fraud proofs ended"))
    });
    let failing = node.clone();
    tasks.spawn(async move { Err(anyhow!("{}", failing.failed().await)) });
    if node.frauds.convicted().is_some() {
        let running = Running {
            pid: std::process::id(),
            api: String::new(),
            data: network.listen_addrs(),
            engine: Multiaddr::empty(),
        };
        let home = home.clone();
        return Ok(RunningNode { running, node, network, following: None, tasks, home, _lock: lock });
    }

    let validator = match signer_listen.as_ref().or(config.signer_listen.as_ref()) {
        _ if !config.validator => None,
        Some(address) => {
            let signer = signer::listen(home, address, &node.genesis.chain_id, network_seed).await?;
            Some(ValidatorKey::Remote(signer))
        }
        None => Some(ValidatorKey::Seed(home.key(KeyRole::Consensus)?)),
    };
    let proposer = match &validator {
        Some(ValidatorKey::Remote(signer)) => address_of(&signer.public_key())?,
        Some(ValidatorKey::Seed(seed)) => consensus_address(seed)?,
        None => consensus_address(&network_seed)?,
    };
    if config.validator && node.head().next_validators.validator(proposer).is_none() {
        tracing::warn!(
            %proposer,
            "this node's consensus key is no validator's: it follows without a vote until `da-node bond` made it one"
        );
    }
    let signer = match config.validator && home.has_key(KeyRole::Attestation) {
        true => Some(Signer {
            secret: AttestationSecret::from_seed(&home.key(KeyRole::Attestation)?)?,
            guard: Guard::open(&home.path("engine/attested"))?,
        }),
        false => None,
    };
    let attesting = Attesting::new(node.clone(), network.clone(), signer);
    tasks.spawn(async move {
        attesting.run(attested).await;
        Err(anyhow!("attesting ended"))
    });
    let agree = Agree::new(node.clone(), fetcher.clone(), network.clone(), proposer, halt)
        .context("cannot start the thread for squares")?;
    let agree = Arc::new(agree);
    let chain_id: ChainId = node.genesis.chain_id.parse().map_err(|error| anyhow!("chain_id: {error}"))?;
    let mut engine_config =
        consensus::Config::new(chain_id, home.path("engine"), config.engine_listen.clone(), network_seed);
    engine_config.moniker.clone_from(&config.name);
    engine_config.persistent_peers.clone_from(&config.engine_peers);
    engine_config.validator = validator;
    let interval = Duration::from_millis(node.genesis.parameters.block_interval_ms);
    engine_config.timeouts = Timeouts {
        propose: Duration::from_millis(config.propose_timeout_ms),
        finalize: Timeouts::default().finalize.min(interval / 2),
        ..Timeouts::default()
    };
    let engine =
        consensus::start(engine_config, wrap(agree.clone())).await.context("consensus did not start")?;
    agree.set_engine(engine.clone());

    let faucet =
        home.has_key(KeyRole::Faucet).then(|| home.account(KeyRole::Faucet)).transpose()?.map(Faucet::new);
    let alarms = Arc::new(Alarms::new(node.clone(), config.alarms.clone()));
    let api =
        Api::new(node.clone(), fetcher.clone(), network.clone(), engine.clone(), faucet, alarms.clone());
    let api = Arc::new(api);
    let listener = TcpListener::bind(config.api_listen)
        .await
        .with_context(|| format!("api_listen {}: cannot listen there", config.api_listen))?;
    let running = Running {
        pid: std::process::id(),
        api: format!("http://{}", listener.local_addr()?),
        data: network.listen_addrs(),
        engine: engine_address(&engine).await?,
    };

    let (stop_http, mut stopped) = watch::channel(false);
    let registry = Arc::new(registry);
    let app = blob_api::router(api, config.api.server(home)?, stopped.clone())
        .merge(snapshot::route(node.clone(), config.api.snapshots))
        .merge(Router::new().route("/metrics", get(move || async move { metrics_text(&registry) })));
    let stop = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let (http, http_ended) =
        Server::start(listener, app, stop).context("cannot start the threads of the HTTP server")?;
    tasks.spawn(http_ended);
    tasks.spawn(async move {
        alarms.watch().await;
        Err(anyhow!("the alarms ended"))
    });
    if home.has_key(KeyRole::Operator) {
        let reporter = Reporter::new(node.clone(), fetcher.clone(), home.account(KeyRole::Operator)?);
        tasks.spawn(async move {
            reporter.run().await;
            Err(anyhow!("the reports of contradictions ended"))
        });
    }
    let announcing = fetcher.clone();
    tasks.spawn(async move {
        announcing.keep_announcing().await;
        Err(anyhow!("announcing of what waits ended"))
    });
    tasks.spawn(async move {
        fetcher.backfill().await;
        Err(anyhow!("fetching of missed squares ended"))
    });
    let ending = engine.clone();
    tasks.spawn(async move {
        let ended = ending.join().await;
        if let Err(consensus::Error::Application { source, .. }) = &ended {
            if source.is::<Halted>() {
                tracing::info!("{source}");
                return Ok(());
            }
            if let Some(unknown) = source.downcast_ref::<UnknownRules>() {
                tracing::error!("{unknown}");
                return Err((*unknown).into());
            }
        }
        ended.context("consensus ended")
    });
    let ending = network.clone();
    tasks.spawn(async move {
        ending.join().await.context("the data network ended")?;
        Err(anyhow!("the data network ended"))
    });
    let keeping = node.clone();
    tasks.spawn(async move {
        retention::enforce(keeping, retention).await;
        std::future::pending().await
    });
    let (writing, folder, reachable) = (node.clone(), home.clone(), running.clone());
    let network_file = tokio::spawn(async move {
        let written = write_network(&writing, &folder, &reachable).await;
        written.inspect_err(|error| tracing::warn!(%error, "network.toml not written"))
    });

    home.write_text("running.json", &serde_json::to_string_pretty(&running)?)?;
    tracing::info!(api = running.api, data = ?running.data, engine = %running.engine, "node runs");
    let following = Some(Following { engine, stop_http, http, network_file: Some(network_file) });
    Ok(RunningNode { running, node, network, following, tasks, home: home.clone(), _lock: lock })
}

impl RunningNode {
    /// Waits until the chain has a block and `network.toml` is written, from which others find it.
    pub(crate) async fn introduced(&mut self) -> Result<()> {
        match self.following.as_mut().and_then(|following| following.network_file.take()) {
            Some(written) => written.await?,
            None => Ok(()),
        }
    }

    /// Runs until a part ends or `stop` resolves, then stops the rest. When a block is proven wrong, all that
    /// follows the chain stops at once, and the rest goes on giving the proof to peers until `stop` resolves.
    pub async fn until(mut self, stop: impl Future<Output = ()>) -> Result<()> {
        tokio::pin!(stop);
        let node = self.node.clone();
        let outcome = tokio::select! {
            () = &mut stop => Ok(()),
            convicted = node.frauds.halted() => {
                self.halt(&convicted).await;
                tokio::select! {
                    () = &mut stop => {}
                    ended = self.network.join() => if let Err(error) = ended {
                        tracing::error!(%error, "the data network ended");
                    },
                    reason = node.failed() => tracing::error!(reason, "the halted node ended"),
                }
                Err(convicted.into())
            }
            ended = self.tasks.join_next() => match ended {
                Some(Ok(result)) => result,
                Some(Err(error)) => Err(error.into()),
                None => Ok(()),
            },
        };
        let following = self.following.take();
        let stopping = async {
            if let Some(following) = following {
                following.stop().await;
            }
            let _ = self.network.stop().await;
        };
        if tokio::time::timeout(STOP_LIMIT, stopping).await.is_err() {
            tracing::warn!("some part did not stop within {STOP_LIMIT:?}");
        }
        self.tasks.shutdown().await;
        outcome
    }
}

impl RunningNode {
    async fn halt(&mut self, convicted: &Convicted) {
        tracing::error!("{convicted}");
        if let Err(error) = fraud::write_evidence(&self.node, convicted, &self.home.path("")) {
            tracing::error!(%error, "the proof was not written to a file; the database has it");
        }
        if let Some(following) = self.following.take()
            && tokio::time::timeout(STOP_LIMIT, following.stop()).await.is_err()
        {
            tracing::warn!("consensus did not stop within {STOP_LIMIT:?}");
        }
    }
}

impl Following {
    async fn stop(self) {
        self.stop_http.send_replace(true);
        let _ = self.engine.stop().await;
        self.http.join().await;
    }
}

/// Tendermint's address of the validator with this ed25519 seed.
pub fn consensus_address(seed: &[u8; 32]) -> Result<account::Id> {
    address_of(&ed25519_consensus::SigningKey::from(*seed).verification_key().to_bytes())
}

/// Tendermint's address of the validator with this ed25519 key.
pub fn address_of(public_key: &[u8; 32]) -> Result<account::Id> {
    let key = tendermint::PublicKey::from_raw_ed25519(public_key).context("not an ed25519 key")?;
    Ok(account::Id::from(key))
}

/// Waits until consensus listens.
async fn engine_address(engine: &consensus::Handle) -> Result<Multiaddr> {
    let mut view = engine.watch();
    let view =
        view.wait_for(|view| !view.listening.is_empty()).await.context("consensus ended at its start")?;
    Ok(format!("{}/p2p/{}", view.listening[0], engine.peer_id()).parse()?)
}

fn metrics_text(registry: &Registry) -> String {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        // Both registries end with a marker of their own; one document has one.
        Ok(()) => text.trim_end_matches("# EOF\n").to_owned() + &consensus::metrics(),
        Err(error) => format!("# {error}\n"),
    }
}

/// Once the chain has a block, writes what light clients start from.
async fn write_network(node: &Node, home: &Home, running: &Running) -> Result<()> {
    let mut heads = node.heads();
    let head = heads.wait_for(|head| head.last.is_some()).await?.clone();
    let Some(last) = &head.last else { return Ok(()) };
    let network = NetworkConfig {
        chain_id: node.genesis.chain_id.clone(),
        genesis_hash: node.genesis.hash(),
        trusting_period_seconds: node.genesis.parameters.trusting_period_seconds,
        bootstrap: running.data.iter().map(ToString::to_string).collect(),
        api: vec![running.api.clone()],
        checkpoint: Checkpoint {
            height: last.header.height.value(),
            hash: last.header.hash().as_bytes().try_into()?,
        },
    };
    home.write_text("network.toml", &toml::to_string(&network)?)
}
