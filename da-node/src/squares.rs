//! Extended squares kept in memory for serving; the oldest used goes first.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chain::Height;
use erasure::CommittedSquare;
use lru::LruCache;

/// Bytes of extended cells kept: three squares of the default limit.
const CACHE_BYTES: usize = 100 << 20;

/// Squares kept at most, however small.
const CACHE_SQUARES: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The cache, and a lock so that one square is rebuilt at a time.
#[derive(Debug)]
pub(crate) struct Squares {
    kept: Mutex<LruCache<Height, Arc<CommittedSquare>>>,
    loading: Mutex<()>,
}

impl Default for Squares {
    fn default() -> Self {
        Self { kept: Mutex::new(LruCache::new(CACHE_SQUARES)), loading: Mutex::new(()) }
    }
}

fn bytes(square: &CommittedSquare) -> usize {
    square.width().shares() * 4 * erasure::SHARE_BYTES
}

impl Squares {
    fn kept(&self) -> MutexGuard<'_, LruCache<Height, Arc<CommittedSquare>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a square; gives those that make place for it.
    pub(crate) fn insert(&self, height: Height, square: Arc<CommittedSquare>) -> Vec<Arc<CommittedSquare>> {
        let mut kept = self.kept();
        let mut gone: Vec<_> = kept.push(height, square).into_iter().map(|(_, square)| square).collect();
        while kept.len() > 1 && kept.iter().map(|(_, square)| bytes(square)).sum::<usize>() > CACHE_BYTES {
            gone.extend(kept.pop_lru().map(|(_, square)| square));
        }
        gone
    }

    /// The square at `height`, loaded once if it is not kept.
    pub(crate) fn get_or_load<E>(
        &self,
        height: Height,
        load: impl FnOnce() -> Result<Option<Arc<CommittedSquare>>, E>,
    ) -> Result<Option<Arc<CommittedSquare>>, E> {
        if let Some(square) = self.kept().get(&height) {
            return Ok(Some(square.clone()));
        }
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(square) = self.kept().get(&height) {
            return Ok(Some(square.clone()));
        }
        let loaded = load()?;
        if let Some(square) = &loaded {
            self.insert(height, square.clone());
        }
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]
    use super::*;
    use erasure::{Index, OriginalSquare, Width, transaction_blob};

    #[test]
    fn a_square_that_makes_place_is_given_back() {
        let (list, squares) = (transaction_blob(&[]), Squares::default());
        let placement = Index::place(&list, Vec::new(), Width::MIN).unwrap();
        let square = OriginalSquare::build(&placement, &list, &[]).unwrap().commit(placement.index);
        let square = || Arc::new(square.clone());
        for height in 0..CACHE_SQUARES.get() as Height {
            assert!(squares.insert(height, square()).is_empty());
        }
        assert!(squares.get_or_load(0, || Ok::<_, ()>(None)).unwrap().is_some());
        let [gone] = &squares.insert(1 << 40, square())[..] else { panic!("one makes place") };
        assert_eq!(Arc::strong_count(gone), 1);
        assert!(squares.get_or_load(1, || Ok::<_, ()>(None)).unwrap().is_none());
        assert_eq!(squares.insert(0, square()).len(), 1);
    }
}
