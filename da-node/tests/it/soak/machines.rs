//! Sixteen machines less one: four validators, a full node, ten light clients, each a process in its namespace.

use std::{
    fs,
    ops::RangeInclusive,
    process::{Child, ExitStatus},
    time::Duration,
};

use blob_api::{Client, read_network};
use chain::{Genesis, GenesisAccount, NetworkConfig};
use da_node::{
    devnet::{PREFUNDED, dev_key, height_of, make_validator},
    home::{KeyRole, NodeConfig},
};
use netlab::Link;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use super::{
    checks::{Broken, PATIENCE},
    schedule::Fault,
};
use crate::{
    faults::field::{Field, VALIDATORS},
    support::{eventually, programs},
};

/// The full node's number; validators have those before.
pub(super) const FULL: usize = VALIDATORS + 1;

/// The light clients' numbers.
pub(super) const LIGHTS: RangeInclusive<usize> = FULL + 1..=FULL + 10;

/// Accounts that submit; genesis funds them.
pub(super) const ACCOUNTS: usize = 3;

/// Stake is paid out within a soak; whoever was away must still find its trusted header young enough.
const UNBONDING_SECONDS: u64 = 300;
const TRUSTING_SECONDS: u64 = 240;

/// How long a process may take to stop when asked.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// Pause between two looks at a process that stops.
const LOOK: Duration = Duration::from_millis(50);

/// What a machine is called.
pub(super) fn name(machine: usize) -> String {
    match machine {
        1..=VALIDATORS => format!("v{machine}"),
        FULL => "full".into(),
        _ => format!("light{}", machine - FULL),
    }
}

/// All of them, and what is between them.
pub(super) struct Machines {
    pub(super) field: Field,
}

impl Machines {
    /// Starts everything, one after the other, until every node has a block.
    pub(super) async fn start(seed: u64) -> Self {
        let spare = 1 + LIGHTS.count();
        let field = Field::with_spare(spare, seed, None, |genesis| {
            genesis.parameters.unbonding_seconds = UNBONDING_SECONDS;
            genesis.parameters.trusting_period_seconds = TRUSTING_SECONDS;
            for account in 0..ACCOUNTS {
                let address = dev_key(account).unwrap().address();
                genesis.accounts.push(GenesisAccount { address, balance: PREFUNDED });
            }
        })
        .await;
        let mut machines = Self { field };
        machines.add_full_node().await;
        machines.write_network().await;
        for light in LIGHTS {
            fs::create_dir_all(machines.light_home(light)).unwrap();
            machines.field.nodes.push(None);
            machines.run(light);
        }
        machines
    }

    async fn add_full_node(&mut self) {
        let home = self.field.home(FULL);
        make_validator(&home, &name(FULL)).unwrap();
        let first = self.field.home(1);
        let (mut config, others) = (first.config().unwrap(), self.field.home(2).config().unwrap());
        // The first knows all but itself, which the second knows.
        config.engine_peers.push(others.engine_peers[0].clone());
        config.data_peers.push(others.data_peers[0].clone());
        let config = NodeConfig { name: name(FULL), validator: false, ..config };
        home.write(&config, &first.genesis().unwrap()).unwrap();
        self.field.open_api(FULL, FULL);
        self.field.nodes.push(None);
        self.run(FULL);
        let api = self.field.api(FULL);
        eventually(PATIENCE, "the full node to follow", async || {
            height_of(&api).await.is_ok_and(|height| height > 0).then_some(())
        })
        .await;
    }

    /// `network.toml` of the light clients: any node may serve them.
    async fn write_network(&self) {
        let mut network = self.network().await;
        let dial = |number: usize| {
            let id = consensus::peer_id(self.field.home(number).key(KeyRole::Network).unwrap()).unwrap();
            format!("/ip4/{}/tcp/26660/p2p/{id}", self.field.lab.hosts[number - 1].address)
        };
        network.bootstrap = (1..=FULL).map(dial).collect();
        network.trusting_period_seconds = TRUSTING_SECONDS;
        fs::write(self.field.path("network.toml"), toml::to_string(&network).unwrap()).unwrap();
    }

    /// What clients start from. They verify from the same checkpoint however long the soak takes.
    pub(super) async fn network(&self) -> NetworkConfig {
        let path = self.field.home(1).path("network.toml");
        let network = eventually(PATIENCE, "network.toml", async || read_network(&path).ok()).await;
        NetworkConfig { trusting_period_seconds: 1 << 30, ..network }
    }

    /// A client of the APIs of these nodes.
    pub(super) async fn client(&self, numbers: &[usize]) -> Client {
        let apis: Vec<_> = numbers.iter().map(|number| self.field.api(*number)).collect();
        Client::new(&apis, Some(self.network().await)).unwrap()
    }

    pub(super) fn genesis(&self) -> Genesis {
        self.field.home(1).genesis().unwrap()
    }

