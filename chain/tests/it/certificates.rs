//! Epochs, attestations, certificates and what they cover.

use std::{sync::Arc, time::Duration};

use chain::{
    Action, Attestation, AttestationData, AttestationSignature, Attesters, BlsError, Certificate,
    CertificateError, Certified, Checkpoint, DoubleAttestation, Epoch, Evidence, EvidenceError, HeaderError,
    HistoryProof, LedgerError, LightBlock, NANO_PER_WEFT, Parameters, StakingError, StateKey, Tally,
    TrustOptions, VerifiedHeader,
};
use erasure::{KeccakTree, keccak_root_of_range, keccak256};

use crate::support::{Chain, attestation_secret, key, validator_keys};

const OPTIONS: TrustOptions = TrustOptions {
    trusting_period: Duration::from_secs(3_600),
    clock_drift: Duration::from_secs(5),
    newest_rules: 1,
};

/// Epochs of 8 heights: the next attesters are fixed at 4, 12, …
fn chain() -> Chain {
    Chain::new(Parameters { epoch_heights: 8, ..Parameters::default() })
}

fn grow(chain: &mut Chain) -> LightBlock {
    let valid = chain.propose(&[]);
    chain.decide(valid, &[0, 1, 2, 3, 4, 5])
}

/// What is to be attested of the latest block, and by whom.
fn data(chain: &Chain) -> (AttestationData, Arc<Attesters>) {
    let attesters = Arc::new(chain.state().attesters().unwrap());
    let next = chain.state().next_attesters().unwrap().map(|next| next.hash());
    let header = &chain.parent.last.as_ref().unwrap().header;
    let history = chain.state().history().unwrap();
    (AttestationData::new(header, history, attesters.hash(), next).unwrap(), attesters)
}

/// The attestation of the attester whose key has this seed.
fn attest(chain: &Chain, seed: u8, data: AttestationData, attesters: &Attesters) -> Attestation {
    let secret = attestation_secret(seed);
    let place = attesters.index_of(&secret.key()).unwrap();
    Attestation::sign(data, place, &secret, &chain.genesis.domain())
}

fn certificate(chain: &Chain, seeds: &[u8]) -> Option<Certificate> {
    let (data, attesters) = data(chain);
    let mut tally = Tally::new(data, attesters.clone()).unwrap();
    for seed in seeds {
        let attestation = attest(chain, *seed, data, &attesters);
        let bytes = attestation.encode();
        assert_eq!((bytes.len(), Attestation::decode(&bytes)), (Attestation::BYTES, Ok(attestation.clone())));
        let verified = attestation.verify(&chain.genesis.domain(), &attesters).unwrap();
        assert!(tally.add(&verified));
        assert!(!tally.add(&verified), "counted once");
    }
    tally.certificate()
}

fn certified(chain: &Chain) -> Certified {
    let (_, attesters) = data(chain);
    certificate(chain, &[1, 2, 3]).unwrap().verify(&chain.genesis.domain(), &attesters).unwrap()
}

#[test]
fn more_than_two_thirds_make_a_certificate_and_nothing_else_does() {
    let mut chain = chain();
    grow(&mut chain);
    assert_eq!(certificate(&chain, &[1, 2]), None);
    let good = certificate(&chain, &[4, 1, 3]).unwrap();
    let (_, attesters) = data(&chain);
    let domain = chain.genesis.domain();
    assert_eq!(Certificate::decode(&good.encode()), Ok(good.clone()));
    assert_eq!(good.clone().verify(&domain, &attesters).unwrap().power(), 30);

    let refused = |change: &dyn Fn(&mut Certificate)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.verify(&domain, &attesters).unwrap_err()
    };
    let signature = CertificateError::Signature(BlsError::Signature);
    assert_eq!(refused(&|c| c.data.data_root[0] ^= 1), signature);
    assert_eq!(refused(&|c| c.data.time += 1), signature);
    assert_eq!(refused(&|c| c.data.next_attesters[0] ^= 1), signature);
    assert_eq!(refused(&|c| c.signers[0] = 0b1111), signature);
    let absent = (0..4).find(|at| !good.signed(*at)).unwrap();
    let other = (0..4).find(|at| good.signed(*at)).unwrap();
    assert_eq!(refused(&|c| c.signers[0] = c.signers[0] & !(1 << other) | 1 << absent), signature);
    let too_little = CertificateError::TooLittle { power: 20, of: 40 };
    assert_eq!(refused(&|c| c.signers[0] = 0b0011), too_little);
    let bitmap = CertificateError::Bitmap { count: 4 };
    assert_eq!(refused(&|c| c.signers[0] |= 0b1_0000), bitmap);
    assert_eq!(refused(&|c| c.signers.push(0)), bitmap);
    assert_eq!(refused(&|c| c.signers.clear()), bitmap);
    assert_eq!(refused(&|c| c.data.attesters[0] ^= 1), CertificateError::OtherAttesters { height: 1 });
    let elsewhere = chain::Domain::new("weft-test", &[1; 32]);
    assert_eq!(good.clone().verify(&elsewhere, &attesters).unwrap_err(), signature);

    for at in 0..good.encode().len() {
        let mut bytes = good.encode();
        bytes[at] ^= 1;
        let verified = Certificate::decode(&bytes).map(|certificate| certificate.verify(&domain, &attesters));
        assert!(!matches!(verified, Ok(Ok(_))), "byte {at}");
    }
    assert!(Certificate::decode(&good.encode()[..224]).is_ok_and(|c| c.verify(&domain, &attesters).is_err()));
    assert!(Certificate::decode(&good.encode()[..223]).is_err());
    assert!(Certificate::decode(&[&good.encode()[..], &[0; 128]].concat()).is_err());
}

