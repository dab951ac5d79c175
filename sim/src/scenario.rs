//! A network and what happens to it, from a TOML file.
//!
//! ```toml
//! about = "…"
//! width = 128                       # k of the block, whose square is full
//! validators = 100                  # numbers of nodes
//! full_nodes = 1000
//! light_clients = 100000
//! peers = 8                         # full nodes that a light client is connected to
//! loss_permille = 5                 # packets lost, of a thousand
//!
//! [links]                           # mixes: shares of the nodes, megabits a second
//! validators = [{ share = 100, up = 1000, down = 1000 }]
//! full_nodes = [{ share = 20, up = 1000, down = 1000 }, { share = 80, up = 200, down = 200 }]
//! light_clients = [{ share = 100, up = 10, down = 50 }]
//!
//! [[fault]]                         # see `Fault`; at most 100, milliseconds after the beginning up to 600000
//! at_ms = 2000
//! what = "leave"
//! of = "full-nodes"
//! percent = 20
//! ```

use std::path::Path;

use anyhow::{Context as _, ensure};
use erasure::Width;
use serde::{Deserialize, Serialize};

use crate::network;

/// No run lasts longer.
const LATEST_MS: u64 = 600_000;

/// Each of them may make every node tell its neighbours anew what it has.
const MOST_FAULTS: usize = 100;

/// A network and a fault script. Numbers are checked when it is read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One line for plots.
    pub about: String,
    /// The block's width, k; its square is full.
    pub width: u32,
    /// Validators.
    pub validators: u16,
    /// Full nodes.
    pub full_nodes: u16,
    /// Light clients.
    pub light_clients: u32,
    /// Full nodes that each light client is connected to.
    pub peers: u8,
    /// Packets lost, of a thousand.
    pub loss_permille: u64,
    /// How fast their links are.
    pub links: Links,
    /// What goes wrong, by time.
    #[serde(default, rename = "fault")]
    pub faults: Vec<Fault>,
}

/// Link speeds of each kind of node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// Validators'.
    pub validators: Vec<Mix>,
    /// Full nodes'.
    pub full_nodes: Vec<Mix>,
    /// Light clients'.
    pub light_clients: Vec<Mix>,
}

/// Some of the nodes, and the speed of their links.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Their share, relative to the others of the list.
    pub share: u64,
    /// Uplink, megabits a second.
    pub up: u64,
    /// Downlink, megabits a second.
    pub down: u64,
}

/// Something that goes wrong, or right again. (Those without fields have braces: of a unit, serde would swallow
/// fields that it does not know.)
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Nodes are gone: they answer nothing, and nobody is told.
    Leave {
        /// When.
        at_ms: u64,
        /// Which.
        of: Group,
        /// How many of them.
        percent: u64,
    },
    /// All that left are back, with what they had.
    Return {
        /// When.
        at_ms: u64,
        /// Which.
        of: Group,
    },
    /// Full nodes take part in everything, but keep cells to themselves.
    Refuse {
        /// When.
        at_ms: u64,
        /// How many of them.
        percent: u64,
    },
    /// From now on this many packets are lost.
    Loss {
        /// When.
        at_ms: u64,
        /// Of a thousand.
        permille: u64,
    },
    /// Nothing enters or leaves a region.
    Cut {
        /// When.
        at_ms: u64,
        /// Its name.
        region: String,
    },
    /// The region is connected again.
    Heal {
        /// When.
        at_ms: u64,
        /// Its name.
        region: String,
    },
    /// From the beginning, the first light client has only peers that keep cells to themselves.
    Eclipse {},
    /// Validators collude: they decide a block of which the smallest unrecoverable pattern is published nowhere.
    Withhold {},
}

/// A kind of node that can leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Validators.
    Validators,
    /// Full nodes.
    FullNodes,
}

impl Fault {
    /// When it happens.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::Leave { at_ms, .. }
            | Self::Return { at_ms, .. }
            | Self::Refuse { at_ms, .. }
            | Self::Loss { at_ms, .. }
            | Self::Cut { at_ms, .. }
            | Self::Heal { at_ms, .. } => *at_ms,
            Self::Eclipse {} | Self::Withhold {} => 0,
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        let at_ms = self.at_ms();
        ensure!(at_ms <= LATEST_MS, "at_ms must be at most {LATEST_MS}, got {at_ms}");
        match self {
            Self::Leave { percent, .. } | Self::Refuse { percent, .. } => {
                ensure!(*percent <= 100, "percent must be at most 100, got {percent}");
            }
            Self::Loss { permille, .. } => check_loss(*permille)?,
            Self::Cut { region, .. } | Self::Heal { region, .. } => {
                network::region(region)?;
            }
            Self::Return { .. } | Self::Eclipse {} | Self::Withhold {} => {}
        }
        Ok(())
    }
}

impl Scenario {
    /// A good day, `scenarios/calm.toml`.
    ///
    /// # Errors
    /// The file that was compiled in is wrong.
    pub fn calm() -> anyhow::Result<Self> {
        Self::parse(include_str!("../scenarios/calm.toml"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// There is none, or it is wrong.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("scenario {}", file.display()))
    }

    /// Reads a scenario, with its faults put in order of time.
    ///
    /// # Errors
    /// It is no TOML of this form, or a number is out of bounds.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut scenario: Self = toml::from_str(text)?;
        scenario.faults.sort_by_key(Fault::at_ms);
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// One is out of bounds.
    pub fn check(&self) -> anyhow::Result<()> {
        Width::new(self.width)?;
        let Self { validators, full_nodes, light_clients, peers, links, .. } = self;
        ensure!((1..=1_000).contains(validators), "validators must be 1 to 1000, got {validators}");
        ensure!((1..=20_000).contains(full_nodes), "full_nodes must be 1 to 20000, got {full_nodes}");
        ensure!((1..=2_000_000).contains(light_clients), "light_clients: 1 to 2000000, got {light_clients}");
        ensure!((1..=16).contains(peers), "peers must be 1 to 16, got {peers}");
        ensure!(u16::from(*peers) <= *full_nodes, "peers must be at most the {full_nodes} full nodes");
        check_loss(self.loss_permille)?;
        for mixes in [&links.validators, &links.full_nodes, &links.light_clients] {
            let right = |mix: &Mix| {
                (1..=1_000_000).contains(&mix.share)
                    && [mix.up, mix.down].iter().all(|mbit| (1..=1_000_000).contains(mbit))
            };
            let wrong = "links need shares and speeds in Mbit/s from 1 to 1000000, at least one of a kind";
            ensure!(!mixes.is_empty() && mixes.iter().all(right), wrong);
        }
        let faults = self.faults.len();
        ensure!(faults <= MOST_FAULTS, "there can be {MOST_FAULTS} faults at most, got {faults}");
        self.faults.iter().try_for_each(Fault::check)
    }

    /// The block's width.
    ///
    /// # Errors
    /// It is no power of two from 2 to 512.
    pub fn square(&self) -> anyhow::Result<Width> {
        Ok(Width::new(self.width)?)
    }
}

fn check_loss(permille: u64) -> anyhow::Result<()> {
    ensure!(permille <= 500, "at most 500 of a thousand packets can be lost, got {permille}");
    Ok(())
}
