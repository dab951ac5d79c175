//! What would keep a node from working, and what to do about it.
//!
//! Each check looks at one thing and tells what it saw; what is wrong comes with its remedy. Nothing is changed but
//! for a file that is written and removed. A check that cannot be made says so as a warning, never as success.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use blob_api::{RulesBody, UpgradeBody};
use chain::Genesis;
use consensus::SignerAddress;
use network::Multiaddr;
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpStream;

use crate::{
    clock,
    devnet::height_of,
    home::{Home, KeyRole, NodeConfig},
};

/// A proposal dated further ahead than this is not voted for, so a clock that is wrong by more costs rounds.
const CLOCK_LIMIT: Duration = Duration::from_millis(500);

/// Free bytes below which the node is bound to stop soon, and below which an operator should look.
const DISK_LIMITS: (u64, u64) = (1 << 30, 10 << 30);

/// Every vote waits for one durable write.
const SYNC_LIMIT: Duration = Duration::from_millis(50);

/// RocksDB and the peers' connections.
const OPEN_FILES: u64 = 4_096;

/// How long a peer or a time server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Works, or could not be looked at.
    Warn,
    /// The node will not work.
    Fail,
}

/// What one check saw.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub grade: Grade,
    /// What was seen.
    pub seen: String,
    /// What to do; nothing for what is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, grade: Grade::Ok, seen: seen.into(), remedy: None }
    }

    fn warn(check: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, grade: Grade::Warn, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, grade: Grade::Fail, seen: seen.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at the node of `home` and its machine; `ntp` is the time server to ask, if any.
pub async fn examine(home: &Home, ntp: Option<&str>) -> Vec<Finding> {
    let (config, genesis) = match (home.config(), home.genesis()) {
        (Ok(config), Ok(genesis)) => (config, genesis),
        (config, genesis) => {
            let remedy = "write the file as docs/validator.md says, or make a new folder with `da-node init`";
            let errors = [config.err(), genesis.err()].into_iter().flatten();
            return errors.map(|error| Finding::fail("settings", format!("{error:#}"), remedy)).collect();
        }
    };
    let mut findings = vec![Finding::ok("settings", format!("{} on {}", config.name, genesis.chain_id))];
    findings.extend(keys(home, &config));
    findings.push(membership(home, &config, &genesis));
    if config.validator {
        findings.push(signatures(home));
        if let Some(address) = &config.signer_listen {
            findings.push(signer(home, address).await);
        }
    }
    findings.push(disk(&home.path("")));
    findings.push(durable_write(home));
    findings.push(open_files(getrlimit(Resource::Nofile).current));
    findings.push(clock_offset(ntp).await);
    findings.push(running(home, &config).await);
    findings.extend(rules(home).await);
    findings.extend(peers("engine peers", &config.engine_peers).await);
    findings.extend(peers("data peers", &config.data_peers).await);
    findings
}

fn keys(home: &Home, config: &NodeConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let elsewhere = config.validator && config.signer_listen.is_some();
    if elsewhere && home.has_key(KeyRole::Consensus) {
        let remedy = "move keys/consensus.key to the signer, or remove signer_listen from node.toml";
        let seen = "the consensus key is here, and signer_listen names a signer, too";
        findings.push(Finding::fail("keys", seen, remedy));
    }
    let consensus = (!elsewhere).then_some(KeyRole::Consensus);
    for role in consensus.into_iter().chain([KeyRole::Network, KeyRole::Operator]) {
        if let Err(error) = home.key(role) {
            let remedy = "restore the file from your backup; a new key is a new node";
            findings.push(Finding::fail("keys", format!("{error:#}"), remedy));
        }
    }
    #[cfg(unix)]
    for entry in fs::read_dir(home.path("keys")).into_iter().flatten().flatten() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = entry.path();
        let is_public = path.extension().is_some_and(|extension| extension == "pub");
        if !is_public && entry.metadata().is_ok_and(|data| data.permissions().mode() & 0o077 != 0) {
            let remedy = format!("chmod 600 {}", path.display());
            findings.push(Finding::warn("keys", format!("others can read {}", path.display()), remedy));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("keys", "readable, by their owner only"));
    }
    findings
}

