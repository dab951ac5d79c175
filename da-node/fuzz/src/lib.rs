//! The bodies of the fuzz targets of all crates that a node is made of, which their own tests run too, a bounded number
//! of times.

use std::sync::LazyLock;

type Seeds = LazyLock<Vec<Vec<u8>>>;

static NETWORK: Seeds = LazyLock::new(network::fuzz::seeds);
static CONSENSUS: Seeds = LazyLock::new(consensus::fuzz::seeds);

/// Runs `body` on `data`, and on a seed as changed by it.
fn both(seeds: &Seeds, data: &[u8], body: fn(&[u8])) {
    body(data);
    if let Some((_, edited)) = fuzzing::chosen(seeds, data) {
        body(&edited);
    }
}

/// What peers send.
pub fn network(data: &[u8]) {
    both(&NETWORK, data, network::fuzz::decoders);
}

/// What validators and signers send, and the record of signatures.
pub fn consensus(data: &[u8]) {
    both(&CONSENSUS, data, consensus::fuzz::decoders);
}

/// Signed messages as changed by the input.
pub fn signatures(data: &[u8]) {
    both(&CONSENSUS, data, consensus::fuzz::verifiers);
}

/// A database of which the input changes a record.
pub fn records(data: &[u8]) {
    da_node::fuzz::records(data, fuzzing::edited);
}
