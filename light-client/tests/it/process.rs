//! The `light-client` program, in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use chain::NetworkConfig;
use light_client::Status;
use network::Multiaddr;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::node::{LIMIT, within};

pub(crate) const LIGHT_CLIENT: &str = env!("CARGO_BIN_EXE_light-client");

/// Ticks a second in which the system tells a process's time.
const TICKS: u32 = 100;

/// `light-client run`, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Where its status is.
    pub(crate) url: String,
    /// The addresses that it was told to listen on.
    pub(crate) listening: Vec<Multiaddr>,
}

/// Writes the network's file into a directory; gives the arguments that name it and the state in there.
pub(crate) fn files(network: &NetworkConfig, dir: &Path) -> [PathBuf; 4] {
    let file = dir.join("network.toml");
    std::fs::write(&file, toml::to_string(network).unwrap()).unwrap();
    ["--network".into(), file, "--home".into(), dir.join("light")]
}

impl Process {
    /// Starts it with its state in `dir`, and waits for its addresses.
    pub(crate) async fn run(network: &NetworkConfig, dir: &Path, listen: &[&str]) -> Self {
        let mut command = Command::new(LIGHT_CLIENT);
        command.args(["run", "--status-addr", "127.0.0.1:0"]).args(files(network, dir));
        command.args(listen.iter().flat_map(|address| ["--listen", address]));
        let mut child =
            command.env("RUST_LOG", "warn").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = async |name: &str| {
            let line = within(lines.next_line()).await.unwrap().unwrap();
            line.strip_prefix(name).unwrap().to_owned()
        };
        let url = line("status: ").await;
        let mut listening = Vec::new();
        for _ in listen {
            listening.push(line("listening: ").await.parse().unwrap());
        }
        Self { child, url, listening }
    }

    pub(crate) async fn status(&self) -> Status {
        reqwest::get(&self.url).await.unwrap().json().await.unwrap()
    }

    /// Asks for the status until it is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "not as wanted within {LIMIT:?}: {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A counter of the process, by its name in `/metrics`.
    pub(crate) async fn counter(&self, name: &str) -> u64 {
        let url = self.url.replace("/status", "/metrics");
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// What all of its threads have computed.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id().unwrap())).unwrap();
        let fields = stat.rsplit(')').next().unwrap().split_whitespace();
        let ticks: u32 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum();
        Duration::from_secs(1) * ticks / TICKS
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Tells it to end, as a supervisor does.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").arg(id).status().await.unwrap().success());
        within(self.child.wait()).await.unwrap()
    }
}

/// What another call of the program says.
pub(crate) async fn call(command: &mut Command) -> Output {
    within(command.output()).await.unwrap()
}
