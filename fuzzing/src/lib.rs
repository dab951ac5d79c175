//! What the fuzz targets of all crates share: inputs made of valid ones as a script tells, and a measure of
//! allocations.
//!
//! ```text
//!  libFuzzer ─ bytes ─┐
//!                     ├─▶ choose a seed, edit it by the rest ─▶ body: panics when something does not hold
//!  run ─ noise ───────┘
//! ```
//!
//! A body takes any bytes. `fuzz/` hands it to libFuzzer; the tests of the crate that it belongs to [`run`] it a
//! bounded number of times, on the same bytes each time.

mod measured;

pub use measured::{Measured, largest_allocation};

/// Bytes that follow from `seed`.
#[must_use]
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    // SplitMix64.
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()
    });
    words.flatten().take(len).collect()
}

/// Gives `body` noise, `runs` times and at most `longest` bytes; so many times as often as the environment's
/// `FUZZ_TIMES` says.
pub fn run(body: impl Fn(&[u8]), runs: u64, longest: usize) {
    let times = std::env::var("FUZZ_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    for seed in 0..runs.saturating_mul(times) {
        let length = seed as usize * 31 % (longest + 1);
        body(&noise(length, seed));
    }
}

/// What lengths are replaced by: nothing, the most, and what is just below or above a power of two.
const LENGTHS: [u32; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, u32::MAX];

/// `bytes` with as many changes as `script` tells: four bytes each, for a place, a way and a value. `other` is what
/// pieces are taken from.
#[must_use]
pub fn edited(bytes: &[u8], other: &[u8], script: &[u8]) -> Vec<u8> {
    let mut edited = bytes.to_vec();
    for [high, low, way, value] in script.as_chunks().0 {
        let (place, amount) = (usize::from(u16::from_be_bytes([*high, *low])), usize::from(*value));
        let at = place % (edited.len() + 1);
        let end = edited.len().min(at + amount);
        match way % 8 {
            0 | 1 if at < edited.len() => edited[at] ^= value,
            2 => edited.insert(at, *value),
            3 => drop(edited.drain(at..end)),
            4 => edited.truncate(at.max(1)),
            5 => {
                let piece: Vec<_> =
                    other.iter().skip(place % (other.len() + 1)).take(amount).copied().collect();
                edited.splice(at..end, piece);
            }
            6 => {
                let piece = edited[at..end].to_vec();
                edited.splice(at..at, piece);
            }
            _ => {
                let length = LENGTHS[amount % LENGTHS.len()];
                let length = if way & 8 == 0 { length.to_be_bytes() } else { length.to_le_bytes() };
                edited.iter_mut().skip(at).zip(length).for_each(|(byte, new)| *byte = new);
            }
        }
    }
    edited
}

/// The seed that `data` chooses by its first byte, and the same as changed by the rest, pieces taken from the seed that
/// its second byte chooses; none of less than two bytes.
#[must_use]
pub fn chosen<'a, T: AsRef<[u8]>>(seeds: &'a [T], data: &[u8]) -> Option<(&'a T, Vec<u8>)> {
    let ([first, second], script) = data.split_first_chunk()?;
    let seed = |choice: &u8| seeds.get(usize::from(*choice) % seeds.len().max(1));
    let (seed, other) = (seed(first)?, seed(second)?);
    Some((seed, edited(seed.as_ref(), other.as_ref(), script)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use std::collections::BTreeSet;

    use super::*;

    #[global_allocator]
    static ALLOCATOR: Measured = Measured;

    #[test]
    fn the_same_script_makes_the_same_bytes_and_scripts_make_many() {
        let seeds = [b"a seed of some length".to_vec(), b"and another".to_vec()];
        let mut made = BTreeSet::new();
        for at in 0..1_000 {
            let script = noise(2 + at as usize % 12, at);
            let (_, edited) = chosen(&seeds, &script).unwrap();
            assert_eq!(chosen(&seeds, &script).unwrap().1, edited);
            made.insert(edited);
        }
        assert!(made.len() > 400, "{}", made.len());
        assert_eq!(chosen(&seeds, &[1]), None);
        assert_eq!(chosen::<Vec<u8>>(&[], &[1, 2]), None);
        assert_eq!(chosen(&seeds, &[0, 1]).unwrap().1, seeds[0]);
    }

    #[test]
    fn the_largest_allocation_is_measured_on_its_own_thread() {
        let (kept, bytes) = largest_allocation(|| {
            std::thread::scope(|scope| scope.spawn(|| vec![0u8; 1 << 22].len()).join().unwrap());
            let mut grown = vec![1u8; 3_000];
            grown.reserve_exact(7_000);
            grown
        });
        assert!((10_000..1 << 20).contains(&bytes) && kept.len() == 3_000, "{bytes}");
        assert!(largest_allocation(|| ()).1 == 0);
    }
}
