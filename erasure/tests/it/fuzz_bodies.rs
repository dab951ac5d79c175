//! What the fuzz targets in `fuzz/` run, and `fuzz_run` a bounded number of times: each panics when
//! something is accepted that should not be.

use std::sync::LazyLock;

use erasure::{
    Axis, DataRootParts, Digest, EntryProof, ForeignKind, ForeignProof, FraudProof, Index, IndexEntry, Line,
    LineSamples, Namespace, NamespaceProof, RangeProof, Repair, RepairError, Sample, transaction_list,
};

use fuzzing::edited;

use crate::{
    accusations::{accusations, proofs, smallest},
    adversary::{Proposal, Rules, Wrong},
    support::{Block, at, everywhere, namespace, noise},
};

/// Decodes `data` as everything that has an encoding; what decodes encodes to `data`.
pub(crate) fn decoders(data: &[u8]) {
    macro_rules! canonical {
        ($($type:ty),*) => {$(
            if let Ok(value) = <$type>::decode(data) {
                assert_eq!(value.encode(), data, stringify!($type));
            }
        )*};
    }
    canonical!(Sample, LineSamples, Line, RangeProof, EntryProof, ForeignProof, NamespaceProof);
    canonical!(Index, IndexEntry, DataRootParts, FraudProof);
    if let Ok(namespace) = Namespace::from_bytes(data) {
        assert_eq!(namespace.as_bytes(), data);
    }
    let _ = transaction_list(data);
}

/// Bytes and a check of them, which must hold for these bytes alone.
type Checked = (Vec<u8>, Box<dyn Fn(&[u8]) -> bool + Send + Sync>);

/// Every kind of proof of an honest block.
static HONEST: LazyLock<Vec<Checked>> = LazyLock::new(|| {
    let block = Block::small();
    let square = block.commit();
    let (index, parts, root) = (square.index().clone(), square.parts(), square.data_root());
    let mut honest: Vec<Checked> = Vec::new();
    for place in [at(1, 3, Axis::Row), at(6, 1, Axis::Column)] {
        let check = move |b: &[u8]| Sample::decode(b).is_ok_and(|sample| sample.verify(&root, place).is_ok());
        honest.push((square.sample(place).unwrap().encode(), Box::new(check)));
    }
    let places = [0, 1, 6];
    let check = move |b: &[u8]| {
        LineSamples::decode(b).is_ok_and(|samples| samples.verify(&root, Axis::Column, 3, &places).is_ok())
    };
    honest.push((square.line_samples(Axis::Column, 3, &places).unwrap().encode(), Box::new(check)));
    let check = move |b: &[u8]| Line::decode(b).is_ok_and(|line| line.verify(&root, Axis::Row, 5).is_ok());
    honest.push((square.line(Axis::Row, 5).unwrap().encode(), Box::new(check)));
    let check = move |b: &[u8]| RangeProof::decode(b).is_ok_and(|range| range.verify(&root, 3..6).is_ok());
    honest.push((square.range(3..6).unwrap().encode(), Box::new(check)));
    let entry = index.prove_entry(4, parts).unwrap();
    let check = move |b: &[u8]| EntryProof::decode(b).is_ok_and(|entry| entry.verify(&root).is_ok());
    honest.push((entry.encode(), Box::new(check)));
    let (kind, value) = (ForeignKind::Keccak256, erasure::keccak256(&block.blobs[0].1));
    let foreign = ForeignProof { entry_proof: entry, kind, value };
    let check = move |b: &[u8]| ForeignProof::decode(b).is_ok_and(|f| f.verify(&root, kind, &value).is_ok());
    honest.push((foreign.encode(), Box::new(check)));
    for id in [15, 20] {
        let check = move |b: &[u8]| {
            NamespaceProof::decode(b).is_ok_and(|proof| proof.verify(&root, namespace(id)).is_ok())
        };
        honest.push((index.prove_namespace(namespace(id), parts).encode(), Box::new(check)));
    }
    let check = move |b: &[u8]| Index::decode(b).is_ok_and(|index| index.verify(parts, &root).is_ok());
    honest.push((index.encode(), Box::new(check)));
    for (_, proof, root) in proofs() {
        honest.push((proof.encode(), Box::new(move |b| proves_fraud(b, &root))));
    }
    assert!(honest.iter().all(|(bytes, check)| check(bytes)));
    honest
});

