//! Who is where, how far apart, and how fast their links are.

use crate::events::Nanos;
use crate::rng::Rng;

const MS: Nanos = 1_000_000;
const SECOND: u128 = 1_000_000_000;

/// The regions, and of 100 nodes those in each. The shares are our assumption.
const REGIONS: [(&str, u64); 10] = [
    ("Dallas", 12),
    ("Toronto", 6),
    ("Washington DC", 18),
    ("Frankfurt", 20),
    ("London", 12),
    ("Madrid", 6),
    ("Osaka", 4),
    ("Sydney", 6),
    ("Tokyo", 10),
    ("Sao Paulo", 6),
];

/// Average round trips between the regions in milliseconds, 27 July to 25 August 2024, as published by IBM Cloud
/// (documentation of its VPC, "Network latency", github.com/ibm-cloud-docs/vpc). Within a region: its average between
/// two zones.
const ROUND_TRIP_MS: [[u64; 10]; 10] = [
    [2, 34, 31, 123, 113, 119, 150, 186, 143, 146],
    [34, 2, 19, 93, 82, 108, 168, 215, 162, 129],
    [31, 19, 2, 91, 75, 87, 172, 214, 164, 118],
    [123, 93, 91, 2, 13, 29, 232, 250, 233, 198],
    [113, 83, 75, 13, 2, 27, 244, 261, 243, 188],
    [122, 106, 88, 29, 27, 2, 257, 275, 258, 209],
    [150, 169, 172, 231, 243, 257, 2, 122, 9, 293],
    [186, 214, 214, 249, 261, 275, 122, 2, 115, 328],
    [143, 162, 166, 233, 244, 256, 9, 115, 2, 284],
    [144, 128, 119, 196, 187, 208, 291, 328, 283, 2],
];

/// Nodes with places and links. Uplinks and downlinks carry one transfer after the other, in the order in which
/// they are sent.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    regions: Vec<u8>,
    up: Vec<Link>,
    down: Vec<Link>,
    loss: f64,
    rng: Rng,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    bytes_per_second: u64,
    free: Nanos,
}

impl Link {
    fn carry(&mut self, from: Nanos, bytes: u64) -> Nanos {
        let time = u128::from(bytes) * SECOND / u128::from(self.bytes_per_second.max(1));
        self.free = self.free.max(from) + time as Nanos;
        self.free
    }
}

impl Network {
    /// No nodes yet; messages lose this share of their packets, in percent.
    pub(crate) fn new(loss: f64, rng: Rng) -> Self {
        Self { regions: Vec::new(), up: Vec::new(), down: Vec::new(), loss, rng }
    }

    /// Adds a node somewhere, with an uplink and a downlink in megabits a second.
    pub(crate) fn add(&mut self, up_mbit: u64, down_mbit: u64) {
        let mut place = self.rng.below(REGIONS.iter().map(|(_, share)| share).sum());
        let region = REGIONS.iter().position(|(_, share)| {
            let here = place < *share;
            place = place.wrapping_sub(*share);
            here
        });
        self.regions.push(region.unwrap_or(0) as u8);
        let link = |mbit: u64| Link { bytes_per_second: mbit * 125_000, free: 0 };
        self.up.push(link(up_mbit));
        self.down.push(link(down_mbit));
    }

    /// How long a small message travels: half a round trip and up to a tenth of jitter, and a whole round
    /// trip more each time it is lost.
    pub(crate) fn latency(&mut self, from: usize, to: usize) -> Nanos {
        let round_trip = ROUND_TRIP_MS[usize::from(self.regions[from])][usize::from(self.regions[to])] * MS;
        let mut time = round_trip / 2 + self.rng.below(round_trip / 20 + 1);
        while self.loss > 0.0 && self.rng.percent(self.loss) {
            time += round_trip;
        }
        time
    }

    /// When `bytes` sent now have arrived.
    pub(crate) fn transfer(&mut self, now: Nanos, from: usize, to: usize, bytes: u64) -> Nanos {
        let sent = self.up[from].carry(now, bytes);
        // Bytes arrive while they are sent: a downlink that is as fast adds nothing.
        let latency = self.latency(from, to);
        let time = u128::from(bytes) * SECOND / u128::from(self.down[to].bytes_per_second.max(1));
        let earliest = (sent + latency).saturating_sub(time as Nanos).max(now);
        self.down[to].carry(earliest, bytes).max(sent + latency)
    }
}

/// Who is connected to whom: each node dials some others, and is dialled by as many on average.
pub(crate) fn mesh(nodes: usize, dials: u64, rng: &mut Rng) -> Vec<Vec<u16>> {
    let mut neighbours = vec![Vec::new(); nodes];
    for node in 0..nodes {
        for _ in 0..dials {
            let other = rng.below(nodes as u64) as usize;
            if other != node && !neighbours[node].contains(&(other as u16)) {
                neighbours[node].push(other as u16);
                neighbours[other].push(node as u16);
            }
        }
        // The ring keeps everybody connected.
        let next = (node + 1) % nodes;
        if next != node && !neighbours[node].contains(&(next as u16)) {
            neighbours[node].push(next as u16);
            neighbours[next].push(node as u16);
        }
    }
    neighbours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_queue_and_distance_takes_time() {
        let mut network = Network::new(0.0, Rng::new("weft/sim-test/3", [1]));
        // 8 Mbit/s are 1 MB/s.
        network.add(8, 8);
        network.add(8, 8);
        let first = network.transfer(0, 0, 1, 1_000_000);
        let second = network.transfer(0, 0, 1, 1_000_000);
        assert!((1_000 * MS..1_200 * MS).contains(&first), "{first}");
        assert!((2_000 * MS..2_200 * MS).contains(&second), "{second}");
        assert!(ROUND_TRIP_MS.iter().enumerate().all(|(at, row)| row[at] == 2));
    }
}
