//! Hostile encodings: every changed byte is caught, nothing panics, nothing has two encodings.

use erasure::{
    Axis, DataRootParts, EntryProof, ForeignKind, ForeignProof, Index, IndexEntry, Line, LineSamples,
    NamespaceProof, RangeProof, Sample, keccak256,
};
use proptest::prelude::*;

use crate::support::{Block, at, namespace};

/// Decodes, checks that the encoding is the only one, and verifies. Whether all of that went well.
type Check = Box<dyn Fn(&[u8]) -> bool>;

macro_rules! check {
    ($type:ty, $verify:expr) => {
        Box::new(move |bytes: &[u8]| {
            <$type>::decode(bytes).is_ok_and(|value| {
                assert_eq!(value.encode(), bytes, "an encoding is canonical");
                let verify: &dyn Fn($type) -> bool = &$verify;
                verify(value)
            })
        }) as Check
    };
}

/// An honest encoding of everything that has one, with its check.
fn encodings() -> Vec<(&'static str, Vec<u8>, Check)> {
    let block = Block::small();
    let square = block.commit();
    let (index, parts, root) = (square.index(), square.parts(), square.data_root());
    let smallest = Block::of_width(2).commit();
    let (cells_root, row, column) = (smallest.data_root(), at(1, 3, Axis::Row), at(2, 1, Axis::Column));
    let absent = index.prove_namespace(namespace(15), parts);
    let present = index.prove_namespace(namespace(20), parts);
    let entry_proof = index.prove_entry(4, parts).unwrap();
    let value = keccak256(&block.blobs[0].1);
    let kind = ForeignKind::Keccak256;
    let foreign = ForeignProof { entry_proof: entry_proof.clone(), kind, value };
    let verified = entry_proof.clone().verify(&root).unwrap().into_entry();
    vec![
        (
            "row sample",
            smallest.sample(row).unwrap().encode(),
            check!(Sample, |s| s.verify(&cells_root, row).is_ok()),
        ),
        (
            "column sample",
            smallest.sample(column).unwrap().encode(),
            check!(Sample, |s| s.verify(&cells_root, column).is_ok()),
        ),
        (
            "samples of a line",
            smallest.line_samples(Axis::Column, 1, &[0, 3]).unwrap().encode(),
            check!(LineSamples, |s| s.verify(&cells_root, Axis::Column, 1, &[0, 3]).is_ok()),
        ),
        (
            "line",
            smallest.line(Axis::Column, 2).unwrap().encode(),
            check!(Line, |l| l.verify(&cells_root, Axis::Column, 2).is_ok()),
        ),
        (
            "range",
            square.range(3..6).unwrap().encode(),
            check!(RangeProof, |r| r.verify(&root, 3..6).is_ok()),
        ),
        ("entry", entry_proof.encode(), check!(EntryProof, |e| e.verify(&root).is_ok())),
        ("foreign", foreign.encode(), check!(ForeignProof, |f| f.verify(&root, kind, &value).is_ok())),
        ("absence", absent.encode(), check!(NamespaceProof, |n| n.verify(&root, namespace(15)).is_ok())),
        ("namespace", present.encode(), check!(NamespaceProof, |n| n.verify(&root, namespace(20)).is_ok())),
        ("index", index.encode(), check!(Index, |i| i.verify(parts, &root).is_ok())),
        ("parts", parts.encode(), check!(DataRootParts, |p| p.data_root() == root)),
        ("index entry", verified.encode(), check!(IndexEntry, |e| e == verified)),
    ]
}

#[test]
fn every_changed_byte_is_caught() {
    for (name, bytes, check) in encodings() {
        assert!(check(&bytes), "{name}");
        let mut changed = bytes.clone();
        for i in 0..bytes.len() {
            for change in 1..=255 {
                changed[i] = bytes[i] ^ change;
                assert!(!check(&changed), "{name}: byte {i} changed by {change:#x}");
            }
            changed[i] = bytes[i];
        }
    }
}

#[test]
fn every_truncation_and_extension_is_caught() {
    for (name, bytes, check) in encodings() {
        assert!((0..bytes.len()).all(|len| !check(&bytes[..len])), "{name}");
        assert!(!check(&[bytes.as_slice(), &[0]].concat()), "{name}");
    }
}

#[test]
fn counts_that_the_input_cannot_hold_are_refused_before_allocation() {
    let mut index = (1u32 << 18).to_be_bytes().to_vec();
    index.extend([0; 200]);
    assert!(Index::decode(&index).is_err());
    assert!(Index::decode(&((1u32 << 18) + 1).to_be_bytes()).is_err());
    assert!(Index::decode(&[0; 4]).is_err());
    assert!(Line::decode(&[2, 0, 0, 0, 0]).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        for (_, _, check) in encodings() {
            prop_assert!(!check(&bytes));
        }
    }

    #[test]
    fn honest_bytes_with_arbitrary_ones_among_them_never_panic(
        place in any::<prop::sample::Index>(),
        junk in prop::collection::vec(any::<u8>(), 1..12),
        cut in any::<bool>(),
    ) {
        for (_, honest, check) in encodings() {
            let place = place.index(honest.len());
            let tail = if cut { (place + junk.len()).min(honest.len()) } else { place };
            let bytes = [&honest[..place], &junk, &honest[tail..]].concat();
            prop_assert!(bytes == honest || !check(&bytes));
        }
    }
}
