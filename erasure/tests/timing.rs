#![allow(missing_docs, clippy::unwrap_used)]
use erasure::*;
use std::time::Instant;
#[test]
fn timing() {
    for k in [128usize] {
        let mut bytes = vec![0; k * k * 512 - 1024];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        let ns = Namespace::from_user_id([1; 10]);
        let list = transaction_blob(b"x");
        let t = Instant::now();
        let c = blob_commitment(&ns, &bytes);
        let meta = BlobMeta {
            namespace: ns,
            commitment: c,
            len: bytes.len() as u64,
            signer: [0; 20],
            foreign: vec![],
        };
        println!("k={k} blob_commitment {:?}", t.elapsed());
        let p = Index::place(&list, vec![meta], Width::MAX).unwrap();
        let sq = OriginalSquare::build(&p, &list, &[&bytes]).unwrap();
        for _ in 0..3 {
            let s = sq.clone();
            let t = Instant::now();
            let c = s.commit(p.index.clone());
            println!("k={k} commit {:?}", t.elapsed());
            drop(c);
        }
        let c = sq.commit(p.index.clone());
        let root = c.data_root();
        let n = 2 * k;
        let at = Coordinates {
            row: 1,
            column: 2,
            axis: Axis::Column,
        };
        let t = Instant::now();
        for _ in 0..1000 {
            std::hint::black_box(c.sample(at).unwrap());
        }
        println!("k={k} sample {:?}", t.elapsed() / 1000);
        let s = c.sample(at).unwrap();
        let t = Instant::now();
        for _ in 0..1000 {
            s.clone().verify(&root, at).unwrap();
        }
        println!("k={k} verify sample {:?}", t.elapsed() / 1000);
        let l = c.line(Axis::Row, 3).unwrap();
        let t = Instant::now();
        for _ in 0..100 {
            l.clone().verify(&root, Axis::Row, 3).unwrap();
        }
        println!("k={k} verify line {:?}", t.elapsed() / 100);
        let mut r = Repair::new(root, c.parts()).unwrap();
        let mut x = 1u64;
        for i in 0..n * n {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            if (x >> 33) % 100 < 60 && k <= 128 {
                let at = Coordinates {
                    row: (i / n) as u16,
                    column: (i % n) as u16,
                    axis: Axis::Row,
                };
                r.add(&c.sample(at).unwrap().verify(&root, at).unwrap())
                    .unwrap();
            }
        }
        let t = Instant::now();
        if k <= 128 {
            r.finish().unwrap();
        }
        println!("k={k} repair 40% missing {:?}", t.elapsed());
    }
}
