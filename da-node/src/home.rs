//! A node's folder: configuration, keys, genesis, data.
//!
//! ```text
//! HOME/node.toml          settings (see NodeConfig)
//! HOME/genesis.json       the chain's beginning, the same on every node
//! HOME/network.toml       what light clients start from; written once the chain has a block
//! HOME/keys/*.key         32 bytes in hexadecimal, readable by the owner only
//! HOME/keys/consensus.pub the public key of a remote signer, written when it first dialled in
//! HOME/db, HOME/engine    blocks and state; consensus' log and record of signatures
//! HOME/db.new             a database that is being made of a snapshot
//! HOME/running.json       where the running node listens
//! HOME/lock               locked by the process that uses the folder, which it names
//! ```

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use chain::{Genesis, SecretKey};
use consensus::SignerAddress;
use network::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::settings::{AlarmConfig, ApiConfig, text};

/// `node.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Name in logs.
    pub name: String,
    /// Whether this node votes; if not, it follows and serves.
    pub validator: bool,
    /// Where the HTTP API and `/metrics` listen. Port 0 takes a free one, written to `running.json`.
    pub api_listen: SocketAddr,
    /// Where peers and light clients connect, as libp2p addresses; TCP and QUIC.
    pub data_listen: Vec<Multiaddr>,
    /// Peers to keep connections to. With none, the node is found by others only.
    pub data_peers: Vec<Multiaddr>,
    /// Where consensus listens.
    pub engine_listen: Multiaddr,
    /// Validators (or their sentries) to keep consensus connections to. With none that answers, the node does not
    /// follow the chain.
    pub engine_peers: Vec<Multiaddr>,
    /// How long the proposal of an empty block may take, in milliseconds; each MiB that waits in the pool adds 200 ms,
    /// up to a full block. Too low for this hardware and its links: rounds fail and the chain slows down. A dead proposer
    /// costs this much.
    pub propose_timeout_ms: u64,
    /// Keep all squares and every version of the state, for ever.
    pub archive: bool,
    /// How long squares are kept, in seconds; at least what genesis promises, which is also the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_seconds: Option<u64>,
    /// Where the process that has the consensus key dials in, as `unix:///PATH` or `tcp://[PEER_ID@]IP:PORT`. Without
    /// it the key is in the folder.
    #[serde(with = "text", skip_serializing_if = "Option::is_none")]
    pub signer_listen: Option<SignerAddress>,
    /// Who may use the API, and how much.
    pub api: ApiConfig,
    /// What the operator is told of.
    pub alarms: AlarmConfig,
}

#[expect(clippy::unwrap_used, reason = "constants, exercised by the tests")]
fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: "weft".into(),
            validator: false,
            api_listen: SocketAddr::from(([127, 0, 0, 1], 26_658)),
            data_listen: vec![address("/ip4/0.0.0.0/tcp/26660"), address("/ip4/0.0.0.0/udp/26660/quic-v1")],
            data_peers: Vec::new(),
            engine_listen: address("/ip4/0.0.0.0/tcp/26656"),
            engine_peers: Vec::new(),
            propose_timeout_ms: 2_000,
            archive: false,
            retention_seconds: None,
            signer_listen: None,
            api: ApiConfig::default(),
            alarms: AlarmConfig::default(),
        }
    }
}

impl NodeConfig {
    /// Every port chosen by the system, on loopback: for tests and development networks.
    pub fn loopback(name: &str) -> Self {
        Self {
            name: name.into(),
            validator: true,
            api_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_listen: vec![address("/ip4/127.0.0.1/tcp/0"), address("/ip4/127.0.0.1/udp/0/quic-v1")],
            engine_listen: address("/ip4/127.0.0.1/tcp/0"),
            ..Self::default()
        }
    }
}

/// Where a running node listens, `running.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Process id.
    pub pid: u32,
    /// URL of the HTTP API.
    pub api: String,
    /// Dialable addresses for peers and light clients.
    pub data: Vec<Multiaddr>,
    /// Dialable address of consensus.
    pub engine: Multiaddr,
}

/// The remote signer's public key.
const SIGNER_KEY: &str = "keys/consensus.pub";

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// ed25519, signs votes.
    Consensus,
    /// BLS12-381, signs attestations; the file holds the seed of its secret.
    Attestation,
    /// ed25519, names the node to its peers on both networks.
    Network,
    /// secp256k1, the account that receives a validator's fees.
    Operator,
    /// secp256k1, the account of a development network's faucet.
    Faucet,
}

