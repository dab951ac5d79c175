//! A network of real processes on this machine: validators, a full node without a vote, light clients.
//!
//! Nodes start one after the other on ports that the system chooses, each told the addresses of those before it; the
//! ports stay its own, so that a node started again is found where it was. A child whose standard input closes stops,
//! so nothing outlives the process that started it, however that ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use chain::{
    Amount, AttestationSecret, Genesis, GenesisAccount, GenesisValidator, Height, NANO_PER_WEFT,
    NetworkConfig, Parameters, SecretKey,
};
use network::Multiaddr;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::clock;
use crate::home::{Home, KeyRole, NodeConfig, Running};
use crate::ports::Ports;

/// How long a child may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Pause between two looks at a child that starts.
const LOOK: Duration = Duration::from_millis(20);

/// What each prefunded account owns.
pub const PREFUNDED: Amount = 1_000_000 * NANO_PER_WEFT;

/// Notice of an upgrade on development networks, in heights.
pub const DEV_NOTICE: Height = 10;

/// Prefunded accounts of development networks.
pub const DEV_ACCOUNTS: usize = 3;

/// The key of a development account: SHA-256 of "weft development account N". Everybody knows it.
pub fn dev_key(number: usize) -> Result<SecretKey> {
    let text = format!("weft development account {number}");
    Ok(SecretKey::from_bytes(&erasure::sha256(text.as_bytes()))?)
}

/// Makes the folder of a node with fresh keys; gives what genesis has to say of it as a validator.
pub fn make_validator(home: &Home, name: &str) -> Result<GenesisValidator> {
    let consensus = home.make_key(KeyRole::Consensus)?;
    home.make_key(KeyRole::Network)?;
    home.make_key(KeyRole::Operator)?;
    let public = ed25519_consensus::SigningKey::from(consensus).verification_key().to_bytes();
    let operator = home.account(KeyRole::Operator)?.address();
    let attestation = AttestationSecret::from_seed(&home.make_key(KeyRole::Attestation)?)?;
    Ok(GenesisValidator {
        name: name.into(),
        public_key: public,
        power: 10,
        operator,
        attestation_key: Some(attestation.key()),
    })
}

/// A genesis that starts now, with the development accounts funded; the faucet gives from the first.
pub fn dev_genesis(chain_id: &str, validators: Vec<GenesisValidator>) -> Result<Genesis> {
    let accounts = (0..DEV_ACCOUNTS)
        .map(|number| Ok(GenesisAccount { address: dev_key(number)?.address(), balance: PREFUNDED }))
        .collect::<Result<_>>()?;
    let genesis = Genesis {
        chain_id: chain_id.into(),
        time: clock::now(),
        parameters: Parameters::default(),
        accounts,
        validators,
    };
    genesis.check()?;
    Ok(genesis)
}

/// A child process that ends with this value.
#[derive(Debug)]
pub struct Process {
    /// Its name, also of its folder and log.
    pub name: String,
    child: Child,
}

