//! Who is where, how far apart, and how fast their links are.
//!
//! A node has an uplink and a downlink that carry one transfer after the other, in the order in which they are
//! sent. A lost packet is sent again one round trip later, and what is lost of a transfer is sent twice; how
//! congestion control slows a lossy path down beyond that is not modelled.

use anyhow::Context as _;

use crate::events::Nanos;
use crate::rng::Rng;

pub(crate) const MS: Nanos = 1_000_000;
const SECOND: u128 = 1_000_000_000;

/// The regions, and of 106 nodes those in each. The shares are our assumption.
const REGIONS: [(&str, u64); 10] = [
    ("Dallas", 14),
    ("Toronto", 6),
    ("Washington DC", 18),
    ("Frankfurt", 22),
    ("London", 12),
    ("Madrid", 6),
    ("Osaka", 4),
    ("Sydney", 6),
    ("Tokyo", 12),
    ("Sao Paulo", 6),
];

/// Average round trips between the regions in milliseconds, 3 February to 3 March 2024, as published by IBM
/// Cloud (github.com/ibm-cloud-docs/vpc, _include-segments/network-latency.md, table 1). Within a region: about
/// its average between two zones (tables 2 to 11: 0.6 to 2.9 ms).
const ROUND_TRIP_MS: [[u64; 10]; 10] = [
    [2, 34, 32, 123, 113, 118, 149, 185, 142, 144],
    [34, 2, 19, 92, 82, 107, 170, 215, 162, 130],
    [32, 19, 2, 98, 75, 87, 174, 215, 167, 119],
    [123, 92, 98, 2, 12, 29, 242, 260, 237, 196],
    [113, 82, 75, 12, 2, 26, 253, 272, 247, 186],
    [118, 107, 87, 29, 26, 2, 268, 281, 260, 205],
    [149, 170, 174, 245, 255, 268, 2, 124, 9, 293],
    [185, 215, 214, 260, 271, 285, 124, 2, 117, 329],
    [141, 164, 167, 237, 246, 259, 9, 117, 2, 286],
    [145, 128, 120, 196, 185, 206, 292, 326, 285, 2],
];

/// The number of the region with this name.
pub(crate) fn region(name: &str) -> anyhow::Result<usize> {
    REGIONS.iter().position(|(known, _)| *known == name).with_context(|| {
        let known: Vec<&str> = REGIONS.iter().map(|(name, _)| *name).collect();
        format!("region {name:?} is not one of {}", known.join(", "))
    })
}

/// How far apart nodes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Distance {
    /// Somewhere in ten regions of the world, with up to a tenth of jitter on half a round trip.
    World,
    /// As far from each other as a testbed makes them: the one-way time in milliseconds, without jitter.
    Everywhere(u64),
}

/// Nodes with places and links.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    distance: Distance,
    regions: Vec<u8>,
    up: Vec<Link>,
    down: Vec<Link>,
    /// Packets lost, of a thousand.
    pub(crate) loss: u64,
    /// Regions that nothing enters or leaves.
    cut: [bool; REGIONS.len()],
    rng: Rng,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    bytes_per_second: u64,
    free: Nanos,
    carried: u64,
}

impl Link {
    fn carry(&mut self, from: Nanos, bytes: u64) -> Nanos {
        self.carried += bytes;
        self.free = self.free.max(from) + self.time(bytes);
        self.free
    }

    fn time(&self, bytes: u64) -> Nanos {
        (u128::from(bytes) * SECOND / u128::from(self.bytes_per_second.max(1))) as Nanos
    }
}

impl Network {
    /// No nodes yet, and no loss.
    pub(crate) fn new(distance: Distance, rng: Rng) -> Self {
        let (regions, up, down) = (Vec::new(), Vec::new(), Vec::new());
        Self { distance, regions, up, down, loss: 0, cut: [false; REGIONS.len()], rng }
    }

    /// Adds a node somewhere, with an uplink and a downlink in megabits a second.
    pub(crate) fn add(&mut self, up_mbit: u64, down_mbit: u64) {
        let region = self.rng.pick(&REGIONS.map(|(_, share)| share));
        self.regions.push(region as u8);
        let link = |mbit: u64| Link { bytes_per_second: mbit * 125_000, free: 0, carried: 0 };
        self.up.push(link(up_mbit));
        self.down.push(link(down_mbit));
    }

    /// Cuts a region off, or connects it again.
    pub(crate) fn cut(&mut self, name: &str, cut: bool) {
        // Names were checked when the scenario was read.
        if let Ok(region) = region(name) {
            self.cut[region] = cut;
        }
    }

