//! A chain of several machines from one list of them.
//!
//! ```text
//! # name   address            power (10 unless given)
//! alice    203.0.113.7        10
//! bob      weft.example.org   20
//! ```
//!
//! Each machine gets a folder that is ready to run: settings that name the others, the common genesis, keys, and a
//! systemd unit. The keys are made where the list is read, so whoever reads it holds all of them until the folders
//! are handed over; operators who must not share keys follow the longer way of `docs/validator.md`.

use std::{
    collections::HashSet,
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use chain::{Genesis, GenesisAccount};
use network::Multiaddr;

use crate::{
    devnet::{PREFUNDED, dev_genesis, make_validator},
    home::{Home, KeyRole, NodeConfig},
};

/// The unit that every folder gets.
const UNIT: &str = include_str!("../../ops/weft.service");

/// Voting power of a host whose line names none.
const POWER: u32 = 10;

/// One machine of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, and its folder's.
    pub name: String,
    /// IP address or DNS name, as the other machines reach it.
    pub address: String,
    /// Its voting power.
    pub power: u32,
}

impl Host {
    /// Where its `protocol` port is dialled.
    fn dial(&self, tcp_port: u16, peer_id: &str) -> Result<Multiaddr> {
        let kind = if self.address.parse::<Ipv4Addr>().is_ok() {
            "ip4"
        } else if self.address.parse::<Ipv6Addr>().is_ok() {
            "ip6"
        } else {
            "dns"
        };
        let text = format!("/{kind}/{}/tcp/{tcp_port}/p2p/{peer_id}", self.address);
        text.parse().with_context(|| format!("{}: '{}' is no address", self.name, self.address))
    }
}

/// Reads the list: a host a line, `#` begins a comment.
pub fn parse(text: &str) -> Result<Vec<Host>> {
    let mut hosts = Vec::new();
    let mut names = HashSet::new();
    for (at, line) in text.lines().enumerate() {
        let words: Vec<_> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        let (name, address, power) = match words[..] {
            [] => continue,
            [name, address] => (name, address, POWER),
            [name, address, power] => match power.parse() {
                Ok(power) if power > 0 => (name, address, power),
                _ => bail!("line {}: power '{power}' must be a whole number from 1", at + 1),
            },
            _ => bail!("line {}: a host is NAME ADDRESS [POWER], got '{}'", at + 1, line.trim()),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.chars().all(plain) || name.starts_with('.') {
            bail!("line {}: the name '{name}' may hold letters, digits, '-', '_' and '.'", at + 1);
        }
        if !address.chars().all(|c| plain(c) || c == ':') {
            bail!("line {}: '{address}' must be an IP address or a DNS name, without a port", at + 1);
        }
        if !names.insert(name.to_owned()) {
            bail!("line {}: '{name}' is there twice", at + 1);
        }
        hosts.push(Host { name: name.into(), address: address.into(), power });
    }
    if hosts.is_empty() {
        bail!("no hosts: one a line, NAME ADDRESS [POWER]");
    }
    Ok(hosts)
}

/// Makes `folder/NAME` for every host, validators of a new chain.
pub fn make(folder: &Path, chain_id: &str, hosts: &[Host]) -> Result<Genesis> {
    let homes: Vec<_> = hosts.iter().map(|host| Home::new(folder.join(&host.name))).collect();
    if let Some(taken) = homes.iter().find(|home| home.path("").exists()) {
        bail!("{} is there already; name another folder", taken.path("").display());
    }
    let mut members = Vec::new();
    let mut peers = Vec::new();
    for (host, home) in hosts.iter().zip(&homes) {
        let mut member = make_validator(home, &host.name)?;
        member.power = host.power;
        members.push(member);
        let peer_id = consensus::peer_id(home.key(KeyRole::Network)?)?;
        peers.push((host.dial(26_656, &peer_id)?, host.dial(26_660, &peer_id)?));
    }
    let mut genesis = dev_genesis(chain_id, members)?;
    genesis.accounts = genesis
        .validators
        .iter()
        .map(|member| GenesisAccount { address: member.operator, balance: PREFUNDED })
        .collect();
    for (at, (host, home)) in hosts.iter().zip(&homes).enumerate() {
        let others = || peers.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, peer)| peer);
        let config = NodeConfig {
            name: host.name.clone(),
            validator: true,
            engine_peers: others().map(|(engine, _)| engine.clone()).collect(),
            data_peers: others().map(|(_, data)| data.clone()).collect(),
            ..NodeConfig::default()
        };
        home.write(&config, &genesis)?;
        let unit = home.path("weft.service");
        fs::write(&unit, UNIT).with_context(|| format!("cannot write {}", unit.display()))?;
    }
    Ok(genesis)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn a_list_is_read_with_its_comments_and_defaults() {
        let hosts =
            parse("# ours\nalice 203.0.113.7\n\nbob weft.example.org 20 # big\neve 2001:db8::1\n").unwrap();
        let told: Vec<_> = hosts.iter().map(|h| (h.name.as_str(), h.power)).collect();
        assert_eq!(told, [("alice", 10), ("bob", 20), ("eve", 10)]);
        let dialled: Vec<_> = hosts
            .iter()
            .map(|host| {
                let id = consensus::peer_id([1; 32]).unwrap();
                host.dial(26_656, &id).unwrap().to_string().split("/p2p").next().unwrap().to_owned()
            })
            .collect();
        assert_eq!(
            dialled,
            ["/ip4/203.0.113.7/tcp/26656", "/dns/weft.example.org/tcp/26656", "/ip6/2001:db8::1/tcp/26656"]
        );
    }

    #[test]
    fn a_line_that_is_no_host_is_named() {
        for (text, line, said) in [
            ("", "", "no hosts"),
            ("a", "line 1", "NAME ADDRESS [POWER]"),
            ("a 10.0.0.1\na 10.0.0.2", "line 2", "twice"),
            ("a 10.0.0.1 0", "line 1", "from 1"),
            ("a 10.0.0.1/24", "line 1", "without a port"),
            ("../a 10.0.0.1", "line 1", "may hold letters"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(said), "{text:?}: {error}");
        }
    }

    #[test]
    fn folders_name_each_other_and_share_one_genesis() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = parse("a 10.0.0.1\nb 10.0.0.2 30\nc 10.0.0.3").unwrap();
        let genesis = make(folder.path(), "weft-test", &hosts).unwrap();
        assert_eq!(genesis.validators.iter().map(|v| v.power).collect::<Vec<_>>(), [10, 30, 10]);
        for host in &hosts {
            let home = Home::new(folder.path().join(&host.name));
            assert_eq!(home.genesis().unwrap(), genesis);
            let config = home.config().unwrap();
            assert!(config.validator);
            let peers: Vec<_> = config.engine_peers.iter().map(ToString::to_string).collect();
            assert_eq!(peers.len(), 2);
            assert!(peers.iter().all(|peer| !peer.contains(&format!("/{}/", host.address))), "{peers:?}");
            assert!(fs::read_to_string(home.path("weft.service")).unwrap().contains("ExecStart="));
        }
        assert!(make(folder.path(), "weft-test", &hosts).unwrap_err().to_string().contains("there already"));
    }
}