impl Process {
    fn spawn(program: &Path, name: &str, arguments: &[&str], log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot run {}: build the workspace first (`make build`)", program.display())
            })?;
        Ok(Self { name: name.into(), child })
    }

    fn check_alive(&mut self, log: &Path) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let text = fs::read_to_string(log).unwrap_or_default();
            let mut last: Vec<_> = text.lines().rev().take(12).collect();
            last.reverse();
            bail!("{} ended with {status}; the end of {}:\n{}", self.name, log.display(), last.join("\n"));
        }
        Ok(())
    }

    /// Kills it at once, as a power cut would.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Waits until it ends of itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        // Waiting would close it, which asks to stop.
        let _open = self.child.stdin.take();
        Ok(self.child.wait().await?)
    }

    /// Asks it to stop by closing its standard input, and waits; kills it if it does not listen.
    pub async fn stop(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        if tokio::time::timeout(Duration::from_secs(6), self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// One node of the network.
#[derive(Debug)]
pub struct DevNode {
    /// Its folder.
    pub home: Home,
    /// Where it listens.
    pub running: Running,
    /// The process.
    pub process: Process,
    /// Held while the process is down, too.
    _ports: Ports,
}

impl DevNode {
    /// The TCP address of the data network: there the bytes on the wire are counted to the last.
    fn data_address(&self) -> Option<Multiaddr> {
        self.running.data.iter().find(|address| address.to_string().contains("/tcp/")).cloned()
    }
}

/// One light client of the network.
#[derive(Debug)]
pub struct DevLight {
    /// URL of its status endpoint.
    pub status: String,
    /// The process.
    pub process: Process,
}

/// A running network.
#[derive(Debug)]
pub struct Devnet {
    dir: PathBuf,
    /// Where the `da-node` and `light-client` programs are.
    programs: PathBuf,
    /// Validators first, then the full node.
    pub nodes: Vec<DevNode>,
    /// Light clients.
    pub lights: Vec<DevLight>,
    validators: usize,
}

impl Devnet {
    /// Makes folders in `dir`, which is emptied, and starts `validators` validators and one full node.
    pub async fn start(
        dir: &Path,
        programs: &Path,
        validators: usize,
        change: impl Fn(&mut Genesis),
    ) -> Result<Self> {
        if dir.exists() {
            if fs::read_dir(dir)?.next().is_some() && !dir.join("devnet").exists() {
                bail!("{} holds something that is no devnet; name another folder", dir.display());
            }
            fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        fs::write(dir.join("devnet"), "a development network; made anew at every start\n")?;
        let homes: Vec<_> = (0..=validators)
            .map(|at| if at < validators { format!("validator-{at}") } else { "full-node".into() })
            .map(|name| (Home::new(dir.join(&name)), name))
            .collect();
        let mut members = Vec::new();
        for (home, name) in &homes {
            members.push(make_validator(home, name)?);
        }
        members.truncate(validators);
        let faucet = dev_key(0)?;
        let mut genesis = dev_genesis("weft-devnet", members)?;
        genesis.parameters.upgrade_notice_heights = DEV_NOTICE;
        change(&mut genesis);
        let mut devnet = Self {
            dir: dir.into(),
            programs: programs.into(),
            nodes: Vec::new(),
            lights: Vec::new(),
            validators,
        };
        for (at, (home, name)) in homes.into_iter().enumerate() {
            home.write_key(KeyRole::Faucet, &faucet.to_bytes())?;
            let ports = Ports::reserve()?;
            home.write(&devnet.config(&ports, &name, at < validators)?, &genesis)?;
            let node = devnet.start_node(home, &name, ports).await?;
            devnet.nodes.push(node);
        }
        devnet.wait_for_height(1).await?;
        devnet.write_network().await?;
        Ok(devnet)
    }

    /// Settings of a node that knows all others so far.
    fn config(&self, ports: &Ports, name: &str, validator: bool) -> Result<NodeConfig> {
        Ok(NodeConfig {
            validator,
            engine_peers: self.nodes.iter().map(|node| node.running.engine.clone()).collect(),
            data_peers: self.nodes.iter().filter_map(DevNode::data_address).collect(),
            ..ports.config(name)?
        })
    }

    /// Starts another node without a vote, once `prepare` has done what it wants with its folder; gives its number.
    pub async fn add_full_node(
        &mut self,
        name: &str,
        prepare: impl AsyncFnOnce(&Home) -> Result<()>,
    ) -> Result<usize> {
        let home = Home::new(self.dir.join(name));
        make_validator(&home, name)?;
        let ports = Ports::reserve()?;
        home.write(&self.config(&ports, name, false)?, &self.nodes[0].home.genesis()?)?;
        prepare(&home).await?;
        let node = self.start_node(home, name, ports).await?;
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// What the process of this name has written.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    async fn start_node(&self, home: Home, name: &str, ports: Ports) -> Result<DevNode> {
        let (running, process) = self.run(&home, name, &self.programs.join("da-node")).await?;
        let mut config = home.config()?;
        // With the UDP port that the system chose.
        config.data_listen = running.data.iter().map(without_peer).collect();
        home.write(&config, &home.genesis()?)?;
        Ok(DevNode { home, running, process, _ports: ports })
    }

    async fn run(&self, home: &Home, name: &str, program: &Path) -> Result<(Running, Process)> {
        let running = home.path("running.json");
        // Of an earlier run; the new process writes it when it is ready.
        let _ = fs::remove_file(&running);
        let folder = home.path("").display().to_string();
        let arguments = ["run", "--home", folder.as_str(), "--until-stdin-closes"];
        let log = self.log(name);
        let mut process = Process::spawn(program, name, &arguments, &log)?;
        let running = wait_for(START_LIMIT, &format!("{name} to start"), || {
            process.check_alive(&log)?;
            Ok(if running.exists() { Some(home.running()?) } else { None })
        })
        .await?;
        Ok((running, process))
    }

    /// Starts a node again that was killed or stopped.
    pub async fn restart(&mut self, at: usize) -> Result<()> {
        self.restart_as(at, &self.programs.join("da-node")).await
    }

    /// The same with another build of `da-node`.
    pub async fn restart_as(&mut self, at: usize, program: &Path) -> Result<()> {
        let node = &self.nodes[at];
        let (running, process) = self.run(&node.home, &node.process.name, program).await?;
        let node = &mut self.nodes[at];
        (node.running, node.process) = (running, process);
        Ok(())
    }

    /// The node without a vote.
    pub fn full_node(&self) -> &DevNode {
        &self.nodes[self.validators]
    }

    /// `network.toml`, which light clients and readers start from.
    pub fn network_file(&self) -> PathBuf {
        self.dir.join("network.toml")
    }

    /// Its content.
    pub fn network(&self) -> Result<NetworkConfig> {
        Ok(blob_api::read_network(&self.network_file())?)
    }

    /// Joins the nodes' own files: the first one's checkpoint, everybody's addresses.
    async fn write_network(&self) -> Result<()> {
        let path = self.nodes[0].home.path("network.toml");
        let first = wait_for(START_LIMIT, "network.toml", || Ok(path.exists().then(|| path.clone()))).await?;
        let mut network = blob_api::read_network(&first)?;
        network.bootstrap =
            self.nodes.iter().filter_map(DevNode::data_address).map(|address| address.to_string()).collect();
        network.api = self.nodes.iter().map(|node| node.running.api.clone()).collect();
        Ok(fs::write(self.network_file(), toml::to_string(&network)?)?)
    }

    /// Waits until every node has the block at `height`.
    pub async fn wait_for_height(&mut self, height: u64) -> Result<()> {
        for at in 0..self.nodes.len() {
            let deadline = Instant::now() + START_LIMIT;
            while height_of(&self.nodes[at].running.api).await.unwrap_or(0) < height {
                let log = self.log(&self.nodes[at].process.name);
                self.nodes[at].process.check_alive(&log)?;
                if Instant::now() > deadline {
                    bail!("{} has no block {height} after {START_LIMIT:?}", self.nodes[at].process.name);
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// Starts `count` light clients that know nothing but `network.toml`.
    pub async fn start_lights(&mut self, count: usize) -> Result<()> {
        for at in 0..count {
            let name = format!("light-{at}");
            let (home, network) = (self.dir.join(&name), self.network_file());
            fs::create_dir_all(&home)?;
            let (folder, file) = (home.display().to_string(), network.display().to_string());
            let arguments = [
                "run",
                "--network",
                &file,
                "--home",
                &folder,
                "--status-addr",
                "127.0.0.1:0",
                "--until-stdin-closes",
            ];
            let log = self.log(&name);
            let mut process = Process::spawn(&self.programs.join("light-client"), &name, &arguments, &log)?;
            let address = wait_for(START_LIMIT, &format!("{name} to start"), || {
                process.check_alive(&log)?;
                Ok(fs::read_to_string(home.join("status-addr")).ok().filter(|text| text.ends_with('\n')))
            })
            .await?;
            self.lights.push(DevLight { status: format!("http://{}/status", address.trim()), process });
        }
        Ok(())
    }

    /// Stops every process.
    pub async fn stop(mut self) -> Result<()> {
        for light in &mut self.lights {
            light.process.stop().await?;
        }
        for node in &mut self.nodes {
            node.process.stop().await?;
        }
        Ok(())
    }
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| part.tag() != "p2p").collect()
}

/// The latest height that a node's API tells.
pub async fn height_of(api: &str) -> Result<u64> {
    let client = blob_api::Client::new(&[api.to_owned()], None)?;
    Ok(client.status().await?.height)
}

/// Looks until `found` gives something.
pub async fn wait_for<T>(
    limit: Duration,
    what: &str,
    mut found: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = found()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("waited {limit:?} for {what}");
        }
        sleep(LOOK).await;
    }
}

/// The folder of the running program, where the other programs of the workspace are too.
pub fn programs() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("the program has no folder")?.to_path_buf())
}