fn membership(home: &Home, config: &NodeConfig, genesis: &Genesis) -> Finding {
    let Ok(public) = home.consensus_key() else {
        return Finding::warn("membership", "unknown without the consensus key", "see keys, or signer");
    };
    let named = genesis.validators.iter().find(|member| member.public_key == public);
    match (config.validator, named) {
        (true, Some(member)) => {
            Finding::ok("membership", format!("validator '{}' of power {}", member.name, member.power))
        }
        (true, None) => Finding::warn(
            "membership",
            "validator = true, but genesis.json does not name this consensus key",
            "unless it has bonded since, set validator = false in node.toml, or use the network's genesis.json",
        ),
        (false, Some(_)) => Finding::warn(
            "membership",
            "genesis.json names this consensus key, but validator = false",
            "set validator = true in node.toml, unless another machine votes with this key",
        ),
        (false, None) => Finding::ok("membership", "follows without a vote"),
    }
}

fn signatures(home: &Home) -> Finding {
    match (home.path("engine/signed").exists(), home.path("db").exists()) {
        (false, true) => Finding::fail(
            "signatures",
            "db/ is there, but engine/signed, the record of what was signed, is not",
            "restore engine/signed; without it, wait until the chain is past every height this key may have signed",
        ),
        (true, _) => Finding::ok("signatures", "engine/signed is there"),
        (false, false) => Finding::ok("signatures", "nothing was signed here yet"),
    }
}

/// Whether the running node has a signer; if it does not run, whether one could dial in.
async fn signer(home: &Home, address: &SignerAddress) -> Finding {
    if let Ok(running) = home.running()
        && let Some(connected) = signer_connected(&running.api).await
    {
        return if connected {
            Finding::ok("signer", format!("connected to {address}"))
        } else {
            let remedy = "start it; the log says whether somebody dialled in and was turned away, and why";
            Finding::fail("signer", format!("nobody is connected to {address}: the node cannot vote"), remedy)
        };
    }
    let free = match address {
        SignerAddress::Tcp { listen, .. } => TcpListener::bind(listen).map(drop),
        SignerAddress::Unix(path) => fs::metadata(path.parent().unwrap_or(path)).and_then(|folder| {
            if folder.is_dir() { Ok(()) } else { Err(std::io::ErrorKind::NotADirectory.into()) }
        }),
    };
    match (free, home.signer_key()) {
        (Err(error), _) => {
            let remedy = "choose another signer_listen in node.toml, or make its folder";
            Finding::fail("signer", format!("cannot listen at {address}: {error}"), remedy)
        }
        (_, Err(error)) => {
            Finding::fail("signer", format!("{error:#}"), "remove the file: the signer tells its key anew")
        }
        (Ok(()), Ok(None)) => Finding::warn(
            "signer",
            format!("none has dialled in at {address} yet: its key is unknown"),
            "start the node, and the signer: the node waits for it",
        ),
        (Ok(()), Ok(Some(_))) => Finding::ok("signer", format!("can dial in at {address}")),
    }
}

async fn signer_connected(api: &str) -> Option<bool> {
    let metrics = reqwest::get(format!("{api}/metrics")).await.ok()?.text().await.ok()?;
    let line = metrics.lines().find(|line| line.starts_with("weft_consensus_signer_connected"))?;
    Some(line.ends_with(" 1"))
}