#[test]
fn infinity_is_no_signature_and_keys_chosen_together_make_none() {
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    assert_eq!(AttestationSignature::from_bytes(&infinity), Err(BlsError::Signature));
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    assert_eq!(chain::AttestationKey::from_bytes(infinity), Err(BlsError::Key));

    // A key and its negative: both owners know their secrets, and the sum is infinity.
    let chain = chain();
    let mut members = chain.state().attesters().unwrap().members().to_vec();
    members.truncate(2);
    let mut bytes = *members[0].key.as_bytes();
    bytes[0] ^= 0x20;
    members[1].key = chain::AttestationKey::from_bytes(bytes).unwrap();
    let attesters = Attesters::new(members).unwrap();
    assert_eq!(attesters.aggregate_key(), [0; 256]);
    let mut forged = {
        let mut chain = self::chain();
        grow(&mut chain);
        certificate(&chain, &[1, 2, 3]).unwrap()
    };
    forged.data.attesters = attesters.hash();
    forged.signers = vec![0b11];
    let refused = forged.verify(&chain.genesis.domain(), &attesters).unwrap_err();
    assert_eq!(refused, CertificateError::Signature(BlsError::Key));
}

#[test]
fn attesters_change_with_the_epoch_as_fixed_in_its_predecessors_middle() {
    let mut chain = chain();
    let epoch = |height| Epoch::of(height, &Parameters { epoch_heights: 8, ..Parameters::default() });
    assert_eq!([1, 7, 8, 15].map(|height| epoch(height).first()), [1, 1, 8, 8]);
    assert_eq!([1, 8].map(|height| epoch(height).middle()), [4, 12]);

    let genesis = chain.state().attesters().unwrap();
    assert_eq!((genesis.members().len(), genesis.power()), (4, 40));
    // A fifth validator bonds in block 1: it attests from the second epoch on.
    let keys = Some(Box::new(validator_keys(&chain, &key(1), 5)));
    let bond = Action::Bond { stake: 20 * NANO_PER_WEFT, keys };
    let bond = chain.candidate(chain.sign(&key(1), chain.payload(&key(1), 1, bond)), vec![]);
    let valid = chain.propose(&[bond]);
    chain.decide(valid, &[0, 1, 2, 3]);
    while chain.height() <= 4 {
        assert_eq!(data(&chain).0.next_attesters, [0; 32]);
        grow(&mut chain);
    }
    let next = chain.state().next_attesters().unwrap().unwrap();
    assert_eq!((next.members().len(), next.power()), (5, 60));
    // What happens later is for the epoch after.
    let unbond = Action::Unbond { stake: 20 * NANO_PER_WEFT };
    let unbond = chain.candidate(chain.sign(&key(1), chain.payload(&key(1), 2, unbond)), vec![]);
    let valid = chain.propose(&[unbond]);
    chain.decide(valid, &[0, 1, 2, 3, 4]);
    while chain.height() <= 7 {
        assert_eq!(data(&chain).0.attesters, genesis.hash());
        assert_eq!(data(&chain).0.next_attesters, next.hash());
        grow(&mut chain);
    }
    let handing_over = certified(&chain);
    assert_eq!(handing_over.hand_over(next.clone()), Ok(next.clone()));
    assert_eq!(handing_over.hand_over(genesis.clone()), Err(CertificateError::NoHandover { height: 7 }));
    grow(&mut chain);
    let (first, _) = data(&chain);
    assert_eq!((first.height, first.attesters, first.next_attesters), (8, next.hash(), [0; 32]));
    assert_eq!(certificate(&chain, &[1, 2, 3, 4]), None, "40 of 60 are not more than two thirds");
    assert!(certificate(&chain, &[1, 2, 3, 4, 5]).is_some());
    while chain.height() <= 16 {
        grow(&mut chain);
    }
    assert_eq!(data(&chain).0.attesters, genesis.hash());
    assert_eq!(Attesters::decode(&next.encode()), Ok(next.clone()));
    let mut unordered = next.members().to_vec();
    unordered.reverse();
    assert!(Attesters::decode(&Attesters::new(unordered).unwrap().encode()).is_err());
}

