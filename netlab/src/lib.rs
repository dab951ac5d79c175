//! Hosts in network namespaces, joined by links whose delay, loss and rate a test chooses.
//!
//! ```text
//!  host 1 ── tun ──┐                               ┌── tun ── host 2
//!                  ├── router, in this process ────┤
//!  this process ───┘   (delay, loss, rate, cuts)   └── tun ── host 3
//! ```
//!
//! A host is a namespace that lives as long as this process; programs run in it with [`Host::command`]. Packets go
//! through a router in user space, so that a kernel without netem does. The test runs in a namespace too
//! ([`isolated`]), as host 0, whose links are always perfect: nothing outside is touched, nothing is left behind.

mod link;
mod router;

use std::{
    fs,
    io::Read as _,
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use tun_rs::{DeviceBuilder, SyncDevice};

pub use link::Link;
use router::Router;

/// Tells a process that it is in a namespace of its own, and which file to make to show that it ran.
const INSIDE: &str = "NETLAB_INSIDE";

/// Largest packet on a link.
const MTU: u16 = 1_500;

/// Hosts in one lab at most, this process among them.
const HOSTS: usize = 200;

/// Runs the test `name` of the running test program again in a network namespace of its own. Gives whether the
/// caller is inside and has to go on; outside, the test is over, with the inner one's outcome.
///
/// # Errors
/// Outside: the inner test failed, or namespaces cannot be made here.
pub fn isolated(name: &str) -> Result<bool> {
    if let Some(reached) = std::env::var_os(INSIDE) {
        fs::write(reached, name)?;
        return Ok(true);
    }
    let reached =
        std::env::temp_dir().join(format!("netlab-{}-{}", std::process::id(), name.replace("::", "-")));
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "--"])
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--include-ignored", "--nocapture"])
        .env(INSIDE, &reached)
        .status()
        .context("cannot run unshare (util-linux)")?;
    ensure!(status.success(), "{name} failed in its namespace: {status}");
    fs::remove_file(&reached).with_context(|| format!("no test of this program is called {name}"))?;
    Ok(false)
}

/// A host: a network namespace with one address.
#[derive(Debug)]
pub struct Host {
    /// Its address.
    pub address: Ipv4Addr,
    holder: Child,
}

impl Host {
    /// `program`, to be run on this host.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--").arg(program);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It ends by itself, too, when this process does.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Hosts and the links between them.
#[derive(Debug)]
pub struct Lab {
    /// The hosts; the first has number 1 in the calls below, since 0 is this process.
    pub hosts: Vec<Host>,
    router: Arc<Router>,
}

impl Lab {
    /// `count` hosts with perfect links; `seed` decides which packets a lossy link loses.
    ///
    /// # Errors
    /// Not in a namespace of its own (see [`isolated`]), or the system refuses devices.
    pub fn new(count: usize, seed: u64) -> Result<Self> {
        ensure!(count < HOSTS, "a lab holds {} hosts, {count} were asked for", HOSTS - 1);
        ensure!(
            std::env::var_os(INSIDE).is_some(),
            "a lab needs a namespace of its own: call isolated first"
        );
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        let mut devices = vec![device(0)?];
        configure(None, 0)?;
        let mut hosts = Vec::new();
        for number in 1..=count {
            devices.push(device(number)?);
            let host = Host { address: address(number), holder: hold()? };
            run(Command::new("ip").args([
                "link",
                "set",
                &name(number),
                "netns",
                &host.holder.id().to_string(),
            ]))?;
            configure(Some(&host), number)?;
            hosts.push(host);
        }
        Ok(Self { hosts, router: Router::start(devices, seed) })
    }

    /// This process' address, where hosts reach it.
    #[must_use]
    pub fn own_address(&self) -> Ipv4Addr {
        address(0)
    }

    /// Makes every link between two hosts like this, both ways.
    pub fn set_all(&self, link: Link) {
        self.router.change(|from, to| (from != 0 && to != 0).then_some(link));
    }

    /// Makes the links between host `a` and every other like this, both ways.
    pub fn set_host(&self, a: usize, link: Link) {
        self.router.change(|from, to| (from != 0 && to != 0 && (from == a || to == a)).then_some(link));
    }

    /// Loses every packet between `side` and the other hosts.
    pub fn partition(&self, side: &[usize]) {
        self.router.change(|from, to| {
            (from != 0 && to != 0 && side.contains(&from) != side.contains(&to)).then_some(Link::CUT)
        });
    }

    /// Bytes that host `from` has sent to host `to` so far, as IP packets.
    #[must_use]
    pub fn sent(&self, from: usize, to: usize) -> u64 {
        self.router.sent(from, to)
    }
}

fn name(number: usize) -> String {
    format!("lab{number}")
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number as u8 + 1)
}

fn device(number: usize) -> Result<SyncDevice> {
    let made = DeviceBuilder::new().name(name(number)).mtu(MTU).enable(false).build_sync();
    made.with_context(|| format!("cannot make the device {}", name(number)))
}

/// A process that keeps a namespace until its standard input closes.
fn hold() -> Result<Child> {
    let mut holder = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", "echo ready; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run unshare (util-linux)")?;
    let mut ready = [0; 6];
    holder.stdout.as_mut().context("no output")?.read_exact(&mut ready).context("no namespace was made")?;
    Ok(holder)
}

fn configure(host: Option<&Host>, number: usize) -> Result<()> {
    let ip = || host.map_or_else(|| Command::new("ip"), |host| host.command("ip"));
    run(ip().args(["link", "set", "lo", "up"]))?;
    run(ip().args(["address", "add", &format!("{}/24", address(number)), "dev", &name(number)]))?;
    run(ip().args(["link", "set", &name(number), "up"]))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?} (iproute2)"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
