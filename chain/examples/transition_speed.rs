//! What a block's state transition costs when the state holds a thousand accounts and when it holds a million, and when
//! a block's transfers expire together with none, a hundred thousand and a million that are included already: transfers
//! among random accounts, checked, applied and written as the next version of the state. In the latter case each block
//! forgets as many transfers as it includes.
#![allow(clippy::unwrap_used, reason = "a measurement that fails may stop")]

use std::{fs, time::Duration};

use chain::{
    Action, Address, Genesis, GenesisAccount, GenesisValidator, Ledger, MemoryState, Parameters, Payload,
    SecretKey, State, StateKey, StateStore, StateUpdate, VerifiedTransaction,
};
use jmt::{
    JellyfishMerkleTree, KeyHash,
    storage::{LeafNode, Node, NodeKey, TreeReader},
};
use sha2::Sha256;

/// Blocks measured.
const BLOCKS: u64 = 2;

/// The last height at which any of the transfers is valid.
const VALID_UNTIL: u64 = 9_000;

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
fn transfers(genesis: &Genesis, height: u64, count: u64) -> Vec<VerifiedTransaction> {
    let domain = chain::Domain::new("weft-speed", &[0; 32]);
    let accounts = genesis.accounts.len() as u64;
    let mut salt = [0; 16];
    let transfer = |number: u64| {
        let number = height * 10_000 + number;
        salt[..8].copy_from_slice(&number.to_be_bytes());
        let from = key((number % u64::from(SIGNERS)) as u8 + 1);
        let to = account(number.wrapping_mul(2_654_435_761) % accounts);
        let payload = Payload {
            sender: from.address(),
            salt,
            valid_until: VALID_UNTIL,
            fee_cap: 100_000,
            tip: 1,
            action: Action::Transfer { to, amount: 1 },
        };
        let transaction = from.sign(payload, Vec::new(), &domain).unwrap();
        transaction.verify(&domain, &genesis.parameters).unwrap()
    };
    (0..count).map(transfer).collect()
}

/// The `number`th transfer that was included before.
fn remembered(number: u64) -> [u8; 32] {
    erasure::keccak256(&number.to_be_bytes())
}

/// What this thread has used of a processor: what else the machine does is not counted. Linux tells.
fn processor_time() -> Duration {
    let used = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(used.split(' ').next().unwrap().parse().unwrap())
}

struct Tree<'a>(&'a MemoryState);

impl TreeReader for Tree<'_> {
    fn get_node_option(&self, key: &NodeKey) -> anyhow::Result<Option<Node>> {
        let bytes = self.0.node(&borsh::to_vec(key)?)?;
        Ok(bytes.map(|bytes| borsh::from_slice(&bytes)).transpose()?)
    }

    fn get_value_option(&self, at_most: u64, key: KeyHash) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.0.value(&key.0, at_most)?)
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("not asked for by a tree that is written to")
    }
}

struct Chain {
    genesis: Genesis,
    store: MemoryState,
    height: u64,
}

impl Chain {
    fn new(accounts: u64) -> Self {
        let genesis = genesis(accounts);
        let mut store = MemoryState::default();
        store.apply(StateUpdate::genesis(&genesis).unwrap());
        Self { genesis, store, height: 0 }
    }

    /// Writes `values` as a version of their own.
    fn put(&mut self, values: impl IntoIterator<Item = (StateKey, Vec<u8>)>) {
        self.height += 1;
        let tree = Tree(&self.store);
        let values =
            values.into_iter().map(|(key, value)| (KeyHash::with::<Sha256>(key.bytes()), Some(value)));
        let tree = JellyfishMerkleTree::<_, Sha256>::new(&tree);
        let (root, batch) = tree.put_value_set(values, self.height).unwrap();
        let batch = batch.node_batch;
        let node =
            |(key, node): (&NodeKey, &Node)| (borsh::to_vec(key).unwrap(), borsh::to_vec(node).unwrap());
        self.store.apply(StateUpdate {
            version: self.height,
            root: root.0,
            nodes: batch.nodes().iter().map(node).collect(),
            values: batch.values().iter().map(|((_, key), value)| (key.0, value.clone())).collect(),
            stale: Vec::new(),
        });
    }

    /// The least processor time of a block of `count` transfers, and what it writes: nodes and values, and their bytes.
    fn measure(&mut self, count: u64) -> (Duration, usize, usize) {
        let mut least = (Duration::MAX, 0, 0);
        for _ in 0..BLOCKS {
            let block = transfers(&self.genesis, self.height + 1, count);
            let begun = processor_time();
            let mut ledger = Ledger::new(State::at(&self.store, self.height), &self.genesis).unwrap();
            for transfer in &block {
                ledger.apply(transfer, key(250).address()).unwrap();
            }
            let update = ledger.finish(None).unwrap();
            let nodes = update.nodes.iter().map(|(_, node)| node.len());
            let values = update.values.iter().filter_map(|(_, value)| value.as_ref()).map(Vec::len);
            let bytes = nodes.chain(values).sum();
            least = least.min((processor_time() - begun, update.nodes.len() + update.values.len(), bytes));
            self.store.apply(update);
            self.height += 1;
        }
        least
    }
}

fn report(what: &str, (time, written, bytes): (Duration, usize, usize)) {
    println!("{what}: {time:>9.2?}, {written:>6} nodes and values written, {:>9.1} KB", bytes as f64 / 1e3);
}

fn main() {
    println!("state in memory, least processor time of {BLOCKS} blocks");
    for count in [0, 100_000, 1_000_000] {
        let mut chain = Chain::new(1_000);
        if count > 0 {
            let included = 0u64.to_be_bytes().to_vec();
            chain.put((0..count).map(|at| (StateKey::Once(remembered(at)), included.clone())));
        }
        let mut oldest = (0..count).map(remembered);
        for transfers in [1_000, 4_096] {
            let first = chain.height + 2;
            let mut list = || oldest.by_ref().take(transfers).flatten().collect();
            let lists = (first..first + BLOCKS).map(|height| (StateKey::Seen(height), list()));
            chain.put(lists.collect::<Vec<_>>());
            report(&format!("{transfers} transfers, {count:>7} remembered"), chain.measure(transfers as u64));
        }
    }
    for accounts in [1_000, 1_000_000] {
        report(&format!("1000 transfers, {accounts:>7} accounts"), Chain::new(accounts).measure(1_000));
    }
}