#[test]
fn one_certificate_covers_the_epoch_before_it() {
    let mut chain = chain();
    let blocks: Vec<_> = (0..7).map(|_| grow(&mut chain)).collect();
    let roots: Vec<[u8; 32]> = blocks
        .iter()
        .map(|block| block.signed_header.header.data_hash.unwrap().as_bytes().try_into().unwrap())
        .collect();
    let certified = certified(&chain);
    for (from, count) in [(1, 7), (1, 1), (7, 1), (3, 4)] {
        let proof = HistoryProof::new(1, &roots, from, count).unwrap();
        assert_eq!(HistoryProof::decode(&proof.encode()), Ok(proof.clone()));
        let verified = proof.clone().verify(&certified).unwrap();
        let expected = (from..).zip(&roots[from as usize - 1..][..count]);
        assert!(verified.data_roots().eq(expected));
        let bad = Err(CertificateError::History { height: 7 });
        let changes: [fn(&mut HistoryProof); 5] = [
            |p| p.from = u64::MAX,
            |p| p.data_roots[0][0] ^= 1,
            |p| p.from += 1,
            |p| p.siblings.push([0; 32]),
            |p| {
                p.data_roots.pop();
            },
        ];
        for change in changes {
            let mut proof = proof.clone();
            change(&mut proof);
            assert_eq!(proof.verify(&certified), bad);
        }
        // A leaf holds its height, so that no other place in the tree makes it say anything else.
        let shifted = HistoryProof { first: 2, ..proof };
        assert!(shifted.verify(&certified).is_ok_and(|other| other == verified) || from < 7);
    }
    assert_eq!(HistoryProof::new(1, &roots, 7, 2), None);
    assert_eq!(HistoryProof::new(2, &roots, 1, 1), None);
    assert_eq!(HistoryProof::new(1, &roots, 1, 0), None);
    // The next epoch begins anew.
    grow(&mut chain);
    assert_eq!(chain.state().history().unwrap().leaves(), 0);
    grow(&mut chain);
    assert_eq!(chain.state().history().unwrap().leaves(), 1);
}

/// As a contract does: hash, tree and sum from what an EVM reads, and who did not sign proven into the tree.
#[test]
fn a_contract_finds_the_attesters_from_their_hash() {
    let mut chain = chain();
    grow(&mut chain);
    let (data, attesters) = data(&chain);
    let count = attesters.members().len();
    let preimage = [
        b"weft/attesters/1",
        &(count as u32).to_be_bytes()[..],
        &attesters.power().to_be_bytes(),
        &attesters.aggregate_key(),
        &attesters.root(),
    ];
    assert_eq!(keccak256(&preimage.concat()), data.attesters);
    let leaf = |at: usize, key: &[u8; 256]| {
        let member = &attesters.members()[at];
        [&(at as u32).to_be_bytes()[..], member.operator.as_bytes(), key, &member.power.to_be_bytes()]
            .concat()
    };
    let keys: Vec<_> = (0..count).map(|at| attesters.prove(at).unwrap()).collect();
    let leaves: Vec<_> = keys.iter().enumerate().map(|(at, (key, _))| leaf(at, key)).collect();
    assert_eq!(KeccakTree::new(&leaves).root(), attesters.root());
    for (at, (key, siblings)) in keys.iter().enumerate() {
        assert_eq!(keccak_root_of_range(count, at, [leaf(at, key)], siblings), Some(attesters.root()));
    }
    assert_eq!(attesters.prove(count), None);
}

