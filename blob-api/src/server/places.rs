//! Places that are held for a while: by requests, submissions and streams.
//!
//! Invariant: of each kind, one asker holds a quarter at most, or a single thing that is larger, so that none shuts all
//! others out. A place is free when it is dropped, and travels with whatever it stands for.

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
    /// In parts, as all that is counted.
    limit: usize,
    /// Parts of a place.
    parts: u32,
    free: Arc<Semaphore>,
    held: Held,
}

/// A place, or parts of one, that somebody has until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    asker: Asker,
    held: Held,
    permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(what: &'static str, limit: usize) -> Self {
        Self::divided(what, limit, 1)
    }

    /// Places for things of different sizes, of which the small ones take parts of a place.
    pub(super) fn divided(what: &'static str, limit: usize, parts: u32) -> Self {
        let limit = limit.saturating_mul(parts as usize).min(Semaphore::MAX_PERMITS);
        Self { what, limit, parts, free: Arc::new(Semaphore::new(limit)), held: Held::default() }
    }

    /// A place, or why there is none.
    pub(super) fn take(&self, asker: Asker) -> Result<Place, Failure> {
        self.take_parts(asker, self.parts)
    }

    /// Place enough for `size`, where the largest thing has the size `largest` and takes a whole place.
    pub(super) fn take_for(&self, asker: Asker, size: u64, largest: u64) -> Result<Place, Failure> {
        let parts = u64::from(self.parts);
        // At most `parts`.
        let taken = size.min(largest).saturating_mul(parts).div_ceil(largest.max(1)).clamp(1, parts);
        self.take_parts(asker, taken as u32)
    }

    fn take_parts(&self, asker: Asker, count: u32) -> Result<Place, Failure> {
        let full = |from: &str, limit: usize| {
            let message = format!("too many {} at once{from}; retry, or ask another node", self.what);
            let limit = limit / self.parts as usize;
            Failure::new(ErrorCode::TooManyRequests, message).limit(limit).retry_after(SOON)
        };
        let permit = self.free.clone().try_acquire_many_owned(count).map_err(|_| full("", self.limit))?;
        let part = (self.limit / PART).max(1);
        let mut held = lock(&self.held);
        let mine = held.entry(asker).or_default();
        if *mine > 0 && *mine + count as usize > part {
            return Err(full(" from one address", part));
        }
        *mine += count as usize;
        Ok(Place { asker, held: self.held.clone(), permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(mine) = held.get_mut(&self.asker) {
            *mine -= self.permit.num_permits();
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
    fn small_things_take_parts_of_a_place_and_a_large_one_may_be_more_than_a_quarter() {
        let places = Places::divided("tests", 2, 8);
        let (one, two, three) = (asker("192.0.2.1"), asker("192.0.2.2"), asker("192.0.2.3"));
        let held = [places.take_for(one, 0, 800).unwrap(), places.take_for(one, 201, 800).unwrap()];
        assert!(places.take_for(one, 1, 800).is_err(), "four of sixteen parts are a quarter");
        let large = places.take(two).unwrap();
        assert!(places.take_for(two, 1, 800).is_err());
        assert!(places.take_for(three, 500, 800).is_err(), "four parts are free, not five");
        drop((held, large));
        assert!(places.take_for(two, u64::MAX, 800).is_ok() && lock(&places.held).is_empty());
    }

    #[test]
    fn a_network_is_one_asker_however_it_writes_its_addresses() {
        assert_eq!(asker("2001:db8:0:1::1"), asker("2001:db8:0:1:ffff::2"));
        assert_ne!(asker("2001:db8:0:1::1"), asker("2001:db8:0:2::1"));
        assert_eq!(asker("::ffff:192.0.2.1"), asker("192.0.2.1"));
        assert_ne!(asker("192.0.2.1"), asker("192.0.2.2"));
    }
}
