//! What a block's state transition costs when the state holds a thousand accounts, and when it holds a million: the
//! same transfers among random accounts, checked, applied and written as the next version of the state.
#![allow(clippy::unwrap_used, reason = "a measurement that fails may stop")]

use std::time::{Duration, Instant};

use chain::{
    Action, Address, Genesis, GenesisAccount, GenesisValidator, Ledger, MemoryState, Parameters, Payload,
    SecretKey, State, StateUpdate, VerifiedTransaction,
};

/// Transfers in a block.
const TRANSFERS: u64 = 1_000;

/// Blocks measured.
const BLOCKS: u64 = 8;

/// Accounts that sign; the others only receive.
const SIGNERS: u8 = 200;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32]).unwrap()
}

/// The account with this number: a signer's, or one whose key nobody has.
fn account(number: u64) -> Address {
    match u8::try_from(number) {
        Ok(seed) if seed < SIGNERS => key(seed + 1).address(),
        _ => {
            let digest = erasure::keccak256(&number.to_be_bytes());
            let mut address = [0; 20];
            address.copy_from_slice(&digest[12..]);
            Address::from_bytes(address)
        }
    }
}

fn genesis(accounts: u64) -> Genesis {
    let public_key = ed25519_consensus::SigningKey::from([1; 32]).verification_key().to_bytes();
    let balance = 1_000_000_000_000;
    Genesis {
        chain_id: "weft-speed".into(),
        time: tendermint::Time::from_unix_timestamp(1_700_000_000, 0).unwrap(),
        parameters: Parameters::default(),
        accounts: (0..accounts).map(|n| GenesisAccount { address: account(n), balance }).collect(),
        validators: vec![GenesisValidator {
            name: "one".into(),
            public_key,
            power: 10,
            operator: key(250).address(),
            attestation_key: None,
        }],
    }
}

/// A block's transfers, verified: signatures are not part of the transition.
fn transfers(genesis: &Genesis, accounts: u64, height: u64) -> Vec<VerifiedTransaction> {
    let domain = chain::Domain::new("weft-speed", &[0; 32]);
    let mut salt = [0; 16];
    let transfer = |number: u64| {
        salt[..8].copy_from_slice(&(height * TRANSFERS + number).to_be_bytes());
        let from = key((number % u64::from(SIGNERS)) as u8 + 1);
        let to = account((height * TRANSFERS + number).wrapping_mul(2_654_435_761) % accounts);
        let payload = Payload {
            sender: from.address(),
            salt,
            valid_until: height + 50,
            fee_cap: 100_000,
            tip: 1,
            action: Action::Transfer { to, amount: 1 },
        };
        let transaction = from.sign(payload, Vec::new(), &domain).unwrap();
        transaction.verify(&domain, &genesis.parameters).unwrap()
    };
    (0..TRANSFERS).map(transfer).collect()
}

/// Medians of the time of a block, and what it writes.
fn measure(accounts: u64) -> (Duration, usize) {
    let genesis = genesis(accounts);
    let mut store = MemoryState::default();
    store.apply(StateUpdate::genesis(&genesis).unwrap());
    let mut times = Vec::new();
    let mut written = Vec::new();
    for height in 1..=BLOCKS {
        let block = transfers(&genesis, accounts, height);
        let begun = Instant::now();
        let mut ledger = Ledger::new(State::at(&store, height - 1), &genesis).unwrap();
        for transfer in &block {
            ledger.apply(transfer, key(250).address()).unwrap();
        }
        let update = ledger.finish(None).unwrap();
        times.push(begun.elapsed());
        written.push(update.nodes.len() + update.values.len());
        store.apply(update);
    }
    times.sort_unstable();
    written.sort_unstable();
    (times[times.len() / 2], written[written.len() / 2])
}

fn main() {
    let mut first = None;
    println!("{TRANSFERS} transfers a block, median of {BLOCKS} blocks, state in memory");
    for accounts in [1_000, 1_000_000] {
        let (time, written) = measure(accounts);
        let base = *first.get_or_insert(time);
        let ratio = time.as_secs_f64() / base.as_secs_f64();
        println!(
            "{accounts:>9} accounts: {time:>9.2?} a block, {written} nodes and values written, {ratio:.2} ×"
        );
    }
}
