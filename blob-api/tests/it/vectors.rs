//! Language-neutral vectors: signing of every kind of transaction, and every proof a reader gets, down to a header.
//!
//! `BLESS=1` writes what is, instead of comparing; see `vectors/README.md` for the format.

use std::{collections::BTreeSet, fs, path::PathBuf};

use blob_api::EntryBody;
use chain::{
    Action, Address, Amount, AttestationSecret, BlobHeader, Domain, Equivocation, Evidence, Height,
    Parameters, Payload, ReservationId, SecretKey, SignedStep, Step, Transaction, Upgrade, ValidatorKeys,
};
use ed25519_consensus::SigningKey;
use erasure::{
    EntryProof, ForeignCommitment, ForeignKind, ForeignProof, Namespace, NamespaceProof, RangeProof,
    keccak256,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tendermint::{Hash, Time, block::Header};

use crate::chain_in_memory::{Chain, key, namespace};

const FILES: [&str; 3] = ["README.md", "reading.json", "signing.json"];

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "vectors", name].iter().collect()
}

/// The file as it is kept; written first if asked for.
fn kept<T: Serialize + for<'a> Deserialize<'a>>(name: &str, made: &T) -> T {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path(name), serde_json::to_string_pretty(made).unwrap() + "\n").unwrap();
    }
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}

