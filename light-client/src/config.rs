//! How a client is told to behave.

use std::num::NonZeroU64;
use std::time::Duration;

use network::Multiaddr;

use crate::alarm::AlarmHook;
use crate::clock::Clock;
use crate::sampler::{Confidence, Seed, Timing};

/// A client's settings. [`Config::default`] is what a laptop wants.
#[derive(Clone, Debug)]
pub struct Config {
    /// How sure to be that a block was published. Default 99.9 %.
    pub confidence: Confidence,
    /// How patient one block's sampler is.
    pub timing: Timing,
    /// Addresses to listen on. With none, the default, the client still serves its samples over
    /// the connections that it opened.
    pub listen: Vec<Multiaddr>,
    /// Heights behind the latest that are sampled after an absence. Default 64. Too low: blocks
    /// are skipped after a short sleep; each one costs about 30 KB.
    pub catch_up: u64,
    /// Bytes that the client may use a day, both directions, everything included; what it does
    /// not suffice for is skipped. Default: none, no limit. Too low for a single block at the
    /// confidence, 864 kB at 99.9 %, the client does not start. Others are served while half of an
    /// hour's share is left.
    pub budget: Option<NonZeroU64>,
    /// Heights whose headers and samples are kept and served. Default 2,048, about 60 MB on
    /// disk. Too low: full nodes that lost a block find no samples to rebuild it from.
    pub keep: u64,
    /// Requests for cells under way at once. Default 32. Too low: sampling is slow on links with
    /// a long round trip.
    pub requests_at_once: usize,
    /// How long gossip may bring no header before a peer is asked. Default 3 s. Too low: headers
    /// are downloaded for nothing.
    pub poll_after: Duration,
    /// How long the client may have no peer before it calls itself offline. Default 10 s.
    pub offline_after: Duration,
    /// How recent the last successful sample has to be for `GET /healthz`. Default 60 s. Below
    /// the chain's idle interval, an idle chain looks like an unhealthy client.
    pub healthy_within: Duration,
    /// The secret to draw cells from where the home directory is new. Default: none, which takes
    /// fresh randomness. Anything that others can guess lets them hide a block from this client.
    pub seed: Option<Seed>,
    /// Other peers that are asked for the newest header, to compare. Default 2. With none, a fork
    /// is noticed only if its headers are gossiped.
    pub witnesses: usize,
    /// How often they are asked. Default 10 s: headers are chained by hash, so that one comparison
    /// covers all before. Too low: more headers are downloaded.
    pub witness_every: Duration,
    /// Whether a header above the trusted one is verified by its attesters' certificate, where peers have one, and by
    /// the validators' commit only where they have none. Default: no. The attesters are those that a verified
    /// header's state names. Saves most of a header's bytes where validators are many.
    pub certificates: bool,
    /// Who is told of alarms. Default: nobody.
    pub alarm_hooks: Vec<AlarmHook>,
    /// Where the time comes from. Default: the system.
    pub clock: Clock,
    /// The newest version of the chain's rules that this program knows. Default: that of the crate `chain`. At a block of
    /// a later one the client stops following. Too high: blocks are called available by rules that are not theirs.
    pub newest_rules: u64,
    /// Events that a subscriber may be behind before it misses some. Default 256.
    pub event_queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            confidence: Confidence::DEFAULT,
            timing: Timing::default(),
            listen: Vec::new(),
            catch_up: 64,
            budget: None,
            keep: 2_048,
            requests_at_once: 32,
            poll_after: Duration::from_secs(3),
            offline_after: Duration::from_secs(10),
            healthy_within: Duration::from_secs(60),
            seed: None,
            witnesses: 2,
            witness_every: Duration::from_secs(10),
            certificates: false,
            alarm_hooks: Vec::new(),
            clock: Clock::default(),
            newest_rules: chain::RULES_VERSION,
            event_queue: 256,
        }
    }
}