fn disk(folder: &Path) -> Finding {
    let Ok(stat) = rustix::fs::statvfs(folder) else {
        return Finding::warn("disk", format!("cannot ask about {}", folder.display()), "look with `df -h`");
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let seen = format!("{:.1} GiB free", free as f64 / f64::from(1 << 30));
    let remedy = "free some space, or move the folder to a larger disk: a failed write stops the node";
    match free {
        free if free < DISK_LIMITS.0 => Finding::fail("disk", seen, remedy),
        free if free < DISK_LIMITS.1 => Finding::warn("disk", seen, remedy),
        _ => Finding::ok("disk", seen),
    }
}

fn durable_write(home: &Home) -> Finding {
    let path = home.path("doctor.tmp");
    let started = Instant::now();
    let written = fs::File::create(&path).and_then(|mut file| {
        std::io::Write::write_all(&mut file, &[0; 4_096])?;
        file.sync_all()
    });
    let took = started.elapsed();
    // Whatever was written is of no use any more.
    let _ = fs::remove_file(&path);
    match written {
        Err(error) => {
            let remedy = "give the folder to the user that runs the node: chown -R";
            Finding::fail("writes", format!("cannot write {}: {error}", path.display()), remedy)
        }
        Ok(()) if took > SYNC_LIMIT => Finding::warn(
            "writes",
            format!("a durable write took {took:.0?}, {SYNC_LIMIT:?} is good"),
            "use a local SSD: every vote waits for a durable write",
        ),
        Ok(()) => Finding::ok("writes", format!("a durable write took {took:.1?}")),
    }
}

fn open_files(limit: Option<u64>) -> Finding {
    match limit {
        Some(limit) if limit < OPEN_FILES => Finding::warn(
            "open files",
            format!("at most {limit}, {OPEN_FILES} are needed"),
            "ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit",
        ),
        Some(limit) => Finding::ok("open files", format!("at most {limit}")),
        None => Finding::ok("open files", "no limit"),
    }
}

async fn clock_offset(server: Option<&str>) -> Finding {
    let Some(server) = server else {
        return Finding::warn("clock", "not compared with anything", "name a time server with --ntp HOST");
    };
    let asking = rsntp::AsyncSntpClient::with_config(rsntp::Config::default().timeout(PATIENCE));
    match asking.synchronize(server).await {
        Ok(answer) => clock_is_off(server, answer.clock_offset().as_secs_f64()),
        Err(error) => Finding::warn(
            "clock",
            format!("{server} did not tell the time: {error}"),
            "name a server that can be reached with --ntp HOST, or look with `timedatectl`",
        ),
    }
}

fn clock_is_off(server: &str, seconds: f64) -> Finding {
    let direction = if seconds > 0.0 { "behind" } else { "ahead of" };
    let seen = format!("{:.0} ms {direction} {server}", seconds.abs() * 1e3);
    if seconds.abs() > CLOCK_LIMIT.as_secs_f64() {
        let remedy =
            "run a time daemon (systemd-timesyncd, chrony): proposals of a clock ahead are not voted for";
        Finding::fail("clock", seen, remedy)
    } else {
        Finding::ok("clock", seen)
    }
}

/// The node's own API, or, if it does not run, whether its ports are free.
async fn running(home: &Home, config: &NodeConfig) -> Finding {
    if let Ok(running) = home.running()
        && let Ok(height) = height_of(&running.api).await
    {
        return match block_age(&running.api).await {
            Some(age) if age > Duration::from_secs(60) => Finding::fail(
                "node",
                format!("runs, but its latest block, {height}, is {} s old", age.as_secs()),
                "see the peers below; with more than a third of the power away, the whole chain waits",
            ),
            _ => Finding::ok("node", format!("runs, at height {height}")),
        };
    }
    let mut wanted = vec![config.api_listen];
    wanted.extend(config.data_listen.iter().chain([&config.engine_listen]).filter_map(tcp_socket));
    let taken: Vec<_> = wanted
        .iter()
        .filter(|address| address.port() != 0 && TcpListener::bind(address).is_err())
        .map(ToString::to_string)
        .collect();
    if taken.is_empty() {
        Finding::ok("node", "does not run; its ports are free")
    } else {
        let remedy = "stop whatever listens there (`ss -ltnp`), or choose other ports in node.toml";
        Finding::fail("node", format!("does not run, and cannot listen on {}", taken.join(", ")), remedy)
    }
}

/// Whether the running node can go on with what is agreed on.
async fn rules(home: &Home) -> Option<Finding> {
    let api = home.running().ok()?.api;
    let status = blob_api::Client::new(&[api], None).ok()?.status().await.ok()?;
    Some(rules_of(&status.rules))
}

fn rules_of(rules: &RulesBody) -> Finding {
    let seen = format!("version {}", rules.version);
    let Some(UpgradeBody { version, height }) = &rules.upgrade else { return Finding::ok("rules", seen) };
    let seen = format!("{seen}; version {version} from height {height} on is agreed on");
    if *version <= rules.newest_known {
        return Finding::ok("rules", format!("{seen}, and the node knows it"));
    }
    let remedy =
        format!("install a build that knows version {version} before height {height}: docs/upgrades.md");
    Finding::fail("rules", format!("{seen}, and the node stops before it"), remedy)
}

async fn block_age(api: &str) -> Option<Duration> {
    let status = blob_api::Client::new(&[api.to_owned()], None).ok()?.status().await.ok()?;
    clock::now().duration_since(status.block_time?).ok()
}

async fn peers(check: &'static str, peers: &[Multiaddr]) -> Vec<Finding> {
    if peers.is_empty() {
        let remedy = "name some in node.toml, unless this is the chain's only node or others name it";
        return vec![Finding::warn(check, "none", remedy)];
    }
    let mut findings = Vec::new();
    for peer in peers {
        let Some((host, port)) = tcp_target(peer) else {
            let remedy = "name a TCP address beside it to have it tried";
            findings.push(Finding::warn(check, format!("{peer} was not tried: not TCP"), remedy));
            continue;
        };
        let dialled = tokio::time::timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await;
        findings.push(match dialled {
            Ok(Ok(_)) => Finding::ok(check, format!("{host}:{port} answers")),
            Ok(Err(error)) => unreachable_peer(check, &format!("{host}:{port}: {error}")),
            Err(_) => unreachable_peer(check, &format!("{host}:{port} did not answer within {PATIENCE:?}")),
        });
    }
    findings
}

fn unreachable_peer(check: &'static str, seen: &str) -> Finding {
    let remedy = "check the address and that its firewall lets this machine in; it may be down";
    Finding::warn(check, seen, remedy)
}

/// Host and port of an address such as `/dns/weft.example.org/tcp/26656/p2p/…`.
fn tcp_target(address: &Multiaddr) -> Option<(String, u16)> {
    let text = address.to_string();
    let mut words = text.split('/').skip(1);
    let host = match words.next()? {
        "ip4" | "ip6" | "dns" | "dns4" | "dns6" => words.next()?,
        _ => return None,
    };
    let port = (words.next()? == "tcp").then(|| words.next())??;
    Some((host.to_owned(), port.parse().ok()?))
}

fn tcp_socket(address: &Multiaddr) -> Option<SocketAddr> {
    let (host, port) = tcp_target(address)?;
    Some(SocketAddr::new(host.parse().ok()?, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;
    use crate::devnet::{dev_genesis, make_validator};

    fn validator(folder: &Path) -> Home {
        let home = Home::new(folder.join("node"));
        let member = make_validator(&home, "a").unwrap();
        let genesis = dev_genesis("weft-test", vec![member]).unwrap();
        home.write(&NodeConfig::loopback("a"), &genesis).unwrap();
        home
    }

    fn worst(findings: &[Finding], check: &str) -> Grade {
        findings.iter().filter(|finding| finding.check == check).map(|finding| finding.grade).max().unwrap()
    }

    #[tokio::test]
    async fn a_fresh_folder_is_well_but_for_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let findings = examine(&validator(folder.path()), None).await;
        for check in ["settings", "keys", "membership", "signatures", "node"] {
            assert_eq!(worst(&findings, check), Grade::Ok, "{findings:?}");
        }
        // No time server was named, and no peers.
        for check in ["clock", "engine peers", "data peers"] {
            assert_eq!(worst(&findings, check), Grade::Warn, "{findings:?}");
        }
        assert!(findings.iter().all(|finding| (finding.grade == Grade::Ok) == finding.remedy.is_none()));
    }

    #[tokio::test]
    async fn what_is_broken_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let home = validator(folder.path());
        fs::create_dir(home.path("db")).unwrap();
        fs::remove_file(home.path("keys/operator.key")).unwrap();
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = NodeConfig {
            api_listen: holder.local_addr().unwrap(),
            engine_peers: vec![
                format!("/ip4/127.0.0.1/tcp/{}", holder.local_addr().unwrap().port()).parse().unwrap(),
                format!("/ip4/127.0.0.1/tcp/{}", gone.port()).parse().unwrap(),
            ],
            ..home.config().unwrap()
        };
        home.write(&config, &home.genesis().unwrap()).unwrap();
        let findings = examine(&home, None).await;
        for check in ["keys", "signatures", "node"] {
            assert_eq!(worst(&findings, check), Grade::Fail, "{findings:?}");
        }
        let dialled: Vec<_> =
            findings.iter().filter(|f| f.check == "engine peers").map(|f| f.grade).collect();
        assert_eq!(dialled, [Grade::Ok, Grade::Warn]);

        fs::write(home.path("node.toml"), "nme = 1").unwrap();
        let findings = examine(&home, None).await;
        assert_eq!((findings.len(), worst(&findings, "settings")), (1, Grade::Fail));
    }

    #[tokio::test]
    async fn a_remote_signer_is_looked_for_in_place_of_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let home = validator(folder.path());
        let address = format!("unix://{}/signer", folder.path().display()).parse().unwrap();
        let config = NodeConfig { signer_listen: Some(address), ..home.config().unwrap() };
        home.write(&config, &home.genesis().unwrap()).unwrap();
        assert_eq!(home.config().unwrap(), config);
        assert_eq!(worst(&examine(&home, None).await, "keys"), Grade::Fail);

        let key = home.consensus_key().unwrap();
        fs::remove_file(home.path("keys/consensus.key")).unwrap();
        let findings = examine(&home, None).await;
        for (check, grade) in [("keys", Grade::Ok), ("signer", Grade::Warn), ("membership", Grade::Warn)] {
            assert_eq!(worst(&findings, check), grade, "{findings:?}");
        }
        home.write_signer_key(&key).unwrap();
        let findings = examine(&home, None).await;
        for check in ["keys", "signer", "membership"] {
            assert_eq!(worst(&findings, check), Grade::Ok, "{findings:?}");
        }
        let lost = format!("unix://{}/none/signer", folder.path().display()).parse().unwrap();
        home.write(&NodeConfig { signer_listen: Some(lost), ..config }, &home.genesis().unwrap()).unwrap();
        assert_eq!(worst(&examine(&home, None).await, "signer"), Grade::Fail);
    }

    #[test]
    fn an_upgrade_that_the_node_does_not_know_must_be_mended() {
        let upgrade = UpgradeBody { version: 2, height: 90 };
        let rules = |newest_known, upgrade| rules_of(&RulesBody { version: 1, newest_known, upgrade });
        assert_eq!(rules(1, None), Finding::ok("rules", "version 1"));
        assert_eq!(rules(2, Some(upgrade.clone())).grade, Grade::Ok);
        let unknown = rules(1, Some(upgrade));
        assert_eq!(unknown.grade, Grade::Fail);
        assert!(unknown.remedy.unwrap().contains("version 2 before height 90"), "{}", unknown.seen);
    }

    #[test]
    fn limits_are_told_with_what_was_seen() {
        assert_eq!(clock_is_off("ntp", 0.2).grade, Grade::Ok);
        assert_eq!(clock_is_off("ntp", -0.6).seen, "600 ms ahead of ntp");
        assert_eq!(clock_is_off("ntp", 0.6).grade, Grade::Fail);
        assert_eq!(open_files(Some(1_024)).grade, Grade::Warn);
        assert_eq!(open_files(None).grade, Grade::Ok);
    }
}
