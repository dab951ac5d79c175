//! Which bootstrap address is dialled when.
//!
//! ```text
//!  Waiting ──due──▶ Dialing ──established──▶ Connected
//!     ▲  ╰──── the peer came by itself ─────────▲│
//!     ╰───────failed────╯                        │
//!     ╰────────────── disconnected ──────────────╯
//! ```
//! The pause doubles with every failure and every connection that did not last; one that did
//! resets it.

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::ConnectionId};

/// How long a connection has to last for the next pause to be the shortest again.
const LASTING: Duration = Duration::from_secs(30);

/// The bootstrap addresses and where each stands.
#[derive(Debug)]
pub(crate) struct Redial {
    targets: Vec<Target>,
    min: Duration,
    max: Duration,
}

#[derive(Debug)]
struct Target {
    address: Multiaddr,
    /// The peer, where the address names it.
    peer: Option<PeerId>,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialing { connection: ConnectionId },
    Connected { peer: PeerId, since: Instant },
}

impl Redial {
    pub(crate) fn new(addresses: Vec<Multiaddr>, min: Duration, max: Duration, now: Instant) -> Self {
        let targets = addresses
            .into_iter()
            .map(|address| Target {
                peer: peer_of(&address),
                address,
                pause: min,
                state: State::Waiting { until: now },
            })
            .collect();
        Self { targets, min, max }
    }

    /// The next address to dial now, if any; `dialing` or `failed_at_once` has to follow.
    pub(crate) fn due(&self, now: Instant) -> Option<(usize, Multiaddr)> {
        let dialing = |peer: Option<PeerId>| {
            peer.is_some()
                && self
                    .targets
                    .iter()
                    .any(|target| target.peer == peer && matches!(target.state, State::Dialing { .. }))
        };
        self.targets
            .iter()
            .enumerate()
            .find(|(_, target)| {
                matches!(target.state, State::Waiting { until } if until <= now) && !dialing(target.peer)
            })
            .map(|(at, target)| (at, target.address.clone()))
    }

    pub(crate) fn dialing(&mut self, at: usize, connection: ConnectionId) {
        if let Some(target) = self.targets.get_mut(at) {
            target.state = State::Dialing { connection };
        }
    }

    pub(crate) fn failed_at_once(&mut self, at: usize, now: Instant) {
        let max = self.max;
        if let Some(target) = self.targets.get_mut(at) {
            target.wait(now, max);
        }
    }

    pub(crate) fn failed(&mut self, connection: ConnectionId, now: Instant) {
        let max = self.max;
        for target in &mut self.targets {
            if target.state == (State::Dialing { connection }) {
                target.wait(now, max);
            }
        }
    }

    /// The address leads to this node itself.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.targets.retain(|target| target.state != State::Dialing { connection });
    }

    pub(crate) fn established(&mut self, peer: PeerId, connection: ConnectionId, now: Instant) {
        for target in &mut self.targets {
            let is_it = target.peer == Some(peer) || target.state == State::Dialing { connection };
            if is_it && !matches!(target.state, State::Connected { .. }) {
                target.state = State::Connected { peer, since: now };
            }
        }
    }

    pub(crate) fn disconnected(&mut self, gone: PeerId, now: Instant) {
        let (min, max) = (self.min, self.max);
        for target in &mut self.targets {
            if let State::Connected { peer, since } = target.state
                && peer == gone
            {
                if now.saturating_duration_since(since) >= LASTING {
                    target.pause = min;
                }
                target.wait(now, max);
            }
        }
    }
}

impl Target {
    fn wait(&mut self, now: Instant, max: Duration) {
        self.state = State::Waiting { until: now + self.pause };
        self.pause = self.pause.saturating_mul(2).min(max);
    }
}

fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(2);

    fn redial(addresses: &[&str], now: Instant) -> Redial {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Redial::new(addresses, MIN, MAX, now)
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut now = Instant::now();
        let mut redial = redial(&["/ip4/10.0.0.1/tcp/1"], now);
        for pause in [500, 1_000, 2_000, 2_000] {
            let (at, _) = redial.due(now).unwrap();
            let connection = ConnectionId::new_unchecked(1);
            redial.dialing(at, connection);
            assert_eq!(redial.due(now), None);
            redial.failed(connection, now);
            now += Duration::from_millis(pause - 1);
            assert_eq!(redial.due(now), None);
            now += Duration::from_millis(1);
        }
    }

    #[test]
    fn a_lasting_connection_resets_the_pause_and_a_short_one_does_not() {
        let mut now = Instant::now();
        let mut redial = redial(&["/ip4/10.0.0.1/tcp/1"], now);
        let peer = PeerId::random();
        let connection = ConnectionId::new_unchecked(1);
        for (lasted, pause) in [(0, 500), (0, 1_000), (30_000, 500)] {
            let (at, _) = redial.due(now).unwrap();
            redial.dialing(at, connection);
            redial.established(peer, connection, now);
            now += Duration::from_millis(lasted);
            redial.disconnected(peer, now);
            now += Duration::from_millis(pause - 1);
            assert_eq!(redial.due(now), None);
            now += Duration::from_millis(1);
        }
    }

    #[test]
    fn two_addresses_of_one_peer_are_not_dialled_together() {
        let now = Instant::now();
        let peer = PeerId::random();
        let addresses =
            [format!("/ip4/10.0.0.1/tcp/1/p2p/{peer}"), format!("/ip4/10.0.0.1/udp/1/quic-v1/p2p/{peer}")];
        let mut redial = redial(&[&addresses[0], &addresses[1]], now);
        let connection = ConnectionId::new_unchecked(1);
        redial.dialing(0, connection);
        assert_eq!(redial.due(now), None);
        redial.failed(connection, now);
        assert_eq!(redial.due(now).unwrap().0, 1);
        redial.established(peer, ConnectionId::new_unchecked(2), now);
        assert_eq!(redial.due(now + MAX), None, "the peer came by itself");
    }

    #[test]
    fn an_address_of_this_node_is_forgotten() {
        let now = Instant::now();
        let mut redial = redial(&["/ip4/10.0.0.1/tcp/1"], now);
        let connection = ConnectionId::new_unchecked(1);
        redial.dialing(0, connection);
        redial.forget(connection);
        assert_eq!(redial.due(now + MAX), None);
    }
}