#[test]
fn a_certificate_stands_in_for_a_commit() {
    let mut chain = chain();
    let first = grow(&mut chain);
    let hash = first.signed_header.header.hash().as_bytes().try_into().unwrap();
    let checkpoint = Checkpoint { height: 1, hash };
    let trusted =
        VerifiedHeader::from_checkpoint(first.clone(), "weft-test", &checkpoint, chain.now(), &OPTIONS)
            .unwrap();
    // Header 2 commits to the state after block 1, which says who attests.
    let second = grow(&mut chain);
    let trusted = trusted.advance(second, chain.now(), &OPTIONS).unwrap();
    let state = chain::State::at(&chain.store, 1);
    let (value, proof) = state.prove(&StateKey::Attesters).unwrap();
    let proven = proof.verify(&trusted, &StateKey::Attesters, value).unwrap();
    let attesters = Attesters::decode(proven.value().unwrap()).unwrap();

    let later = (0..3).map(|_| grow(&mut chain)).last().unwrap();
    let verify = |certificate: Certificate| certificate.verify(&chain.genesis.domain(), &attesters).unwrap();
    let certified = verify(certificate(&chain, &[1, 2, 4]).unwrap());
    let bare = LightBlock::decode(&later.clone().without_commit().encode()).unwrap();
    assert!(!bare.has_commit() && later.has_commit());
    let header = trusted.certified(bare, &certified, chain.now(), &OPTIONS).unwrap();
    assert_eq!((header.height(), header.light_block().has_commit()), (5, false));
    // Signatures that nobody checked are not kept.
    let same = trusted.certified(later.clone(), &certified, chain.now(), &OPTIONS).unwrap();
    assert_eq!(same, header);

    let refused = |block: LightBlock| trusted.certified(block, &certified, chain.now(), &OPTIONS);
    assert!(matches!(refused(first), Err(HeaderError::Invalid(_))));
    let mut other = later.clone();
    other.signed_header.header.app_hash = vec![1; 32].try_into().unwrap();
    assert!(matches!(refused(other), Err(HeaderError::Invalid(_))));
    let late = (chain.now() + Duration::from_secs(3_600)).unwrap();
    assert!(matches!(
        trusted.certified(later.clone(), &certified, late, &OPTIONS),
        Err(HeaderError::TooOld { .. })
    ));
    let early = (chain.now() - Duration::from_secs(60)).unwrap();
    assert!(matches!(trusted.certified(later, &certified, early, &OPTIONS), Err(HeaderError::Invalid(_))));
    // And from it on by commits again.
    let next = grow(&mut chain);
    assert_eq!(header.advance(next, chain.now(), &OPTIONS).unwrap().height(), 6);
}

fn double(chain: &Chain, seed: u8) -> DoubleAttestation {
    let (data, attesters) = data(chain);
    let other = AttestationData { data_root: [9; 32], ..data };
    let signed = |data| (data, attest(chain, seed, data, &attesters).signature);
    DoubleAttestation {
        validator: attestation_secret(seed).key(),
        first: signed(data),
        second: signed(other),
    }
}

fn report(chain: &mut Chain, from: u8, evidence: Evidence) -> Result<(), LedgerError> {
    let mut payload = chain.payload(&key(from), from, Action::Evidence(Box::new(evidence)));
    payload.salt[..8].copy_from_slice(&chain.height().to_be_bytes());
    let candidate = chain.candidate(chain.sign(&key(from), payload), vec![]);
    chain::Ledger::new(chain.state(), &chain.genesis)?.check(candidate.transaction())?;
    let valid = chain.propose(&[candidate]);
    chain.decide(valid, &[0, 1, 2, 3]);
    Ok(())
}

#[test]
fn two_attestations_of_a_height_slash_once() {
    let mut chain = chain();
    grow(&mut chain);
    let good = double(&chain, 1);
    let evidence = Evidence::DoubleAttestation(good.clone());
    assert_eq!(Evidence::decode(&evidence.encode()), Ok(evidence.clone()));

    let mut refuse = |change: fn(&mut DoubleAttestation)| {
        let mut bad = good.clone();
        change(&mut bad);
        report(&mut chain, 2, Evidence::DoubleAttestation(bad)).unwrap_err()
    };
    assert_eq!(refuse(|e| e.second = e.first), EvidenceError::SameBlock.into());
    assert_eq!(refuse(|e| e.second.0.height = 2), EvidenceError::Malformed.into());
    assert_eq!(refuse(|e| e.second.0.time += 1), EvidenceError::Signature.into());
    assert_eq!(refuse(|e| e.second.1 = e.first.1), EvidenceError::Signature.into());
    assert_eq!(refuse(|e| e.validator = attestation_secret(2).key()), EvidenceError::Signature.into());
    assert_eq!(refuse(|e| e.validator = attestation_secret(9).key()), StakingError::Nobody.into());

    report(&mut chain, 2, evidence.clone()).unwrap();
    let operator = key(100).address();
    let validator = chain.state().validator(&operator).unwrap().unwrap();
    assert!(validator.slashed && validator.stake == 0);
    assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());
    assert_eq!(report(&mut chain, 3, evidence), Err(StakingError::Slashed(operator).into()));
    let other_key = Evidence::Equivocation(crate::support::contradiction(1, chain::Step::Prevote, 1));
    assert_eq!(report(&mut chain, 3, other_key), Err(StakingError::Slashed(operator).into()));
}