    fn light_home(&self, light: usize) -> String {
        self.field.path(&name(light)).display().to_string()
    }

    /// Where a machine answers over HTTP.
    pub(super) fn url(&self, machine: usize) -> String {
        match machine {
            1..=FULL => self.field.api(machine),
            _ => format!("http://{}:26680", self.field.lab.hosts[machine - 1].address),
        }
    }

    /// What a light client's alarms are appended to.
    pub(super) fn alarms(&self, light: usize) -> std::path::PathBuf {
        self.field.path(&format!("{}.alarms", name(light)))
    }

    /// The process of every machine that has one.
    pub(super) fn pids(&self) -> Vec<Option<u32>> {
        self.field.nodes.iter().map(|node| node.as_ref().map(Child::id)).collect()
    }

    /// Starts the process of a machine that has none.
    fn run(&mut self, machine: usize) {
        if machine <= FULL {
            return self.field.run(machine);
        }
        let network = self.field.path("network.toml").display().to_string();
        let listen = self.url(machine).replace("http://", "");
        let alarm = format!("cat >> {}", self.alarms(machine).display());
        let home = self.light_home(machine);
        let arguments = [
            "run",
            "--network",
            &network,
            "--home",
            &home,
            "--status-addr",
            &listen,
            "--on-alarm",
            &alarm,
            "--until-stdin-closes",
        ];
        let program = programs().join("light-client");
        let child = self.field.spawn_program(machine, machine, &program, &arguments);
        self.field.nodes[machine - 1] = Some(child);
    }

    fn signal(&self, machine: usize, signal: Signal) {
        let child = self.field.nodes[machine - 1].as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Asks a process to stop, and waits until it has.
    async fn stop(&mut self, machine: usize) -> Result<(), Broken> {
        let mut child = self.field.nodes[machine - 1].take().unwrap();
        drop(child.stdin.take());
        let ended = timeout(STOPS_WITHIN, async {
            loop {
                match child.try_wait().unwrap() {
                    Some(status) => break status,
                    None => sleep(LOOK).await,
                }
            }
        });
        match ended.await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{} was asked to stop and ended with {status}", name(machine))),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{} did not stop within {STOPS_WITHIN:?}", name(machine)))
            }
        }
    }

    /// Lets a fault begin.
    pub(super) async fn begin(&mut self, fault: &Fault) -> Result<(), Broken> {
        match fault {
            Fault::Killed(machines) => machines.iter().for_each(|machine| self.field.kill(*machine)),
            Fault::Stopped(machine) => self.stop(*machine).await?,
            Fault::Frozen(machine) => self.signal(*machine, Signal::STOP),
            Fault::Far { .. } | Fault::Slow { .. } | Fault::Lossy { .. } | Fault::Cut(_) => {}
        }
        Ok(())
    }

    /// Ends a fault.
    pub(super) fn end(&mut self, fault: &Fault) {
        match fault {
            Fault::Killed(machines) => machines.iter().for_each(|machine| self.run(*machine)),
            Fault::Stopped(machine) => self.run(*machine),
            Fault::Frozen(machine) => self.signal(*machine, Signal::CONT),
            Fault::Far { .. } | Fault::Slow { .. } | Fault::Lossy { .. } | Fault::Cut(_) => {}
        }
    }

    /// Makes the links what all active faults together ask for; a cut is the strongest.
    pub(super) fn set_links(&self, active: &[Fault]) {
        let lab = &self.field.lab;
        lab.set_all(Link::PERFECT);
        let loses = |percent: u64| Link { loss: percent as f64 / 100.0, ..Link::PERFECT };
        let mut active: Vec<_> = active.iter().collect();
        active.sort_by_key(|fault| (!matches!(fault, Fault::Far { .. }), matches!(fault, Fault::Cut(_))));
        for fault in active {
            match fault {
                Fault::Far { delay_ms, loss_percent } => {
                    lab.set_all(Link { delay: Duration::from_millis(*delay_ms), ..loses(*loss_percent) });
                }
                Fault::Slow { machine, kib } => {
                    lab.set_host(*machine, Link { rate: Some(kib << 10), ..Link::PERFECT });
                }
                Fault::Lossy { machines, percent } => {
                    machines.iter().for_each(|machine| lab.set_host(*machine, loses(*percent)));
                }
                Fault::Cut(machines) => lab.partition(machines),
                Fault::Killed(_) | Fault::Stopped(_) | Fault::Frozen(_) => {}
            }
        }
    }

    /// Processes that ended although nobody asked them to.
    pub(super) fn ended(&mut self) -> Vec<(usize, ExitStatus)> {
        let mut ended = Vec::new();
        for (at, node) in self.field.nodes.iter_mut().enumerate() {
            if let Some(status) = node.as_mut().and_then(|child| child.try_wait().unwrap()) {
                *node = None;
                ended.push((at + 1, status));
            }
        }
        ended
    }
}