#[test]
fn every_file_of_vectors_is_read_by_a_test() {
    let there: BTreeSet<_> = fs::read_dir(path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, FILES.map(String::from).into());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signing {
    secret_key: String,
    sender: Address,
    chain_id: String,
    genesis_hash: String,
    typed_data: Value,
    id: String,
    signature: String,
    transaction: String,
}

const CHAIN_ID: &str = "weft-vector";
const GENESIS_HASH: [u8; 32] = [3; 32];

/// One of each kind. A kind that [`typed`] does not know does not compile there; add it here, too.
fn actions() -> Vec<Action> {
    let foreign = |kind, byte| ForeignCommitment { kind, value: [byte; 32] };
    let one = BlobHeader {
        namespace: namespace(5),
        commitment: [7; 32],
        len: 100,
        foreign: vec![foreign(ForeignKind::Keccak256, 8)],
    };
    let other = BlobHeader {
        namespace: namespace(6),
        commitment: [9; 32],
        len: 1 << 20,
        foreign: vec![foreign(ForeignKind::Sha256, 10), foreign(ForeignKind::Celestia, 11)],
    };
    let reservation = ReservationId([12; 32]);
    vec![
        Action::SubmitBlobs { blobs: vec![one.clone()], reservation: None },
        Action::SubmitBlobs { blobs: vec![one, other], reservation: Some(reservation) },
        Action::Transfer { to: key(2).address(), amount: 1_234_567_890 },
        Action::Reserve {
            rate: 64,
            blocks: 1_000,
            signers: ordered([key(2).address(), key(3).address()]),
            price_cap: 5_000_000_000,
        },
        Action::ExtendReservation { reservation, blocks: 500, price_cap: 2_500_000_000 },
        Action::Bond { stake: 20_000_000_000, keys: Some(Box::new(validator_keys())) },
        Action::Bond { stake: 1_000_000_000, keys: None },
        Action::Unbond { stake: 3_000_000_000 },
        Action::Evidence(Box::new(evidence())),
        Action::Signal(Some(Upgrade { version: 2, height: 1_000_000 })),
        Action::Signal(None),
    ]
}

/// Two precommits of one validator, for a block and for nil.
fn evidence() -> Evidence {
    let signer = SigningKey::from([15; 32]);
    let message = |block| SignedStep { block, pol_round: None, signature: [0; 64] };
    let mut evidence = Equivocation {
        validator: signer.verification_key().to_bytes(),
        step: Step::Precommit,
        height: 41,
        round: 2,
        first: message(Some(([16; 32], Time::from_unix_timestamp(1_700_000_000, 5).unwrap()))),
        second: message(None),
    };
    evidence.first.signature = signer.sign(&evidence.sign_bytes(&evidence.first, CHAIN_ID)).to_bytes();
    evidence.second.signature = signer.sign(&evidence.sign_bytes(&evidence.second, CHAIN_ID)).to_bytes();
    evidence.check(CHAIN_ID).unwrap();
    Evidence::Equivocation(evidence)
}

/// The keys of a validator whose operator is the signer of the vectors.
fn validator_keys() -> ValidatorKeys {
    let consensus = SigningKey::from([13; 32]);
    let attestation = AttestationSecret::from_seed(&[14; 32]).unwrap();
    ValidatorKeys::prove(
        &Domain::new(CHAIN_ID, &GENESIS_HASH),
        &key(1).address(),
        consensus.verification_key().to_bytes(),
        |message| consensus.sign(message).to_bytes(),
        &attestation,
    )
}

fn ordered(mut addresses: [Address; 2]) -> Vec<Address> {
    addresses.sort_unstable();
    addresses.to_vec()
}

fn hex0(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn typed_blob(blob: &BlobHeader) -> Value {
    let foreign =
        |f: &ForeignCommitment| json!({ "kind": (f.kind as u8).to_string(), "value": hex0(f.value) });
    json!({
        "namespace": hex0(blob.namespace.as_bytes()),
        "commitment": hex0(blob.commitment),
        "length": blob.len.to_string(),
        "foreign": blob.foreign.iter().map(foreign).collect::<Vec<_>>(),
    })
}

/// The name of the type, its own fields, and their values.
fn typed(action: &Action) -> (&'static str, &'static str, Value) {
    let number = |n: &u64| n.to_string();
    match action {
        Action::SubmitBlobs { blobs, reservation: None } => {
            let blobs: Vec<_> = blobs.iter().map(typed_blob).collect();
            ("SubmitBlobs", "Blob[] blobs", json!({ "blobs": blobs }))
        }
        Action::SubmitBlobs { blobs, reservation: Some(id) } => {
            let blobs: Vec<_> = blobs.iter().map(typed_blob).collect();
            let message = json!({ "reservation": hex0(id.0), "blobs": blobs });
            ("SubmitReserved", "bytes32 reservation,Blob[] blobs", message)
        }
        Action::Transfer { to, amount } => {
            ("Transfer", "address to,uint64 amount", json!({ "to": to, "amount": number(amount) }))
        }
        Action::Reserve { rate, blocks, signers, price_cap } => {
            let message = json!({
                "rate": number(rate), "blocks": number(blocks), "signers": signers, "priceCap": number(price_cap),
            });
            ("Reserve", "uint64 rate,uint64 blocks,address[] signers,uint64 priceCap", message)
        }
        Action::ExtendReservation { reservation, blocks, price_cap } => {
            let message = json!({
                "reservation": hex0(reservation.0), "blocks": number(blocks), "priceCap": number(price_cap),
            });
            ("ExtendReservation", "bytes32 reservation,uint64 blocks,uint64 priceCap", message)
        }
        Action::Bond { stake, keys } => {
            let of =
                |field: fn(&ValidatorKeys) -> &[u8]| hex0(keys.as_deref().map(field).unwrap_or_default());
            let message = json!({
                "stake": number(stake),
                "consensusKey": of(|keys| &keys.consensus),
                "consensusProof": of(|keys| &keys.consensus_proof),
                "attestationKey": of(|keys| &keys.attestation),
                "attestationProof": of(|keys| &keys.attestation_proof),
            });
            let own = "uint64 stake,bytes consensusKey,bytes consensusProof,bytes attestationKey,\
                       bytes attestationProof";
            ("Bond", own, message)
        }
        Action::Unbond { stake } => ("Unbond", "uint64 stake", json!({ "stake": number(stake) })),
        Action::Evidence(evidence) => {
            ("Evidence", "bytes evidence", json!({ "evidence": hex0(evidence.encode()) }))
        }
        Action::Signal(upgrade) => {
            let (version, height) = upgrade.map_or((0, 0), |upgrade| (upgrade.version, upgrade.height));
            let message = json!({ "version": number(&version), "height": number(&height) });
            ("Signal", "uint64 version,uint64 height", message)
        }
    }
}

fn fields(list: &str) -> Value {
    let field = |field: &str| {
        let (kind, name) = field.split_once(' ').unwrap();
        json!({ "name": name, "type": kind })
    };
    list.split(',').map(field).collect()
}

fn typed_data(payload: &Payload) -> Value {
    const COMMON: &str =
        "address sender,bytes16 salt,uint64 validUntil,uint64 feeCapPerShare,uint64 tipPerShare";
    let (name, own, mut message) = typed(&payload.action);
    message["sender"] = json!(payload.sender);
    message["salt"] = json!(hex0(payload.salt));
    message["validUntil"] = json!(payload.valid_until.to_string());
    message["feeCapPerShare"] = json!(payload.fee_cap.to_string());
    message["tipPerShare"] = json!(payload.tip.to_string());
    let mut types = json!({
        "EIP712Domain": fields("string name,string version,bytes32 salt"),
        name: fields(&format!("{COMMON},{own}")),
    });
    if own.contains("Blob[]") {
        types["Blob"] = fields("bytes namespace,bytes32 commitment,uint64 length,Foreign[] foreign");
        types["Foreign"] = fields("uint8 kind,bytes32 value");
    }
    let salt = keccak256(&[b"weft/chain/1", &GENESIS_HASH[..], CHAIN_ID.as_bytes()].concat());
    let domain = json!({ "name": "Weft", "version": "1", "salt": hex0(salt) });
    json!({ "types": types, "primaryType": name, "domain": domain, "message": message })
}

fn signed(secret: &SecretKey, action: Action) -> Transaction {
    let reserved = matches!(action, Action::SubmitBlobs { reservation: Some(_), .. });
    let (valid_until, fee_cap, tip): (Height, Amount, Amount) =
        if reserved { (42, 0, 0) } else { (42, 2_000, 10) };
    let payload = Payload { sender: secret.address(), salt: [9; 16], valid_until, fee_cap, tip, action };
    secret.sign(payload, Vec::new(), &Domain::new(CHAIN_ID, &GENESIS_HASH)).unwrap()
}

#[test]
fn signing_of_every_kind_of_transaction_is_as_kept() {
    let (secret, domain) = (key(1), Domain::new(CHAIN_ID, &GENESIS_HASH));
    let case = |action| {
        let transaction = signed(&secret, action);
        let verified = transaction.clone().verify(&domain, &Parameters::default()).unwrap();
        Signing {
            secret_key: hex::encode(secret.to_bytes()),
            sender: secret.address(),
            chain_id: CHAIN_ID.into(),
            genesis_hash: hex::encode(GENESIS_HASH),
            typed_data: typed_data(&transaction.payload),
            id: verified.id().to_string(),
            signature: hex::encode(transaction.signature),
            transaction: hex::encode(transaction.encode()),
        }
    };
    let made: Vec<_> = actions().into_iter().map(case).collect();
    let kept = kept("signing.json", &made);
    assert_eq!(kept, made);
    // Read the other way: what is kept decodes, is signed by the sender, and has the id and the digest of its types.
    for case in kept {
        let transaction = Transaction::decode(&hex::decode(&case.transaction).unwrap()).unwrap();
        assert_eq!(transaction.id(&domain).to_string(), case.id);
        assert_eq!(hex::encode(digest(&case.typed_data)), case.id, "{}", case.typed_data["primaryType"]);
        transaction.verify(&domain, &Parameters::default()).unwrap();
    }
}

/// EIP-712 from its text, knowing nothing of Weft: `keccak256(0x1901 ‖ hash of the domain ‖ hash of the message)`.
fn digest(data: &Value) -> [u8; 32] {
    let primary = data["primaryType"].as_str().unwrap();
    let (domain, message) =
        (hash_struct(data, "EIP712Domain", &data["domain"]), hash_struct(data, primary, &data["message"]));
    keccak256(&[&[0x19, 0x01], &domain[..], &message[..]].concat())
}

fn type_fields<'a>(data: &'a Value, name: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let text = |field: &'a Value, key: &str| field[key].as_str().unwrap();
    let list = data["types"].get(name)?.as_array().unwrap();
    Some(list.iter().map(|field| (text(field, "type"), text(field, "name"))).collect())
}

fn encode_type(data: &Value, name: &str) -> String {
    fn collect(data: &Value, name: &str, found: &mut BTreeSet<String>) {
        for (kind, _) in type_fields(data, name).into_iter().flatten() {
            let kind = kind.trim_end_matches("[]");
            if data["types"].get(kind).is_some() && found.insert(kind.into()) {
                collect(data, kind, found);
            }
        }
    }
    let mut others = BTreeSet::new();
    collect(data, name, &mut others);
    let one = |name: &str| {
        let fields = type_fields(data, name).unwrap();
        let fields: Vec<_> = fields.iter().map(|(kind, field)| format!("{kind} {field}")).collect();
        format!("{name}({})", fields.join(","))
    };
    std::iter::once(name.to_owned()).chain(others).map(|name| one(&name)).collect()
}

fn hash_struct(data: &Value, name: &str, value: &Value) -> [u8; 32] {
    let mut words = keccak256(encode_type(data, name).as_bytes()).to_vec();
    for (kind, field) in type_fields(data, name).unwrap() {
        words.extend(word(data, kind, &value[field]));
    }
    keccak256(&words)
}

fn word(data: &Value, kind: &str, value: &Value) -> [u8; 32] {
    if let Some(kind) = kind.strip_suffix("[]") {
        let words: Vec<_> = value.as_array().unwrap().iter().flat_map(|one| word(data, kind, one)).collect();
        return keccak256(&words);
    }
    if data["types"].get(kind).is_some() {
        return hash_struct(data, kind, value);
    }
    let text = value.as_str().unwrap();
    let raw = || hex::decode(text.strip_prefix("0x").unwrap()).unwrap();
    let mut out = [0; 32];
    match kind {
        "string" => return keccak256(text.as_bytes()),
        "bytes" => return keccak256(&raw()),
        "address" => out[12..].copy_from_slice(&raw()),
        _ if kind.starts_with("uint") => {
            out[24..].copy_from_slice(&text.parse::<u64>().unwrap().to_be_bytes());
        }
        _ => out[..raw().len()].copy_from_slice(&raw()),
    }
    out
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    header: Value,
    header_hash: String,
    data_root: String,
    blobs: Vec<KeptBlob>,
    cases: Vec<Case>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptBlob {
    namespace: String,
    commitment: String,
    bytes: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "what", rename_all = "snake_case")]
enum Case {
    Entry { proof: String, entry: EntryBody, holds: bool, why: String },
    Namespace { namespace: String, proof: String, entries: Vec<EntryBody>, holds: bool, why: String },
    Foreign { kind: String, value: String, proof: String, entry: EntryBody, holds: bool, why: String },
    Range { start: u32, count: u32, proof: String, shares: String, holds: bool, why: String },
}

/// A block of four blobs, the same at every run.
fn made() -> Reading {
    let chain = Chain::beginning_at(1_700_000_000);
    let all = [ForeignKind::Keccak256, ForeignKind::Sha256, ForeignKind::Celestia, ForeignKind::AnyTrust];
    let contents = [(1, 700, &all[..]), (2, 1_500, &all[..1]), (2, 1, &[][..]), (9, 512, &all[1..2])];
    let blobs = contents.map(|(id, len, kinds)| {
        let bytes: Vec<u8> = (0..len).map(|at: usize| (at * 7 + usize::from(id)) as u8).collect();
        (BlobHeader::describe(namespace(id), &bytes, kinds, &[]), bytes)
    });
    let payload = Payload {
        sender: key(1).address(),
        salt: [9; 16],
        valid_until: 50,
        fee_cap: 3_000,
        tip: 0,
        action: Action::SubmitBlobs {
            blobs: blobs.iter().map(|(header, _)| header.clone()).collect(),
            reservation: None,
        },
    };
    let transaction = key(1).sign(payload, vec![], &chain.genesis.domain()).unwrap();
    let bodies = blobs.iter().map(|(_, bytes)| bytes.clone()).collect();
    chain.admit(chain::Submission { transaction, bodies }).unwrap();
    let height = chain.decide();
    let inner = chain.lock();
    let decided = &inner.decided[height as usize - 1];
    let (square, header) = (&decided.square, &decided.light.signed_header.header);
    let (index, parts) = (square.index(), square.parts());

    let flipped = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        hex::encode(bytes)
    };
    let mut cases = Vec::new();
    for (at, entry) in index.entries().iter().enumerate() {
        let proof = index.prove_entry(at, parts).unwrap().encode();
        let entry = EntryBody::from(entry);
        cases.push(Case::Entry {
            proof: hex::encode(&proof),
            entry: entry.clone(),
            holds: true,
            why: String::new(),
        });
        let why = "a hash of the path is another".to_owned();
        cases.push(Case::Entry { proof: flipped(&proof), entry, holds: false, why });
    }
    for id in [0, 1, 2, 5, 9, 200] {
        let asked = namespace(id);
        let entries: Vec<_> = index.namespace(asked).iter().map(EntryBody::from).collect();
        let proof = hex::encode(index.prove_namespace(asked, parts).encode());
        cases.push(Case::Namespace {
            namespace: asked.to_string(),
            proof,
            entries,
            holds: true,
            why: String::new(),
        });
    }
    let wrong = hex::encode(index.prove_namespace(namespace(5), parts).encode());
    cases.push(Case::Namespace {
        namespace: namespace(2).to_string(),
        proof: wrong,
        entries: Vec::new(),
        holds: false,
        why: "its entries and neighbours do not enclose this namespace".into(),
    });
    for (at, entry) in index.entries().iter().enumerate() {
        for ForeignCommitment { kind, value } in &entry.foreign {
            let entry_proof = index.prove_entry(at, parts).unwrap();
            let proof = ForeignProof { entry_proof, kind: *kind, value: *value }.encode();
            let case = |proof: String, value: [u8; 32], why: &str| Case::Foreign {
                kind: kind.to_string(),
                value: hex::encode(value),
                proof,
                entry: EntryBody::from(entry),
                holds: why.is_empty(),
                why: why.into(),
            };
            cases.push(case(hex::encode(&proof), *value, ""));
            let mut other = *value;
            other[0] ^= 1;
            cases.push(case(hex::encode(&proof), other, "the entry holds another value of this kind"));
        }
    }
    let shares = square.width().shares() as u32;
    for (start, count) in [(0, 1), (1, 2), (2, 3), (0, shares), (shares - 1, 1)] {
        let proof = square.range(start..start + count).unwrap().encode();
        let original = square.original().into_bytes();
        let bytes = &original[start as usize * 512..(start + count) as usize * 512];
        let case = |proof: String, start, why: &str| Case::Range {
            start,
            count,
            proof,
            shares: hex::encode(bytes),
            holds: why.is_empty(),
            why: why.into(),
        };
        cases.push(case(hex::encode(&proof), start, ""));
        cases.push(case(hex::encode(&proof), start + 1, "it proves another range"));
        let mut other = proof.clone();
        other[2 + 4 + 4 + 32] ^= 1;
        cases.push(case(hex::encode(other), start, "a byte of the first share is another"));
    }
    let blob = |entry: &erasure::IndexEntry| KeptBlob {
        namespace: entry.namespace.to_string(),
        commitment: hex::encode(entry.commitment),
        bytes: hex::encode(square.blob_bytes(entry).unwrap()),
    };
    Reading {
        header: serde_json::to_value(header).unwrap(),
        header_hash: hex::encode(header.hash()),
        data_root: hex::encode(square.data_root()),
        blobs: index.entries().iter().map(blob).collect(),
        cases,
    }
}

