//! BLAKE3 of many inputs of one length side by side, a lane of a SIMD register for each.
//!
//! The `blake3` crate has this, but hides it from its documentation: its version is pinned, only this
//! module uses it, and its tests hold it to the public API. Where the crate has a single lane, the
//! public API is used.
//!
//! An input of at most 1,024 bytes is one chunk whose last block is the root (BLAKE3 specification,
//! sections 2.1 and 2.4): with whole blocks of 64 bytes, every input runs the same compressions, and
//! nothing but its bytes differs.

use std::sync::LazyLock;

use blake3::{IncrementCounter, platform::Platform};

use crate::{Cell, Digest};

/// BLAKE3 specification, table 1: the key words of the plain hash mode.
const IV: [u32; 8] =
    [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];

/// BLAKE3 specification, table 3.
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;

/// Inputs that are handed over at a time: the most lanes there are.
const BATCH: usize = 16;

static PLATFORM: LazyLock<Platform> = LazyLock::new(Platform::detect);

/// The hash of each input, in order; as many outputs as inputs. `N`: whole blocks of one chunk.
fn hash<'a, const N: usize>(
    platform: Platform,
    mut inputs: impl Iterator<Item = &'a [u8; N]>,
    out: &mut [Digest],
) {
    const { assert!(N > 0 && N.is_multiple_of(64) && N <= 1024) };
    if platform.simd_degree() == 1 {
        return out.iter_mut().zip(inputs).for_each(|(out, input)| *out = *blake3::hash(input).as_bytes());
    }
    for out in out.chunks_mut(BATCH) {
        let mut batch = [&[0; N]; BATCH];
        let batch = &mut batch[..out.len()];
        batch.iter_mut().zip(&mut inputs).for_each(|(slot, input)| *slot = input);
        let out = out.as_flattened_mut();
        let (start, end) = (CHUNK_START, CHUNK_END | ROOT);
        platform.hash_many(batch, &IV, 0, IncrementCounter::No, 0, start, end, out);
    }
}

/// The leaf of each cell.
pub(crate) fn leaves<'a>(cells: impl IntoIterator<Item = &'a Cell>, out: &mut [Digest]) {
    hash(*PLATFORM, cells.into_iter(), out);
}

/// The inner node over each pair of nodes; half as many outputs as nodes.
pub(crate) fn parents(nodes: &[Digest], out: &mut [Digest]) {
    debug_assert_eq!(nodes.len(), 2 * out.len());
    hash(*PLATFORM, nodes.as_flattened().as_chunks::<64>().0.iter(), out);
}

/// The root of the complete tree over leaves that are a power of two in number.
pub(crate) fn root(mut leaves: Vec<Digest>) -> Digest {
    debug_assert!(leaves.len().is_power_of_two());
    let (mut size, mut next) = (leaves.len(), vec![[0; 32]; leaves.len() / 2]);
    while size > 1 {
        parents(&leaves[..size], &mut next[..size / 2]);
        std::mem::swap(&mut leaves, &mut next);
        size /= 2;
    }
    leaves[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SHARE_BYTES,
        commitment::{inner, leaf},
        tree::Tree,
    };

    #[test]
    fn many_at_once_equal_the_public_api_one_by_one() {
        let mut cells = vec![[0; SHARE_BYTES]; 67];
        blake3::Hasher::new().finalize_xof().fill(cells.as_flattened_mut());
        for count in 0..=cells.len() {
            let mut digests = vec![[0; 32]; count];
            leaves(&cells[..count], &mut digests);
            assert!(digests.iter().zip(&cells).all(|(digest, cell)| *digest == leaf(cell)));
            if count.is_power_of_two() {
                assert_eq!(root(digests.clone()), Tree::new(digests.clone(), inner).root());
            }
            digests.truncate(count / 2 * 2);
            let mut nodes = vec![[0; 32]; count / 2];
            parents(&digests, &mut nodes);
            assert!(
                nodes.iter().zip(digests.chunks(2)).all(|(node, pair)| *node == inner(&pair[0], &pair[1]))
            );
        }
    }
    #[test]
    fn a_single_lane_gives_the_same() {
        assert_eq!(Platform::Portable.simd_degree(), 1);
        let cells: Vec<Cell> = (0..BATCH as u8 + 1).map(|i| [i; SHARE_BYTES]).collect();
        let (mut lanes, mut single) = (vec![[0; 32]; cells.len()], vec![[0; 32]; cells.len()]);
        hash(*PLATFORM, cells.iter(), &mut lanes);
        hash(Platform::Portable, cells.iter(), &mut single);
        assert_eq!(lanes, single);
    }
}