fn proves_fraud(bytes: &[u8], root: &Digest) -> bool {
    FraudProof::decode(bytes).is_ok_and(|proof| proof.verify(root, &Rules).is_ok())
}

/// Verifies an honest proof as changed by `data`, which only an unchanged one survives, and `data` itself.
pub(crate) fn verifiers(data: &[u8]) {
    let Some((chosen, script)) = data.split_first() else { return };
    let (honest, check) = &HONEST[usize::from(*chosen) % HONEST.len()];
    let bytes = edited(honest, honest, script);
    assert!(bytes == *honest || !check(&bytes), "proof {chosen} after {script:?}");
    assert!(data == honest || !check(data));
}

/// Accusations of a valid block, and its data root.
static ACCUSED: LazyLock<(Vec<Vec<u8>>, Digest)> = LazyLock::new(|| {
    let others = proofs().into_iter().map(|(_, proof, _)| proof.encode());
    let made = accusations(&smallest()).into_iter().map(|(_, bytes)| bytes).chain(others).collect();
    (made, smallest().commit().data_root())
});

/// Accuses a valid block as `data` tells: nothing comes of it.
pub(crate) fn frauds(data: &[u8]) {
    let (accusations, root) = &*ACCUSED;
    assert!(!proves_fraud(data, root));
    if let Some((chosen, script)) = data.split_first() {
        let accusation = &accusations[usize::from(*chosen) % accusations.len()];
        assert!(
            !proves_fraud(&edited(accusation, accusation, script), root),
            "accusation {chosen} after {script:?}"
        );
    }
}

/// Commits to a square that `data` spoils, and repairs it from cells that come one by one: it ends in the
/// square exactly when it is right, in a proof exactly when it is not, and in nothing else once every
/// cell has come through both of its lines.
pub(crate) fn repair(data: &[u8]) {
    let Some(([choice, seed], script)) = data.split_first_chunk() else { return };
    let proposal = if choice & 1 == 0 { smallest() } else { Proposal::small() };
    let honest = proposal.grid();
    let wrong = Wrong::new(&proposal, |grid| {
        let n = 2 * grid.k;
        if choice >> 1 & 3 == 3 {
            for (row, column) in (0..n).flat_map(|row| (0..n).map(move |column| (row, column))) {
                let under = if (row + column) % 2 == 0 { &mut grid.by_row } else { &mut grid.by_column };
                under[row][column] = noise(512, (row * n + column) as u64);
            }
        }
        for [row, column, byte, way] in script.as_chunks().0 {
            let (row, column, byte) = (usize::from(*row) % n, usize::from(*column) % n, usize::from(*byte));
            grid.by_row[row][column][byte] ^= way & 0x11;
            grid.by_column[row][column][byte] ^= way & 0x12;
        }
    });
    let right = wrong.grid.by_row == honest.by_row && wrong.grid.by_column == honest.by_column;
    let (root, mut places) = (wrong.data_root(), everywhere(wrong.parts.width).collect::<Vec<_>>());
    places.sort_by_cached_key(|at| {
        noise(
            8,
            u64::from(*seed) << 40 | u64::from(at.row) << 20 | u64::from(at.column) << 1 | at.axis as u64,
        )
    });
    let mut repair = Repair::new(root, wrong.parts).unwrap();
    let every = 1 + usize::from(choice >> 3);
    for (i, place) in places.iter().enumerate() {
        let added = repair.add(&wrong.sample(*place).verify(&root, *place).unwrap());
        let last = i + 1 == places.len();
        let outcome = match added {
            Ok(()) if last || i % every == 0 => {
                repair.finish().map(|square| assert_eq!(square.parts(), wrong.parts))
            }
            added => added.and(Err(RepairError::NotEnough { missing: 0, cells: 0 })),
        };
        match outcome {
            Ok(()) => return assert!(right),
            Err(RepairError::Inconsistent(found)) => {
                let proof = FraudProof::try_from(&*found).unwrap();
                assert!(proves_fraud(&proof.encode(), &root) && !right);
                return;
            }
            Err(RepairError::NotEnough { .. }) => assert!(!last, "every cell is here"),
            Err(error) => panic!("{error}"),
        }
    }
}
