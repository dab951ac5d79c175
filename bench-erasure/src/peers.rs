//! The peers, as their users call them.

use anyhow::{Context, Result};
use celestia_types::{DataAvailabilityHeader, ExtendedDataSquare};
use erasure::{SHARE_BYTES, Width};
use reed_solomon_erasure::galois_8::ReedSolomon;
use reed_solomon_simd::ReedSolomonEncoder;

use crate::{Candidate, time};

/// GF(2^8) has 256 points: lines of 2 × 128 cells.
const MAX_GF8: usize = 128;

pub(crate) fn candidates(width: Width, shares: &[u8]) -> Result<Vec<Candidate>> {
    let shares: Vec<Vec<u8>> = shares.chunks_exact(SHARE_BYTES).map(<[u8]>::to_vec).collect();
    let mut candidates = vec![simd(width, &shares)?];
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
