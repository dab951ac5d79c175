//! Places that are held for a while: by requests, submissions and streams.
//!
//! Invariant: of each kind, one asker holds a quarter at most, so that none shuts all others out. A place is free when
//! it is dropped, and travels with whatever it stands for.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::{Failure, SOON};
use crate::ErrorCode;

/// One asker holds one part in so many, and one place at least.
const PART: usize = 4;

/// Bits of an IPv6 address that say whose it is.
const NETWORK: u128 = !(u64::MAX as u128);

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asker(IpAddr);

impl Default for Asker {
    fn default() -> Self {
        Self(Ipv6Addr::UNSPECIFIED.into())
    }
}

impl Asker {
    pub(super) fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()),
        }
    }
}

type Held = Arc<Mutex<HashMap<Asker, usize>>>;

fn lock(held: &Held) -> MutexGuard<'_, HashMap<Asker, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All places of one kind. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Places {
    what: &'static str,
    limit: usize,
    free: Arc<Semaphore>,
    held: Held,
}

/// A place that somebody has, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    asker: Asker,
    held: Held,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(what: &'static str, limit: usize) -> Self {
        Self { what, limit, free: Arc::new(Semaphore::new(limit)), held: Held::default() }
    }

    /// A place, or why there is none.
    pub(super) fn take(&self, asker: Asker) -> Result<Place, Failure> {
        let full = |from: &str, limit: usize| {
            let message = format!("too many {} at once{from}; retry, or ask another node", self.what);
            Failure::new(ErrorCode::TooManyRequests, message).limit(limit).retry_after(SOON)
        };
        let permit = self.free.clone().try_acquire_owned().map_err(|_| full("", self.limit))?;
        let part = (self.limit / PART).max(1);
        let mut held = lock(&self.held);
        let mine = held.entry(asker).or_default();
        if *mine >= part {
            return Err(full(" from one address", part));
        }
        *mine += 1;
        Ok(Place { asker, held: self.held.clone(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(mine) = held.get_mut(&self.asker) {
            *mine -= 1;
            if *mine == 0 {
                held.remove(&self.asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;

    fn asker(text: &str) -> Asker {
        Asker::new(text.parse().unwrap())
    }

    #[test]
    fn one_asker_takes_a_quarter_and_gives_it_back() {
        let places = Places::new("tests", 8);
        let (one, two) = (asker("192.0.2.1"), asker("192.0.2.2"));
        let held = [places.take(one).unwrap(), places.take(one).unwrap()];
        assert!(places.take(one).is_err());
        let others: Vec<_> = (2..8).map(|at| places.take(asker(&format!("192.0.2.{at}"))).unwrap()).collect();
        assert!(places.take(asker("192.0.2.9")).is_err(), "all are taken");
        drop(held);
        assert!(places.take(two).is_ok() && places.take(one).is_ok());
        drop(others);
        assert!(lock(&places.held).is_empty(), "nobody is remembered for nothing");
    }

    #[test]
    fn a_network_is_one_asker_however_it_writes_its_addresses() {
        assert_eq!(asker("2001:db8:0:1::1"), asker("2001:db8:0:1:ffff::2"));
        assert_ne!(asker("2001:db8:0:1::1"), asker("2001:db8:0:2::1"));
        assert_eq!(asker("::ffff:192.0.2.1"), asker("192.0.2.1"));
        assert_ne!(asker("192.0.2.1"), asker("192.0.2.2"));
    }
}
