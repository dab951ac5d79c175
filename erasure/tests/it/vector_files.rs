//! The vectors under `vectors/`: read as another implementation would read them, to the last field.
//!
//! `BLESS=1 cargo test -p erasure vector_files` writes them anew.

use std::{cell::RefCell, collections::BTreeSet, fs, path::PathBuf};

use erasure::{
    Axis, BlobMeta, DataRootParts, Digest, EntryProof, ForeignKind, ForeignProof, FraudProof, FraudRules,
    Index, IndexEntry, Line, LineSamples, Namespace, NamespaceProof, OriginalSquare, RangeProof, Sample,
    Width, blob_commitment, foreign::eip4844_versioned_hash, transaction_blob,
};
use serde_json::Value;

use crate::{
    adversary::Rules,
    field::Code,
    oracle,
    support::at,
    vector_cases::{counted, files},
};

/// A case whose fields have all to be read.
struct Case<'a> {
    value: &'a Value,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Case<'a> {
    fn field(&self, name: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(name.to_owned());
        self.value.get(name)
    }

    fn number(&self, name: &str) -> usize {
        self.field(name).and_then(Value::as_u64).unwrap() as usize
    }

    fn numbers(&self, name: &str) -> Vec<u16> {
        let items = self.field(name).and_then(Value::as_array).unwrap().iter();
        items.map(|item| item.as_u64().unwrap().try_into().unwrap()).collect()
    }

    fn text(&self, name: &str) -> &'a str {
        self.field(name).and_then(Value::as_str).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap()
    }

    fn digest(&self, name: &str) -> Digest {
        self.bytes(name).try_into().unwrap()
    }

    fn list(&self, name: &str) -> Vec<Vec<u8>> {
        let items = self.field(name).and_then(Value::as_array).unwrap().iter();
        items.map(|item| hex::decode(item.as_str().unwrap()).unwrap()).collect()
    }

    fn namespace(&self) -> Namespace {
        Namespace::from_bytes(&self.bytes("namespace")).unwrap()
    }

    fn kind(&self) -> ForeignKind {
        self.text("kind").parse().unwrap()
    }

    fn axis(&self) -> Axis {
        if self.text("axis") == "row" { Axis::Row } else { Axis::Column }
    }
}

fn check_codeword(case: &Case<'_>) {
    let k = case.number("k");
    let systematic: Vec<Vec<u8>> = case.bytes("systematic").chunks(512).map(<[u8]>::to_vec).collect();
    assert_eq!(Code::new(k).codeword(&systematic)[k..].concat(), case.bytes("parity"));
}

fn check_square(case: &Case<'_>) {
    let (list, blobs) = (case.bytes("transaction_list"), case.list("blobs"));
    let metas: Vec<BlobMeta> = Rules.blobs(&list).unwrap();
    let placement = Index::place(&transaction_blob(&list), metas, Width::MAX).unwrap();
    let sorted: Vec<&[u8]> = placement.order.iter().map(|i| blobs[*i].as_slice()).collect();
    let original = OriginalSquare::build(&placement, &transaction_blob(&list), &sorted).unwrap();
    let square = original.commit(placement.index);
    let n = square.width().extended();
    assert_eq!(square.width().get(), case.number("k"));
    let entries: Vec<Vec<u8>> = square.index().entries().iter().map(IndexEntry::encode).collect();
    assert_eq!(entries, case.list("entries"));
    let cells: Vec<u8> = (0..n * n).flat_map(|i| *square.cell(i / n, i % n).unwrap()).collect();
    assert_eq!(oracle::blake(&cells), case.digest("cells_blake3"));
    for (axis, name) in [(Axis::Row, "row_roots"), (Axis::Column, "column_roots")] {
        let roots: Vec<Vec<u8>> = (0..n).map(|i| square.root(axis, i).unwrap().to_vec()).collect();
        assert_eq!(roots, case.list(name));
    }
    let parts = square.parts();
    assert_eq!((parts.axis_root, parts.index_root), (case.digest("axis_root"), case.digest("index_root")));
    assert_eq!(square.data_root(), case.digest("data_root"));
}

fn check_blob_commitment(case: &Case<'_>) {
    let commitment = blob_commitment(&case.namespace(), &case.bytes("bytes"));
    assert_eq!(commitment, case.digest("commitment"));
}

fn check_foreign_commitment(case: &Case<'_>) {
    let value = if case.kind() == ForeignKind::Eip4844 {
        eip4844_versioned_hash(&case.bytes("kzg_commitment").try_into().unwrap())
    } else {
        let bytes = match case.field("counted") {
            Some(len) => counted(len.as_u64().unwrap() as usize),
            None => case.bytes("bytes"),
        };
        case.kind().hash(&case.namespace(), &bytes).unwrap()
    };
    assert_eq!(value, case.digest("value"));
}

