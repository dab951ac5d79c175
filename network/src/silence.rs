//! Connections that lead nowhere any more.
//!
//! A link that was cut leaves connections that look open: the kernel tries again after pauses that double, long after
//! the link is back, and pings find them within a minute. Two signs come sooner:
//!
//! * A request was not answered in time, and nothing else came over its connection since it was sent.
//! * The peer connects anew, which it does only when it has lost the connection that still looks open here. Then both are
//!   closed, and the next one is the first on both sides: gossip says what it subscribes to on a first connection only,
//!   so that the peer would hear nothing on this one.
//!
//! What was asked over a connection that is closed fails at once, and its peer is dialled again.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p::{PeerId, swarm::ConnectionId};

/// Two peers that dial each other at the same moment have both connections within this time.
const SAME_MOMENT: Duration = Duration::from_secs(5);

/// Open connections, and when something last came over each.
#[derive(Debug, Default)]
pub(crate) struct Connections(HashMap<ConnectionId, Connection>);

#[derive(Debug)]
struct Connection {
    peer: PeerId,
    since: Instant,
    heard: Instant,
}

impl Connections {
    /// A new connection; whether its peer must have lost an older one.
    #[must_use]
    pub(crate) fn established(&mut self, id: ConnectionId, peer: PeerId, now: Instant) -> bool {
        let is_lost =
            |other: &Connection| other.peer == peer && now.duration_since(other.since) >= SAME_MOMENT;
        let lost = self.0.values().any(is_lost);
        self.0.insert(id, Connection { peer, since: now, heard: now });
        lost
    }

    pub(crate) fn closed(&mut self, id: ConnectionId) {
        self.0.remove(&id);
    }

    /// Something came over it.
    pub(crate) fn heard(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.0.get_mut(&id) {
            connection.heard = now;
        }
    }

    /// Whether nothing has come over it for so long.
    pub(crate) fn is_silent(&self, id: ConnectionId, time: Duration, now: Instant) -> bool {
        self.0.get(&id).is_some_and(|connection| now.duration_since(connection.heard) >= time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_connects_anew_has_lost_what_looks_open() {
        let (now, mut connections) = (Instant::now(), Connections::default());
        let (peer, other) = (PeerId::random(), PeerId::random());
        let mut connect =
            |id, peer, after| connections.established(ConnectionId::new_unchecked(id), peer, now + after);
        assert!(!connect(0, peer, Duration::ZERO));
        assert!(!connect(1, peer, SAME_MOMENT / 2), "both dialled at the same moment");
        assert!(!connect(2, other, 2 * SAME_MOMENT));
        assert!(connect(3, peer, 2 * SAME_MOMENT));
        for gone in [0, 1, 3] {
            connections.closed(ConnectionId::new_unchecked(gone));
        }
        assert!(!connections.established(ConnectionId::new_unchecked(4), peer, now + 9 * SAME_MOMENT));
    }

    #[test]
    fn a_connection_is_silent_until_something_comes() {
        let (now, mut connections) = (Instant::now(), Connections::default());
        let id = ConnectionId::new_unchecked(1);
        assert!(!connections.established(id, PeerId::random(), now));
        let limit = Duration::from_secs(3);
        assert!(!connections.is_silent(id, limit, now + limit / 2));
        assert!(connections.is_silent(id, limit, now + limit));
        connections.heard(id, now + limit);
        assert!(!connections.is_silent(id, limit, now + limit));
        connections.closed(id);
        assert!(!connections.is_silent(id, limit, now + 9 * limit));
    }
}
