//! The peers, as their users call them.

use std::num::NonZeroU16;

use anyhow::{Context, Result};
use celestia_types::{DataAvailabilityHeader, ExtendedDataSquare};
use commonware_coding::{Config, ReedSolomon as CommonwareCode, Scheme};
use commonware_cryptography::Blake3;
use commonware_parallel::Sequential;
use erasure::{SHARE_BYTES, Width};
use reed_solomon_erasure::galois_8::ReedSolomon;
use reed_solomon_simd::ReedSolomonEncoder;

use crate::{Candidate, time};

/// GF(2^8) has 256 points: lines of 2 × 128 cells.
const MAX_GF8: usize = 128;

pub(crate) fn candidates(width: Width, shares: &[u8]) -> Result<Vec<Candidate>> {
    let line = one_line(width, shares)?;
    let shares: Vec<Vec<u8>> = shares.chunks_exact(SHARE_BYTES).map(<[u8]>::to_vec).collect();
    let mut candidates = vec![simd(width, &shares)?, line];
    if width.get() <= MAX_GF8 {
        candidates.push(celestia(&shares));
        candidates.push(erasure_crate(width, &shares)?);
    }
    Ok(candidates)
}

fn celestia(shares: &[Vec<u8>]) -> Candidate {
    let shares = shares.to_vec();
    let run = move || {
        let shares = shares.clone();
        let (seconds, header) = time(|| {
            let square = ExtendedDataSquare::from_ods(shares)?;
            Ok::<_, celestia_types::Error>((DataAvailabilityHeader::from_eds(&square), square))
        });
        header.context("celestia-types")?;
        Ok(seconds)
    };
    Candidate { name: "celestia-types", operation: "commit", threads: 1, run: Box::new(run) }
}

/// Shards in rows, extended by an encoder of one line: rows first, then all columns.
fn extend(
    k: usize,
    shares: &[Vec<u8>],
    mut parity: impl FnMut(&[&[u8]]) -> Result<Vec<Vec<u8>>>,
) -> Result<Vec<Vec<u8>>> {
    let mut cells = Vec::with_capacity(4 * k * k);
    for row in shares.chunks_exact(k) {
        let line: Vec<&[u8]> = row.iter().map(Vec::as_slice).collect();
        let mut new = parity(&line)?;
        cells.extend_from_slice(row);
        cells.append(&mut new);
    }
    let mut below = vec![Vec::new(); 2 * k * k];
    for column in 0..2 * k {
        let line: Vec<&[u8]> = (0..k).map(|row| cells[row * 2 * k + column].as_slice()).collect();
        for (row, cell) in parity(&line)?.into_iter().enumerate() {
            below[row * 2 * k + column] = cell;
        }
    }
    cells.append(&mut below);
    Ok(cells)
}

/// As far as `commonware-coding` compares: the same bytes as one line of 4k shards, each as large as a row of
/// shares, of which any k restore them; with a BLAKE3 tree over the shards and the path of each. That is a square's
/// fourfold size and a commitment to all of it, in one dimension: a shard is k cells, and whether the line is a
/// codeword shows only to who decodes it. The release has no scheme of which it would show sooner.
fn one_line(width: Width, bytes: &[u8]) -> Result<Candidate> {
    let shards = |count: usize| NonZeroU16::new(u16::try_from(count)?).context("a width is not zero");
    let config = Config { minimum_shards: shards(width.get())?, extra_shards: shards(3 * width.get())? };
    let bytes = bytes.to_vec();
    let run = move || {
        let (seconds, line) =
            time(|| CommonwareCode::<Blake3>::encode(&config, bytes.as_slice(), &Sequential));
        line.context("commonware-coding")?;
        Ok(seconds)
    };
    Ok(Candidate { name: "commonware-coding", operation: "commit, one line", threads: 1, run: Box::new(run) })
}

fn simd(width: Width, shares: &[Vec<u8>]) -> Result<Candidate> {
    let (k, shares) = (width.get(), shares.to_vec());
    let mut encoder = ReedSolomonEncoder::new(k, k, SHARE_BYTES)?;
    let run = move || {
        let (seconds, cells) = time(|| {
            extend(k, &shares, |line| {
                line.iter().try_for_each(|cell| encoder.add_original_shard(cell))?;
                Ok(encoder.encode()?.recovery_iter().map(<[u8]>::to_vec).collect())
            })
        });
        cells?;
        Ok(seconds)
    };
    Ok(Candidate { name: "reed-solomon-simd", operation: "extend only", threads: 1, run: Box::new(run) })
}

fn erasure_crate(width: Width, shares: &[Vec<u8>]) -> Result<Candidate> {
    let (k, shares) = (width.get(), shares.to_vec());
    let encoder = ReedSolomon::new(k, k)?;
    let run = move || {
        let (seconds, cells) = time(|| {
            extend(k, &shares, |line| {
                let mut parity = vec![vec![0; SHARE_BYTES]; k];
                encoder.encode_sep(line, &mut parity)?;
                Ok(parity)
            })
        });
        cells?;
        Ok(seconds)
    };
    Ok(Candidate { name: "reed-solomon-erasure", operation: "extend only", threads: 1, run: Box::new(run) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use celestia_types::{Commitment, nmt};
    use erasure::{Namespace, celestia_commitment};

    /// Shares of Celestia's hold 478 bytes of a blob, then 482; the widths of subtrees change past 64 shares.
    #[test]
    fn share_commitments_are_celestias() {
        let lengths = (1..20).chain((0..300).flat_map(|shares| 478 + 482 * shares..480 + 482 * shares));
        for len in lengths {
            let mut bytes = vec![0; len];
            blake3::Hasher::new().update(&len.to_be_bytes()).finalize_xof().fill(&mut bytes);
            let id = [len as u8 | 1; 10];
            let theirs = nmt::Namespace::new_v0(&id).unwrap();
            let theirs = Commitment::from_blob(theirs, &bytes, 0, None).unwrap();
            assert_eq!(
                &celestia_commitment(&Namespace::from_user_id(id), &bytes),
                theirs.hash(),
                "{len} bytes"
            );
        }
    }
}