    /// How long a small message travels: half a round trip and jitter, and a whole round trip more each time it is
    /// lost. Nothing if a region is cut off.
    pub(crate) fn latency(&mut self, from: usize, to: usize) -> Option<Nanos> {
        let [from, to] = [from, to].map(|node| usize::from(self.regions[node]));
        if from != to && (self.cut[from] || self.cut[to]) {
            return None;
        }
        let (round_trip, jitter) = match self.distance {
            Distance::World => {
                let round_trip = ROUND_TRIP_MS[from][to] * MS;
                (round_trip, self.rng.below(round_trip / 20 + 1))
            }
            Distance::Everywhere(one_way) => (2 * one_way * MS, 0),
        };
        let mut time = round_trip / 2 + jitter;
        while self.loss > 0 && self.rng.below(1_000) < self.loss {
            time += round_trip;
        }
        Some(time)
    }

    /// When `bytes` sent now have arrived, if they do.
    pub(crate) fn transfer(&mut self, now: Nanos, from: usize, to: usize, bytes: u64) -> Option<Nanos> {
        let latency = self.latency(from, to)?;
        let bytes = bytes * 1_000 / (1_000 - self.loss.min(999));
        let sent = self.up[from].carry(now, bytes);
        // Bytes arrive while they are sent: a downlink that is as fast adds nothing.
        let earliest = (sent + latency).saturating_sub(self.down[to].time(bytes)).max(now);
        Some(self.down[to].carry(earliest, bytes).max(sent + latency))
    }

    /// For how long what this node sends has to wait.
    pub(crate) fn backlog(&self, now: Nanos, node: usize) -> Nanos {
        self.up[node].free.saturating_sub(now)
    }

    /// Bytes that this node has sent, and received.
    pub(crate) fn carried(&self, node: usize) -> [u64; 2] {
        [self.up[node].carried, self.down[node].carried]
    }
}

/// Who is connected to whom: each node dials some others, and is dialled by as many on average.
pub(crate) fn mesh(nodes: usize, dials: u64, rng: &mut Rng) -> Vec<Vec<u16>> {
    let mut neighbours = vec![Vec::new(); nodes];
    let mut connect = |one: usize, other: usize| {
        if one != other && !neighbours[one].contains(&(other as u16)) {
            neighbours[one].push(other as u16);
            neighbours[other].push(one as u16);
        }
    };
    for node in 0..nodes {
        (0..dials).for_each(|_| connect(node, rng.below(nodes as u64) as usize));
        // The ring keeps everybody connected.
        connect(node, (node + 1) % nodes);
    }
    neighbours
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    fn two(distance: Distance) -> Network {
        let mut network = Network::new(distance, Rng::new("weft/sim-test/3", [1]));
        // 8 Mbit/s are 1 MB/s.
        (0..2).for_each(|_| network.add(8, 8));
        network
    }

    #[test]
    fn links_queue_and_distance_takes_time() {
        let mut network = two(Distance::Everywhere(25));
        assert_eq!(network.latency(0, 1), Some(25 * MS));
        assert_eq!(network.transfer(0, 0, 1, 1_000_000), Some(1_025 * MS));
        assert_eq!(network.transfer(0, 0, 1, 1_000_000), Some(2_025 * MS));
        assert_eq!((network.carried(0), network.carried(1)), ([2_000_000, 0], [0, 2_000_000]));
    }

    #[test]
    fn loss_costs_round_trips_and_bytes() {
        let mut network = two(Distance::Everywhere(10));
        network.loss = 500;
        let times: Vec<Nanos> = (0..1_000).map(|_| network.latency(0, 1).unwrap()).collect();
        assert!(times.iter().all(|time| (time - 10 * MS).is_multiple_of(20 * MS)));
        // One loss in the mean.
        let mean = times.iter().sum::<Nanos>() / 1_000;
        assert!(mean.abs_diff(30 * MS) < 4 * MS, "{mean}");
        network.transfer(0, 0, 1, 1_000).unwrap();
        assert_eq!(network.carried(1), [0, 2_000]);
    }

    #[test]
    fn nothing_enters_a_region_that_is_cut_off() {
        let mut network = two(Distance::World);
        network.regions = vec![0, region("Sydney").unwrap() as u8];
        assert!(network.latency(0, 1).is_some());
        network.cut[0] = true;
        assert_eq!((network.latency(0, 1), network.transfer(0, 1, 0, 1)), (None, None));
        assert!(network.latency(0, 0).is_some());
        assert!(region("Atlantis").unwrap_err().to_string().contains("Sydney"));
    }
}