#[test]
fn every_proof_leads_to_the_kept_header_or_is_refused() {
    let made = made();
    let kept = kept("reading.json", &made);
    assert!(kept == made, "reading.json differs from what is made; look at it, then run with BLESS=1");
    let header: Header = serde_json::from_value(kept.header).unwrap();
    assert_eq!(hex::encode(header.hash()), kept.header_hash);
    let Some(Hash::Sha256(root)) = header.data_hash else { panic!("no data root") };
    assert_eq!(hex::encode(root), kept.data_root);
    for blob in &kept.blobs {
        let namespace: Namespace = blob.namespace.parse().unwrap();
        let bytes = hex::decode(&blob.bytes).unwrap();
        assert_eq!(hex::encode(erasure::blob_commitment(&namespace, &bytes)), blob.commitment);
    }
    let bytes = |text: &str| hex::decode(text).unwrap();
    for case in kept.cases {
        let shown = format!("{case:?}").chars().take(300).collect::<String>();
        let (held, holds, why) = match case {
            Case::Entry { proof, entry, holds, why } => {
                let verified = EntryProof::decode(&bytes(&proof)).unwrap().verify(&root);
                (verified.is_ok_and(|found| EntryBody::from(&found.into_entry()) == entry), holds, why)
            }
            Case::Namespace { namespace, proof, entries, holds, why } => {
                let proof = NamespaceProof::decode(&bytes(&proof)).unwrap();
                let verified = proof.verify(&root, namespace.parse().unwrap());
                let same =
                    |found: &[erasure::IndexEntry]| found.iter().map(EntryBody::from).eq(entries.clone());
                (verified.is_ok_and(|found| same(found.entries())), holds, why)
            }
            Case::Foreign { kind, value, proof, entry, holds, why } => {
                let value = bytes(&value).try_into().unwrap();
                let proof = ForeignProof::decode(&bytes(&proof)).unwrap();
                let verified = proof.verify(&root, kind.parse().unwrap(), &value);
                (verified.is_ok_and(|found| EntryBody::from(&found.into_entry()) == entry), holds, why)
            }
            Case::Range { start, count, proof, shares, holds, why } => {
                let verified =
                    RangeProof::decode(&bytes(&proof)).unwrap().verify(&root, start..start + count);
                (verified.is_ok_and(|found| found.into_bytes() == bytes(&shares)), holds, why)
            }
        };
        assert_eq!((held, why.is_empty()), (holds, holds), "{shown}");
    }
}
