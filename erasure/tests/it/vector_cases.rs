//! Makes the vectors under `vectors/`: deterministic, valid and invalid.

use erasure::{
    Axis, BadEncoding, CommittedSquare, DataRootParts, Digest, EntryProof, ForeignCommitment, ForeignKind,
    ForeignProof, FraudKind, FraudProof, Namespace, WrongIndex, blob_commitment,
};
use serde_json::{Map, Value, json};

use crate::{
    accusations::{accusations, proofs, smallest},
    adversary::{Proposal, Rules, Wrong, meta},
    oracle::{codeword, data_root},
    support::{at, namespace, noise},
};

/// The cases of every file, by name.
pub(crate) fn files() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("codewords", codewords()),
        ("squares", squares()),
        ("blob_commitments", blob_commitments()),
        ("foreign_commitments", foreign_commitments()),
        ("cell_proofs", cell_proofs()),
        ("index_proofs", index_proofs()),
        ("frauds", frauds()),
    ]
}

fn text(bytes: impl AsRef<[u8]>) -> Value {
    hex::encode(bytes).into()
}

fn codewords() -> Vec<Value> {
    let case = |k: usize| {
        let systematic: Vec<Vec<u8>> = noise(k * 512, k as u64).chunks(512).map(<[u8]>::to_vec).collect();
        let line = codeword(&systematic);
        json!({"k": k, "systematic": text(line[..k].concat()), "parity": text(line[k..].concat())})
    };
    [2, 4, 8, 16].into_iter().map(case).collect()
}

fn square_case(proposal: &Proposal) -> Value {
    let square = proposal.commit();
    let (parts, n) = (square.parts(), square.width().extended());
    let roots = |axis| (0..n).map(|i| text(square.root(axis, i).unwrap())).collect::<Vec<_>>();
    let entries: Vec<Value> = square.index().entries().iter().map(|entry| text(entry.encode())).collect();
    let cells = (0..n * n).flat_map(|i| square.cell(i / n, i % n).unwrap().iter().copied());
    json!({
        "transaction_list": text(proposal.list()),
        "blobs": proposal.blobs.iter().map(text).collect::<Vec<_>>(),
        "k": parts.width.get(),
        "entries": entries,
        "cells_blake3": text(blake3::hash(&cells.collect::<Vec<u8>>()).as_bytes()),
        "row_roots": roots(Axis::Row),
        "column_roots": roots(Axis::Column),
        "axis_root": text(parts.axis_root),
        "index_root": text(parts.index_root),
        "data_root": text(square.data_root()),
    })
}

fn squares() -> Vec<Value> {
    let blobs: [&[(u8, usize)]; 7] = [
        &[],
        &[(7, 1)],
        &[(7, 700)],
        &[(20, 1300), (10, 512), (30, 700)],
        &[(3, 5), (2, 513), (3, 4), (1, 512), (2, 511)],
        &[(1, 4000)],
        &[(9, 9000), (9, 1), (8, 3000), (255, 1024)],
    ];
    blobs.into_iter().map(|blobs| square_case(&Proposal::new(blobs))).collect()
}

fn blob_commitments() -> Vec<Value> {
    let lens = [1, 2, 511, 512, 513, 1024, 1025, 2048, 5000];
    let case = |(i, len): (usize, usize)| {
        let (namespace, bytes) = (Namespace::from_user_id([i as u8 + 1; 10]), noise(len, i as u64));
        let commitment = text(blob_commitment(&namespace, &bytes));
        json!({"namespace": text(namespace.as_bytes()), "bytes": text(bytes), "commitment": commitment})
    };
    lens.into_iter().enumerate().map(case).collect()
}

