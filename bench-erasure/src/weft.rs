//! Weft's own candidates: commit on one thread and on two, and repair, in kept buffers and in new ones.

use std::{num::NonZeroUsize, rc::Rc};

use anyhow::{Context, Result};
use erasure::{
    Axis, BlobMeta, Committer, Coordinates, Index, Namespace, OriginalSquare, Repair, SHARE_BYTES,
    VerifiedSample, Width, blob_commitment, transaction_blob,
};

use crate::{Candidate, time};

/// The widest square that is repaired here: its samples take twice its memory.
const MAX_REPAIRED: usize = 128;

fn index(width: Width) -> Result<Index> {
    let namespace = Namespace::from_user_id([1; 10]);
    let bytes = vec![1; (width.shares() - 1) * SHARE_BYTES];
    let meta = BlobMeta {
        namespace,
        commitment: blob_commitment(&namespace, &bytes),
        len: bytes.len() as u64,
        signer: [0; 20],
        foreign: vec![],
    };
    Ok(Index::place(&transaction_blob(&[]), vec![meta], width)?.index)
}

pub(crate) fn candidates(width: Width, shares: &[u8]) -> Result<Vec<Candidate>> {
    let index = index(width)?;
    let square = Rc::new(OriginalSquare::from_shares(width, shares)?);
    let commit = |threads: usize| {
        let (square, index) = (Rc::clone(&square), index.clone());
        let mut committer = Committer::new(NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN));
        let run = move || {
            let (seconds, committed) = time(|| committer.commit(&square, index.clone()));
            committer.recycle(committed);
            Ok(seconds)
        };
        Candidate { name: "weft", operation: "commit", threads, run: Box::new(run) }
    };
    let mut candidates = vec![commit(1), commit(2), commit_anew(&square, &index)];
    if width.get() <= MAX_REPAIRED {
        candidates.extend(repairs(&square, &index)?);
    }
    Ok(candidates)
}

/// A commit in new buffers, whose pages the system has to find first.
fn commit_anew(square: &Rc<OriginalSquare>, index: &Index) -> Candidate {
    let (square, index) = (Rc::clone(square), index.clone());
    let run = move || {
        let (seconds, _) = time(|| {
            let mut committer = Committer::new(NonZeroUsize::MIN);
            (committer.commit(&square, index.clone()), committer)
        });
        Ok(seconds)
    };
    Candidate { name: "weft", operation: "commit, new buffers", threads: 1, run: Box::new(run) }
}

/// Repair of a square of which 40 % of the cells, drawn at random, are missing: in buffers that are kept from
/// one to the next, and in new ones, whose pages the system has to find first.
fn repairs(square: &OriginalSquare, index: &Index) -> Result<[Candidate; 2]> {
    let committed = square.clone().commit(index.clone());
    let (n, data_root, parts) = (square.width().extended(), committed.data_root(), committed.parts());
    let mut draws = blake3::Hasher::new().update(b"withheld").finalize_xof();
    let mut samples: Vec<VerifiedSample> = Vec::new();
    for position in 0..n * n {
        let mut draw = [0; 4];
        draws.fill(&mut draw);
        if u64::from(u32::from_be_bytes(draw)) * 10 >= 4 << 32 {
            let axis = if draw[3] & 1 == 0 { Axis::Row } else { Axis::Column };
            let at = Coordinates { row: (position / n) as u16, column: (position % n) as u16, axis };
            samples.push(committed.sample(at).context("a place of the square")?.verify(&data_root, at)?);
        }
    }
    let samples = Rc::new(samples);
    let candidate = |operation, run| Candidate { name: "weft", operation, threads: 1, run };
    let (mut committer, mut repair) = (Committer::new(NonZeroUsize::MIN), Repair::new(data_root, parts)?);
    let (held, index) = (Rc::clone(&samples), index.clone());
    let kept = move || {
        let (seconds, repaired) = time(|| {
            repair.restart(data_root, parts)?;
            held.iter().try_for_each(|sample| repair.add(sample))?;
            repair.finish_with(&mut committer)
        });
        committer.recycle(repaired?.commit(index.clone())?);
        Ok(seconds)
    };
    let new = move || {
        let (seconds, repaired) = time(|| {
            let mut repair = Repair::new(data_root, parts)?;
            samples.iter().try_for_each(|sample| repair.add(sample))?;
            repair.finish().map(|square| (square, repair))
        });
        repaired?;
        Ok(seconds)
    };
    Ok([candidate("repair 40 %", Box::new(kept)), candidate("repair 40 %, new buffers", Box::new(new))])
}