impl KeyRole {
    fn file(self) -> &'static str {
        match self {
            Self::Consensus => "consensus.key",
            Self::Attestation => "attestation.key",
            Self::Network => "network.key",
            Self::Operator => "operator.key",
            Self::Faucet => "faucet.key",
        }
    }
}

/// A node's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// The folder at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes settings and genesis.
    pub fn write(&self, config: &NodeConfig, genesis: &Genesis) -> Result<()> {
        genesis.check()?;
        fs::create_dir_all(&self.0).with_context(|| format!("cannot create {}", self.0.display()))?;
        self.write_text("node.toml", &toml::to_string(config)?)?;
        self.write_text("genesis.json", &serde_json::to_string_pretty(genesis)?)
    }

    /// Writes a file whole or not at all.
    pub fn write_text(&self, name: &str, text: &str) -> Result<()> {
        let (path, fresh) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a file of the folder.
    pub fn read(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read {}: is --home right? `da-node init --home {}` makes it",
                path.display(),
                self.0.display()
            )
        })
    }

    /// The settings.
    pub fn config(&self) -> Result<NodeConfig> {
        toml::from_str(&self.read("node.toml")?)
            .with_context(|| format!("in {}", self.path("node.toml").display()))
    }

    /// The genesis.
    pub fn genesis(&self) -> Result<Genesis> {
        Ok(Genesis::from_json(&self.read("genesis.json")?)?)
    }

    /// Where the node of this folder listens, if it runs.
    pub fn running(&self) -> Result<Running> {
        Ok(serde_json::from_str(&self.read("running.json")?)?)
    }

    /// Whether the folder has this key.
    pub fn has_key(&self, role: KeyRole) -> bool {
        self.path("keys").join(role.file()).exists()
    }

    /// Reads a key.
    pub fn key(&self, role: KeyRole) -> Result<[u8; 32]> {
        let path = self.path("keys").join(role.file());
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read the key {}", path.display()))?;
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key)
            .with_context(|| format!("{} must hold 64 hexadecimal digits", path.display()))?;
        Ok(key)
    }

    /// The public side of the consensus key: of the one in the folder, else of the remote signer's, if it is known.
    pub fn consensus_key(&self) -> Result<[u8; 32]> {
        if self.has_key(KeyRole::Consensus) {
            let key = ed25519_consensus::SigningKey::from(self.key(KeyRole::Consensus)?);
            return Ok(key.verification_key().to_bytes());
        }
        self.signer_key()?.with_context(|| {
            format!(
                "no consensus key: {} is not there, nor {SIGNER_KEY}, which is written when a remote signer has \
                 dialled in",
                self.path("keys").join(KeyRole::Consensus.file()).display()
            )
        })
    }

    /// The public key of the remote signer that has dialled in before.
    pub fn signer_key(&self) -> Result<Option<[u8; 32]>> {
        let path = self.path(SIGNER_KEY);
        if !path.exists() {
            return Ok(None);
        }
        let mut key = [0; 32];
        hex::decode_to_slice(self.read(SIGNER_KEY)?.trim(), &mut key)
            .with_context(|| format!("{} must hold 64 hexadecimal digits", path.display()))?;
        Ok(Some(key))
    }

    /// Remembers the remote signer's public key.
    pub fn write_signer_key(&self, key: &[u8; 32]) -> Result<()> {
        self.write_text(SIGNER_KEY, &format!("{}\n", hex::encode(key)))
    }

    /// Writes a key that must not exist yet, for the owner's eyes only.
    pub fn write_key(&self, role: KeyRole, key: &[u8; 32]) -> Result<()> {
        let folder = self.path("keys");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        write_secret(&folder.join(role.file()), &hex::encode(key))
    }

    /// A fresh key, written to the folder.
    pub fn make_key(&self, role: KeyRole) -> Result<[u8; 32]> {
        let mut key = [0; 32];
        // A scalar that secp256k1 does not take is drawn once in 2^128 times.
        getrandom::fill(&mut key)?;
        self.write_key(role, &key)?;
        Ok(key)
    }

    /// The account key of this role.
    pub fn account(&self, role: KeyRole) -> Result<SecretKey> {
        Ok(SecretKey::from_bytes(&self.key(role)?)?)
    }
}

/// Writes a secret to a file that does not exist yet and that only its owner can read.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} exists already and is not overwritten; move it away first", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    };
    writeln!(file, "{text}")?;
    file.sync_all()?;
    Ok(())
}