/// Bytes given by their number: byte i is i modulo 251.
pub(crate) fn counted(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// The keyset of Arbitrum Nova, as on Ethereum: its hash there is its tree hash.
const NOVA_KEYSET: &str = include_str!("nova_keyset.hex");

fn foreign_commitments() -> Vec<Value> {
    let mut cases = Vec::new();
    let lens = [1, 478, 479, 960, 5000, 30_848, 30_849, 62_000, 65_536, 65_537, 131_072, 400_000];
    for (i, len) in lens.into_iter().enumerate() {
        let namespace = Namespace::from_user_id([i as u8 + 1; 10]);
        for kind in ForeignKind::ALL {
            let value = kind.hash(&namespace, &counted(len)).map(text);
            let namespace = text(namespace.as_bytes());
            cases.extend(value.map(
                |value| json!({"kind": kind.name(), "namespace": namespace, "counted": len, "value": value}),
            ));
        }
    }
    cases.push(json!({
        "kind": "anytrust",
        "namespace": text(Namespace::from_user_id([1; 10]).as_bytes()),
        "bytes": NOVA_KEYSET.trim(),
        "value": "01191accc7ad5a8020e6c6d122984540e9fc48d0457bda63e0a32c8c31994f4a",
    }));
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    for commitment in [infinity, [7; 48]] {
        let value = erasure::foreign::eip4844_versioned_hash(&commitment);
        cases.push(json!({"kind": "eip4844", "kzg_commitment": text(commitment), "value": text(value)}));
    }
    cases
}

/// Cases of one proof: as it is, for another block, for every other question, and spoilt.
fn around(proof: &str, name: &str, root: Digest, bytes: &[u8], asked: &[Value]) -> Vec<Value> {
    let case = |name: String, valid: bool, root: Digest, bytes: &[u8], asked: &Value| {
        let mut case: Map<String, Value> = asked.as_object().unwrap().clone();
        case.insert("proof".into(), proof.into());
        case.insert("name".into(), name.into());
        case.insert("valid".into(), valid.into());
        case.insert("data_root".into(), text(root));
        case.insert("bytes".into(), text(bytes));
        Value::Object(case)
    };
    let mut cases = vec![case(name.to_owned(), true, root, bytes, &asked[0])];
    let mut spoil = |what: &str, bytes: &[u8]| {
        cases.push(case(format!("{name}: {what}"), false, root, bytes, &asked[0]));
    };
    spoil("empty", &[]);
    spoil("cut short", &bytes[..bytes.len() - 1]);
    spoil("a byte too many", &[bytes, &[0]].concat());
    for part in 0..6 {
        let bit = (8 * bytes.len() - 1) * part / 5;
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        spoil(&format!("bit {} of byte {} flipped", bit % 8, bit / 8), &flipped);
    }
    let other = data_root(2, root, [0; 32]);
    cases.push(case(format!("{name}: another block"), false, other, bytes, &asked[0]));
    let others = asked[1..].iter();
    cases.extend(others.map(|asked| case(format!("{name}: another question"), false, root, bytes, asked)));
    cases
}

fn cell_proofs() -> Vec<Value> {
    let (tiny, small) = (smallest().commit(), Proposal::small().commit());
    let mut cases = Vec::new();
    let place = |row: usize, column: usize, axis: Axis| json!({"row": row, "column": column, "axis": axis.to_string()});
    for (square, row, column) in [(&tiny, 0, 0), (&tiny, 3, 2), (&small, 1, 6), (&small, 5, 3)] {
        for (axis, other) in [(Axis::Row, Axis::Column), (Axis::Column, Axis::Row)] {
            let sample = square.sample(at(row, column, axis)).unwrap().encode();
            let asked = [place(row, column, axis), place(row, column, other), place(column, row + 1, axis)];
            let name = format!("({row}, {column}) by its {axis}, width {}", square.width());
            cases.extend(around("sample", &name, square.data_root(), &sample, &asked));
        }
    }
    let samples_of = |axis: Axis, index: usize, places: &[u16]| json!({"axis": axis.to_string(), "index": index, "places": places});
    let of_lines: [(&CommittedSquare, Axis, usize, &[u16]); 5] = [
        (&tiny, Axis::Row, 2, &[3]),
        (&tiny, Axis::Column, 1, &[0, 2]),
        (&tiny, Axis::Row, 0, &[0, 1, 2, 3]),
        (&small, Axis::Row, 5, &[1, 2, 7]),
        (&small, Axis::Column, 6, &[0, 1, 4, 6]),
    ];
    for (square, axis, index, places) in of_lines {
        let samples = square.line_samples(axis, index, places).unwrap().encode();
        let others: Vec<u16> = places.iter().map(|place| place ^ 1).collect();
        let asked = [places, &places[1..], &others].map(|places| samples_of(axis, index, places));
        let elsewhere = samples_of(axis, index + 1, places);
        let asked = [&asked[..], &[elsewhere]].concat();
        let name = format!("cells {places:?} of {axis} {index}, width {}", square.width());
        cases.extend(around("samples", &name, square.data_root(), &samples, &asked));
    }
    let line_of = |axis: Axis, index: usize| json!({"axis": axis.to_string(), "index": index});
    for (square, axis, index) in [(&tiny, Axis::Row, 1), (&tiny, Axis::Column, 3), (&small, Axis::Row, 6)] {
        let line = square.line(axis, index).unwrap().encode();
        let asked = [line_of(axis, index), line_of(axis, index + 1)];
        let name = format!("{axis} {index}, width {}", square.width());
        cases.extend(around("line", &name, square.data_root(), &line, &asked));
    }
    let range_of = |start: u32, end: u32| json!({"start": start, "end": end});
    for (square, start, end) in [(&tiny, 0, 1), (&tiny, 0, 4), (&tiny, 1, 3), (&small, 2, 7), (&small, 5, 6)]
    {
        let range = square.range(start..end).unwrap().encode();
        let asked = [range_of(start, end), range_of(start, end + 1), range_of(start + 1, end + 1)];
        let name = format!("shares {start} to {end}, width {}", square.width());
        cases.extend(around("range", &name, square.data_root(), &range, &asked));
    }
    cases
}

fn index_proofs() -> Vec<Value> {
    let proposal = Proposal::new(&[(20, 1300), (10, 512), (30, 700), (20, 1)]);
    let square = proposal.commit();
    let (index, parts, root) = (square.index(), square.parts(), square.data_root());
    let mut cases = around("parts", "parts", root, &parts.encode(), &[json!({})]);
    cases.extend(around("index", "index", root, &index.encode(), &[json!({"parts": text(parts.encode())})]));
    let prove = |position: usize| index.prove_entry(position, parts).unwrap();
    for (position, entry) in index.entries().iter().enumerate().filter(|(i, _)| [0, 2, 4].contains(i)) {
        let asked = [json!({"position": position, "entry": text(entry.encode())})];
        cases.extend(around("entry", &format!("entry {position}"), root, &prove(position).encode(), &asked));
    }
    let asked = |id: u8| {
        let entries = index.namespace(namespace(id)).iter().map(|entry| text(entry.encode()));
        json!({"namespace": text(namespace(id).as_bytes()), "entries": entries.collect::<Vec<_>>()})
    };
    for (id, others) in
        [(20, [10, 25]), (10, [20, 30]), (0, [10, 15]), (5, [10, 15]), (15, [20, 25]), (31, [30, 5])]
    {
        let proof = index.prove_namespace(namespace(id), parts).encode();
        let what = if index.namespace(namespace(id)).is_empty() { "absent" } else { "present" };
        let asked = [asked(id), asked(others[0]), asked(others[1])];
        cases.extend(around("namespace", &format!("namespace {id}, {what}"), root, &proof, &asked));
    }
    let position = index.entries().iter().position(|entry| entry.namespace == namespace(30)).unwrap();
    let held = index.entries()[position].foreign.clone();
    let question = |f: &ForeignCommitment| json!({"kind": f.kind.name(), "value": text(f.value)});
    for foreign in &held {
        let lie = ForeignCommitment { kind: ForeignKind::Sha256, value: foreign.value };
        let proof = foreign_proof(prove(position), foreign).encode();
        let asked = [question(foreign), question(&lie)];
        cases.extend(around("foreign", &format!("{} in an entry", foreign.kind), root, &proof, &asked));
        let mut not_held = around(
            "foreign",
            "not in the entry",
            root,
            &foreign_proof(prove(position), &lie).encode(),
            &[question(&lie)],
        );
        not_held.truncate(1);
        not_held[0]["valid"] = false.into();
        cases.extend(not_held);
    }
    cases
}

fn foreign_proof(entry_proof: EntryProof, foreign: &ForeignCommitment) -> ForeignProof {
    ForeignProof { entry_proof, kind: foreign.kind, value: foreign.value }
}

/// Blocks that are wrong in ways that [`proofs`] has not.
fn more_frauds() -> Vec<(String, FraudProof, Digest)> {
    let small = Proposal::small();
    let find = |name: &str, square: &CommittedSquare| {
        (name.to_owned(), FraudProof::find(square, &Rules).unwrap(), square.data_root())
    };
    let mut short = small.clone();
    short.metas[0].foreign = vec![ForeignCommitment { kind: ForeignKind::Eip4844, value: [1; 32] }];
    let mut proofs = vec![
        find("a transaction list without end", &small.commit_changed(&small, |bytes| bytes[0] = 255)),
        find("transactions that are none", &small.commit_changed(&small, |bytes| bytes[4] = 1)),
        find("a KZG commitment of 1,300 bytes", &short.commit()),
        find("a byte after the last blob", &small.commit_changed(&small, |bytes| bytes[16 * 512 - 1] = 1)),
    ];
    for kind in [ForeignKind::Keccak256, ForeignKind::Celestia, ForeignKind::AnyTrust] {
        let mut proposal = smallest();
        proposal.metas[0] = meta(7, &proposal.blobs[0], &[kind]);
        proposal.metas[0].foreign[0].value[9] ^= 1;
        proofs.push(find(&format!("false {kind}"), &proposal.commit()));
    }
    let square = small.commit();
    let index_root = [9; 32];
    let wrong = FraudProof::WrongIndex(WrongIndex::new(&square, index_root).unwrap());
    let root = DataRootParts { index_root, ..square.parts() }.data_root();
    proofs.push(("an index root of nothing".to_owned(), wrong, root));
    // Junk under the rows where row + column is even, under the columns where it is odd.
    let board = Wrong::new(&smallest(), |grid| {
        for i in 0..16 {
            let under = if (i / 4 + i % 4) % 2 == 0 { &mut grid.by_row } else { &mut grid.by_column };
            under[i / 4][i % 4] = noise(512, i as u64);
        }
    });
    for by in [Axis::Row, Axis::Column] {
        let samples = board.on_line(Axis::Row, 2, |place| (place % 2 == 1).then_some(by));
        let proof = BadEncoding::new(&board.line_root(Axis::Row, 2), &samples).unwrap();
        proofs.push((
            format!("checkerboard by each cell's {by}"),
            FraudProof::BadEncoding(proof),
            board.data_root(),
        ));
    }
    proofs
}

fn frauds() -> Vec<Value> {
    let mut cases = Vec::new();
    for (name, proof, root) in proofs().into_iter().chain(more_frauds()) {
        let asked = [json!({"accusation": proof.kind().to_string()})];
        cases.extend(around("fraud", &name, root, &proof.encode(), &asked));
    }
    let root = smallest().commit().data_root();
    for (accusation, bytes) in accusations(&smallest()) {
        cases.push(json!({
            "proof": "fraud", "name": "an accusation of a valid block", "valid": false,
            "accusation": accusation, "data_root": text(root), "bytes": text(bytes),
        }));
    }
    assert_eq!(FraudKind::ALL.len(), 6);
    cases
}