/// Whether the proof shows what the case asks.
fn verifies(case: &Case<'_>) -> bool {
    let (bytes, root) = (case.bytes("bytes"), case.digest("data_root"));
    match case.text("proof") {
        "sample" => {
            let place = at(case.number("row"), case.number("column"), case.axis());
            Sample::decode(&bytes).is_ok_and(|proof| proof.verify(&root, place).is_ok())
        }
        "samples" => {
            let (axis, index, places) = (case.axis(), case.number("index"), case.numbers("places"));
            LineSamples::decode(&bytes).is_ok_and(|proof| proof.verify(&root, axis, index, &places).is_ok())
        }
        "line" => {
            let (axis, index) = (case.axis(), case.number("index"));
            Line::decode(&bytes).is_ok_and(|proof| proof.verify(&root, axis, index).is_ok())
        }
        "range" => {
            let range = case.number("start") as u32..case.number("end") as u32;
            RangeProof::decode(&bytes).is_ok_and(|proof| proof.verify(&root, range).is_ok())
        }
        "parts" => DataRootParts::decode(&bytes).is_ok_and(|parts| parts.data_root() == root),
        "index" => {
            let parts = DataRootParts::decode(&case.bytes("parts")).unwrap();
            Index::decode(&bytes).is_ok_and(|index| index.verify(parts, &root).is_ok())
        }
        "entry" => {
            let (position, entry) = (case.number("position") as u32, case.bytes("entry"));
            let verified = EntryProof::decode(&bytes).ok().and_then(|proof| proof.verify(&root).ok());
            verified.is_some_and(|v| v.position() == position && v.entry().encode() == entry)
        }
        "namespace" => {
            let (namespace, entries) = (case.namespace(), case.list("entries"));
            let proof = NamespaceProof::decode(&bytes).ok();
            let verified = proof.and_then(|proof| proof.verify(&root, namespace).ok());
            verified.is_some_and(|v| v.entries().iter().map(IndexEntry::encode).eq(entries))
        }
        "foreign" => {
            let (kind, value) = (case.kind(), case.digest("value"));
            ForeignProof::decode(&bytes).is_ok_and(|proof| proof.verify(&root, kind, &value).is_ok())
        }
        "fraud" => {
            let accusation = case.text("accusation");
            let verified = FraudProof::decode(&bytes).ok().and_then(|proof| proof.verify(&root, &Rules).ok());
            verified.is_some_and(|v| v.proof().kind().to_string() == accusation)
        }
        other => panic!("no proof is called {other}"),
    }
}

fn check(file: &str, value: &Value) {
    let case = Case { value, read: RefCell::default() };
    match file {
        "codewords" => check_codeword(&case),
        "squares" => check_square(&case),
        "blob_commitments" => check_blob_commitment(&case),
        "foreign_commitments" => check_foreign_commitment(&case),
        "cell_proofs" | "index_proofs" | "frauds" => {
            let (name, valid) = (case.text("name"), case.field("valid").and_then(Value::as_bool).unwrap());
            assert_eq!(verifies(&case), valid, "{file}: {name}");
        }
        other => panic!("no test reads {other}.json"),
    }
    let unread = value.as_object().unwrap().keys().filter(|name| !case.read.borrow().contains(*name));
    assert_eq!(unread.collect::<Vec<_>>(), Vec::<&String>::new(), "{file}: fields that no test reads");
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// One case a line.
fn render(cases: &[Value]) -> String {
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

#[test]
fn the_vectors_are_what_the_crate_makes_and_hold_to_the_last_field() {
    let (made, mut names, mut count) = (files(), BTreeSet::new(), 0);
    if std::env::var_os("BLESS").is_some() {
        made.iter().for_each(|(name, cases)| {
            fs::write(directory().join(name).with_extension("json"), render(cases)).unwrap();
        });
    }
    for file in fs::read_dir(directory()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let cases: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        cases.iter().for_each(|case| check(&name, case));
        let made = made.iter().find(|(made, _)| *made == name).map(|(_, cases)| cases);
        assert!(made == Some(&cases), "{name}: the format changed; BLESS=1 writes the vectors anew");
        count += cases.len();
        names.insert(name);
    }
    assert_eq!(names.len(), made.len(), "a file of {names:?} is missing");
    assert!(count >= 200, "{count} vectors");
}
