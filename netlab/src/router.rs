//! Moves packets between the hosts' devices, each at its time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use tun_rs::SyncDevice;

use crate::{
    MTU,
    link::{Link, State},
};

/// A packet under way, the earliest first; the number keeps those of one time in order.
type UnderWay = Reverse<(Instant, u64, usize, Vec<u8>)>;

#[derive(Debug)]
struct Traffic {
    /// From each host to each.
    links: Vec<Vec<State>>,
    queue: BinaryHeap<UnderWay>,
    count: u64,
    random: u64,
}

/// The devices of all hosts, and what is between them.
pub(crate) struct Router {
    devices: Vec<SyncDevice>,
    traffic: Mutex<Traffic>,
    arrived: Condvar,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("hosts", &self.devices.len()).finish_non_exhaustive()
    }
}

impl Router {
    /// Starts the threads that move packets; they run as long as the process.
    pub(crate) fn start(devices: Vec<SyncDevice>, seed: u64) -> Arc<Self> {
        let hosts = devices.len();
        let traffic = Traffic {
            links: vec![vec![State::PERFECT; hosts]; hosts],
            queue: BinaryHeap::new(),
            count: 0,
            random: seed,
        };
        let router = Arc::new(Self { devices, traffic: Mutex::new(traffic), arrived: Condvar::new() });
        for host in 0..hosts {
            let router = router.clone();
            thread::spawn(move || router.read_from(host));
        }
        let delivering = router.clone();
        thread::spawn(move || delivering.deliver());
        router
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the links for which `link` gives something.
    pub(crate) fn change(&self, link: impl Fn(usize, usize) -> Option<Link>) {
        for (from, links) in self.traffic().links.iter_mut().enumerate() {
            for (to, state) in links.iter_mut().enumerate() {
                if let Some(link) = link(from, to) {
                    state.link = link;
                }
            }
        }
    }

    pub(crate) fn sent(&self, from: usize, to: usize) -> u64 {
        self.traffic().links[from][to].sent
    }

    fn read_from(&self, from: usize) {
        let mut buffer = vec![0; MTU as usize];
        // A device is gone when its host is.
        while let Ok(len) = self.devices[from].recv(&mut buffer) {
            let packet = &buffer[..len];
            let Some(to) = destination(packet).filter(|to| *to < self.devices.len() && *to != from) else {
                continue;
            };
            let now = Instant::now();
            let mut traffic = self.traffic();
            let chance = uniform(&mut traffic.random);
            match traffic.links[from][to].pass(len, now, chance) {
                None => {}
                Some(at) if at <= now => {
                    drop(traffic);
                    self.write(to, packet);
                }
                Some(at) => {
                    traffic.count += 1;
                    let number = traffic.count;
                    traffic.queue.push(Reverse((at, number, to, packet.to_vec())));
                    drop(traffic);
                    self.arrived.notify_one();
                }
            }
        }
    }

    fn deliver(&self) {
        let mut traffic = self.traffic();
        loop {
            let now = Instant::now();
            match traffic.queue.peek() {
                None => traffic = self.arrived.wait(traffic).unwrap_or_else(PoisonError::into_inner),
                Some(Reverse((at, ..))) if *at > now => {
                    let wait = *at - now;
                    let woken = self.arrived.wait_timeout(traffic, wait);
                    traffic = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(_) => {
                    let due = traffic.queue.pop();
                    drop(traffic);
                    if let Some(Reverse((_, _, to, packet))) = due {
                        self.write(to, &packet);
                    }
                    traffic = self.traffic();
                }
            }
        }
    }

    fn write(&self, to: usize, packet: &[u8]) {
        // A host that is down takes nothing, as on a real network.
        let _ = self.devices[to].send(packet);
    }
}

/// The number of the host that an IPv4 packet is for.
fn destination(packet: &[u8]) -> Option<usize> {
    let address: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let [10, 77, 0, last] = address else { return None };
    (packet[0] >> 4 == 4).then(|| usize::from(last).checked_sub(1))?
}

/// SplitMix64, as a number in [0, 1).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
