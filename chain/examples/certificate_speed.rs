//! What a header's two proofs cost a light client that has the validators and the attesters at hand: the commit of all
//! validators, and the certificate of all attesters. And what attesting costs a node.
#![allow(clippy::unwrap_used, reason = "a measurement that fails may stop")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chain::{
    Address, Attestation, AttestationData, AttestationSecret, Attester, Attesters, CertifiedBlock,
    Checkpoint, Domain, LightBlock, Tally, TrustOptions, VerifiedHeader,
};
use ed25519_consensus::SigningKey;
use erasure::KeccakFrontier;
use tendermint::{
    AppHash, Hash, Signature, Time, account,
    block::{self, Commit, CommitSig, Header, Round, header::Version, parts, signed_header::SignedHeader},
    validator,
    vote::{self, Vote},
};

const ROUNDS: usize = 21;

const OPTIONS: TrustOptions = TrustOptions {
    trusting_period: Duration::from_secs(3_600),
    clock_drift: Duration::from_secs(5),
    newest_rules: 1,
};

fn time(height: u64) -> Time {
    Time::from_unix_timestamp(1_700_000_000 + height as i64, 0).unwrap()
}

fn header(height: u64, set: &validator::Set) -> Header {
    Header {
        version: Version { block: 11, app: 1 },
        chain_id: "weft-speed".parse().unwrap(),
        height: height.try_into().unwrap(),
        time: time(height),
        last_block_id: None,
        last_commit_hash: None,
        data_hash: Some(Hash::Sha256([7; 32])),
        validators_hash: set.hash(),
        next_validators_hash: set.hash(),
        consensus_hash: Hash::Sha256([1; 32]),
        app_hash: AppHash::try_from(vec![2; 32]).unwrap(),
        last_results_hash: None,
        evidence_hash: None,
        proposer_address: set.validators()[0].address,
    }
}

fn commit(header: &Header, set: &validator::Set, keys: &[SigningKey]) -> Commit {
    let block_id =
        block::Id { hash: header.hash(), part_set_header: parts::Header::new(1, header.hash()).unwrap() };
    let sign = |info: &validator::Info| {
        let is_its = |key: &&SigningKey| key.verification_key().to_bytes() == info.pub_key.to_bytes()[..];
        let vote = Vote {
            vote_type: vote::Type::Precommit,
            height: header.height,
            round: Round::default(),
            block_id: Some(block_id),
            timestamp: Some(header.time),
            validator_address: info.address,
            validator_index: 0u32.try_into().unwrap(),
            signature: None,
            extension: vec![],
            extension_signature: None,
        };
        let signature =
            keys.iter().find(is_its).unwrap().sign(&vote.into_signable_vec(header.chain_id.clone()));
        CommitSig::BlockIdFlagCommit {
            validator_address: account::Id::from(info.pub_key),
            timestamp: header.time,
            signature: Signature::new(signature.to_bytes()).unwrap(),
        }
    };
    let signatures = set.validators().iter().map(sign).collect();
    Commit { height: header.height, round: Round::default(), block_id, signatures }
}

/// The median of some rounds, in microseconds.
fn micros<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut all: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(work());
            start.elapsed()
        })
        .collect();
    all.sort_unstable();
    all[ROUNDS / 2].as_secs_f64() * 1e6
}

fn measure(count: u32) {
    let seed = |at: u32| erasure::sha256(&at.to_be_bytes());
    let keys: Vec<_> = (0..count).map(|at| SigningKey::from(seed(at))).collect();
    let info = |key: &SigningKey| {
        let key = tendermint::PublicKey::from_raw_ed25519(&key.verification_key().to_bytes()).unwrap();
        validator::Info::new(key, 10u32.into())
    };
    let set = validator::Set::without_proposer(keys.iter().map(info).collect());
    let block = |height| {
        let header = header(height, &set);
        let commit = commit(&header, &set, &keys);
        let signed_header = SignedHeader::new(header, commit).unwrap();
        LightBlock { signed_header, validators: set.clone(), next_validators: set.clone() }
    };
    let (first, later) = (block(1), block(2));
    let hash = first.signed_header.header.hash().as_bytes().try_into().unwrap();
    let checkpoint = Checkpoint { height: 1, hash };
    let trusted =
        VerifiedHeader::from_checkpoint(first, "weft-speed", &checkpoint, time(3), &OPTIONS).unwrap();

    let secrets: Vec<_> = (0..count).map(|at| AttestationSecret::from_seed(&seed(at)).unwrap()).collect();
    let mut members: Vec<_> = secrets
        .iter()
        .enumerate()
        .map(|(at, secret)| {
            let mut operator = [0; 20];
            operator[16..].copy_from_slice(&(at as u32).to_be_bytes());
            Attester { operator: Address::from_bytes(operator), key: secret.key(), power: 10 }
        })
        .collect();
    members.sort_by_key(|member| member.operator);
    let attesters = Arc::new(Attesters::new(members).unwrap());
    let domain = Domain::new("weft-speed", &[0; 32]);
    let header = &later.signed_header.header;
    let data = AttestationData::new(header, KeccakFrontier::default(), attesters.hash(), None).unwrap();
    let attestations: Vec<_> =
        (0..count).map(|at| Attestation::sign(data, at, &secrets[at as usize], &domain)).collect();
    let mut tally = Tally::new(data, attesters.clone()).unwrap();
    for attestation in &attestations {
        assert!(tally.add(&attestation.clone().verify(&domain, &attesters).unwrap()));
    }
    let certificate = tally.certificate().unwrap();

    let known = set.hash().as_bytes().try_into().unwrap();
    let by_commit = later.encode_for(&known);
    let certified = CertifiedBlock { certificate, block: later.clone().without_commit() };
    let by_certificate = certified.encode_for(Some(&known));
    let commit_time = micros(|| {
        let block = LightBlock::decode_for(&by_commit, &set).unwrap();
        trusted.advance(block, time(3), &OPTIONS).unwrap()
    });
    let certificate_time = micros(|| {
        let CertifiedBlock { certificate, block } =
            CertifiedBlock::decode_for(&by_certificate, &set).unwrap();
        let certified = certificate.verify(&domain, &attesters).unwrap();
        trusted.certified(block, &certified, time(3), &OPTIONS).unwrap()
    });
    println!(
        "{count:>5} | {:>7} B  {commit_time:>7.0} µs | {:>7} B  {certificate_time:>7.0} µs | {:>7} B  {:>7.0} µs | \
         {:>6.0} µs  {:>6.0} µs  {:>6.0} µs",
        by_commit.len(),
        by_certificate.len(),
        attesters.encode().len(),
        micros(|| Attesters::decode(&attesters.encode()).unwrap()),
        micros(|| Attestation::sign(data, 0, &secrets[0], &domain)),
        micros(|| attestations[0].clone().verify(&domain, &attesters).unwrap()),
        micros(|| tally.certificate().unwrap()),
    );
}

fn main() {
    println!(
        "      | header and commit     | header and certificate | attesters, once an epoch | a node: sign, check one, \
         add up"
    );
    [4, 100].into_iter().for_each(measure);
}
