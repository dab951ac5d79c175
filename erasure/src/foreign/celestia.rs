//! Celestia's share commitment, share version 0, subtree root threshold 64 (celestia-app's "blob share
//! commitment rules" and ADR 13).
//!
//! ```text
//! share    namespace ‖ info: u8 ‖ [len: u32 BE, in the first] ‖ data, padded to 512 bytes
//! leaf     SHA-256(0x00 ‖ namespace ‖ share)
//! inner    SHA-256(0x01 ‖ left ‖ right)              a node: namespace ‖ namespace ‖ hash
//! value    RFC 6962 tree with SHA-256 over the roots of the subtrees
//! ```
//!
//! The shares fill subtrees of the width that keeps their number at 64 or below, as far as the smallest
//! square for them is that wide; those left over fill ever smaller ones.

use sha2::{Digest as _, Sha256};

use super::{fold, sha256};
use crate::{Digest, Namespace};

const SHARE_BYTES: usize = 512;
const FIRST_SHARE_DATA: usize = SHARE_BYTES - Namespace::BYTES - 1 - 4;
const SHARE_DATA: usize = SHARE_BYTES - Namespace::BYTES - 1;
/// Share version 0 in the upper seven bits of the info byte; the lowest marks a blob's first share.
const INFO_FIRST: u8 = 1;
const INFO_REST: u8 = 0;
/// `SubtreeRootThreshold`.
const SUBTREE_ROOTS: usize = 64;
const LEAF: u8 = 0;
const INNER: u8 = 1;

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// Celestia's share commitment to a blob: the value of kind `celestia`.
#[must_use]
pub fn celestia_commitment(namespace: &Namespace, bytes: &[u8]) -> Digest {
    let namespace = namespace.as_bytes();
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let leaf = |info: u8, len: &[u8], data: &[u8]| {
        let padding = [0; SHARE_DATA];
        let padding = &padding[..SHARE_DATA - len.len() - data.len()];
        hash(&[&[LEAF], namespace, namespace, &[info], len, data, padding])
    };
    let (first, rest) = bytes.split_at(bytes.len().min(FIRST_SHARE_DATA));
    let first = (!first.is_empty()).then(|| leaf(INFO_FIRST, &len, first));
    let leaves: Vec<Digest> =
        first.into_iter().chain(rest.chunks(SHARE_DATA).map(|data| leaf(INFO_REST, &[], data))).collect();

    let node = |hash: Digest| [namespace, namespace, &hash[..]].concat();
    let inner = |left, right| hash(&[&[INNER], &node(left), &node(right)]);
    let roots = subtrees(&leaves).map(|subtree| fold(subtree.to_vec(), inner));
    let roots = roots.flatten().map(|root| hash(&[&[LEAF], &node(root)])).collect();
    fold(roots, |left, right| hash(&[&[INNER], &left, &right])).unwrap_or_else(|| sha256(&[]))
}

/// Cuts the shares into subtrees.
fn subtrees(mut leaves: &[Digest]) -> impl Iterator<Item = &[Digest]> {
    let count = leaves.len();
    let square = count.isqrt() + usize::from(count.isqrt().pow(2) < count);
    let widest = count.div_ceil(SUBTREE_ROOTS).next_power_of_two().min(square.next_power_of_two());
    std::iter::from_fn(move || {
        let width = widest.min(1 << leaves.len().checked_ilog2()?);
        let (subtree, rest) = leaves.split_at(width);
        leaves = rest;
        Some(subtree)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `celestia-types` 1.3, `Commitment::from_blob`: user id ten times the first number, and as
    /// many bytes of BLAKE3's output for their number as the second says.
    #[test]
    fn commitments_are_celestias() {
        let known = [
            (1, 1, "458ca2a45ec10bccec0a3b4b24d6e7b8879e3d524058dcfd2c2d1797bd7cc7e7"),
            (1, 2, "d566ff6c206f96aa0219f29d98038c9e9e92531acd5d151560d0caedd332d372"),
            (2, 477, "bf50cc8276b01a13baafe19ac1536b5da7ffa9601a91de65dce5ca1d9cd51deb"),
            (2, 478, "20e9777747c7c2fc2a22faf8941d89cd6017d9b412c012c6894b8cf6b1f2074f"),
            (2, 479, "a12adb2bd0169b956cf8b2470d52db0446cfb3dcbcb8d7fb24186f45c54caf3c"),
            (3, 960, "8d3aa5480ff17027864377241ffaba444dc2d03b7f4549b712b8a604362107cd"),
            (3, 961, "ff95b40b7a6c5fc9485e98027c62690b0fd9b1ed208d73e6ca0467629cd7b0b6"),
            (4, 1443, "180bab646a24ec1003246a8a982207c320db940f1258a0ec7b55c4cc4030fbbf"),
            (5, 5000, "420734b1c286b40a287859b99771f3b18fe0811e5240fe82cbfb870eac44d183"),
            (6, 30848, "34a0266c40247d244382b6c4b758226bf617c3ea3c6266833454bac417966676"),
            (6, 30900, "83f6585c3326d9e85359ecb5a61c0eeb1c7d1c852f190f1f8293e8b79f7a19cb"),
            (7, 31400, "cd3835c8cddfd41e19ba4ba6b077a228f503c1e82cc37959c1ade68a0e7b18c5"),
            (7, 62000, "afaaef716422b10f1dc3026c2949d4c64d755e1683b228fabc730097159dbe33"),
            (8, 100000, "85a540cec0e1d7850f0b8d2a5763723c246c5dd8053ea6d85ba62753b7bcafb6"),
            (9, 300000, "dbe8f54464362f5b026a0346f41f0e1c69b8d77249dbd90db5cea6b72fe1155b"),
            (11, 131072, "1adcfa3ecb6aacb5c9ecd5054ffbcc3a2e5f3b172455dd5be4022c152fd3c80d"),
            (12, 4_194_304, "362c3825dfec9e68bff554bbb6f0d8c01aff4f4d6dd75701c5b9ca59f55cb9e7"),
        ];
        for (id, len, expected) in known {
            let mut bytes = vec![0; len];
            blake3::Hasher::new().update(&(len as u64).to_be_bytes()).finalize_xof().fill(&mut bytes);
            let namespace = Namespace::from_user_id([id; 10]);
            assert_eq!(hex::encode(celestia_commitment(&namespace, &bytes)), expected, "{len}");
        }
    }

    #[test]
    fn subtrees_are_as_wide_as_the_rules_say() {
        let widths = |count| subtrees(&vec![[0; 32]; count]).map(<[Digest]>::len).collect::<Vec<_>>();
        assert_eq!(widths(0), [0; 0]);
        assert_eq!(widths(3), [1; 3]);
        assert_eq!(widths(64), [1; 64]);
        assert_eq!(widths(67), [[2; 33].as_slice(), &[1]].concat());
        assert_eq!(widths(64 * 3 + 3), [[4; 48].as_slice(), &[2, 1]].concat());
    }
}
