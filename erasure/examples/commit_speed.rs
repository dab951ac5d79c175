//! How fast squares are extended and committed, in megabytes of original data a second: on one thread, or as
//! many as the argument says.
#![allow(clippy::unwrap_used, reason = "a measurement that fails may stop")]

use std::{num::NonZeroUsize, time::Instant};

use erasure::{
    BlobMeta, Committer, Index, Namespace, OriginalSquare, SHARE_BYTES, Width, blob_commitment,
    transaction_blob,
};

fn main() {
    let threads = std::env::args().nth(1).map_or(NonZeroUsize::MIN, |threads| threads.parse().unwrap());
    let mut committer = Committer::new(threads);
    for k in [32, 64, 128, 256, 512] {
        let width = Width::new(k).unwrap();
        let bytes: Vec<u8> =
            (0..(width.shares() - 1) * SHARE_BYTES).map(|at| ((at * 2_654_435_761) >> 13) as u8).collect();
        let namespace = Namespace::from_user_id([1; 10]);
        let list = transaction_blob(&[]);
        let meta = BlobMeta {
            namespace,
            commitment: blob_commitment(&namespace, &bytes),
            len: bytes.len() as u64,
            signer: [0; 20],
            foreign: vec![],
        };
        let placement = Index::place(&list, vec![meta], width).unwrap();
        let mut seconds: Vec<f64> = (0..15)
            .map(|_| {
                let square = OriginalSquare::build(&placement, &list, &[&bytes]).unwrap();
                let start = Instant::now();
                let committed = committer.commit(&square, placement.index.clone());
                std::hint::black_box(committed.data_root());
                let seconds = start.elapsed().as_secs_f64();
                committer.recycle(committed);
                seconds
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
        let megabytes = bytes.len() as f64 / 1e6;
        println!(
            "commit/k={k}: {megabytes:.1} MB, best {:.1} ms, median {:.1} ms, {:.0} MB/s",
            best * 1e3,
            median * 1e3,
            megabytes / best
        );
    }
}
