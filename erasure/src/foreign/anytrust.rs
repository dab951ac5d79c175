//! AnyTrust's tree hash, by which Arbitrum Nitro names a batch (its package `dastree`).
//!
//! ```text
//! leaf    keccak256(0xfe ‖ keccak256(up to 64 KiB))
//! inner   keccak256(0xff ‖ left ‖ right ‖ bytes below: u32 BE)      a last node without a partner moves up
//! value   the root with its first bit flipped
//! ```

use super::{fold, keccak256};
use crate::Digest;

/// Bytes under one leaf.
const BIN_BYTES: usize = 64 * 1024;
const LEAF: u8 = 0xfe;
const INNER: u8 = 0xff;

/// AnyTrust's tree hash of the bytes: the value of kind `anytrust`.
#[must_use]
pub fn anytrust_hash(bytes: &[u8]) -> Digest {
    let leaf = |bin: &[u8]| keccak256(&[&[LEAF], &keccak256(bin)[..]].concat());
    let bins = bytes.chunks(BIN_BYTES).map(|bin| (leaf(bin), bin.len() as u32));
    let (mut root, _) = fold(bins.collect(), |(left, a), (right, b)| {
        let below = a.saturating_add(b);
        (keccak256(&[&[INNER], &left[..], &right, &below.to_be_bytes()].concat()), below)
    })
    .unwrap_or_else(|| (leaf(&[]), 0));
    root[0] ^= 0x80;
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with an implementation in another language, checked on the keyset in `vectors/`.
    #[test]
    fn zeroes_have_the_known_values() {
        let known = [
            (0, "4d2717b64170dc19cfef3dedd2076c9f7457d4f534a998dd8236ffeb40214bf5"),
            (1, "40628f1de26b23cdfaf3c57e7897d9dc1d4cdaccf2ccad3f1c33fa3e8bbf0efe"),
            (65_536, "544020fabfe2f2def2f3a41bc438ec42a88e156efc1776f2f15e11462ae594e3"),
            (65_537, "2249403bdf5ae9988aea6aff5812050a6a4b48f0ddbde03b9329f942d426205d"),
            (4 * 65_536, "ac92637a60c8d8a32b12280686123a6e1d4e8f9e35d698f96659732768e6c8f8"),
            (5 * 65_536, "704b3c8862cc27b6f7ba2e1c3a19e14ea55468f8c90a981493ecc874d3e7392b"),
            (6 * 65_536, "4b534ebc3c879f02cb73e5837398f5c55fac87eb952870cc53c3591881a3ca74"),
            (7 * 65_536 + 3, "11903908933865fc1a9c890b3fa8acf0fbd68eb9eb82cebe5715f499745af5b9"),
        ];
        for (len, expected) in known {
            assert_eq!(hex::encode(anytrust_hash(&vec![0; len])), expected, "{len}");
        }
    }
}
