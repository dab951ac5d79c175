//! The rollup itself: a key-value ledger that is a pure function of its namespace's blobs.
//!
//! Each line of a blob is `set KEY VALUE` or `delete KEY`; any other line does nothing. Blobs count
//! in the order of the chain, whoever submitted them. Everybody who derives the ledger gets the same
//! root, without asking anybody for it.

use std::collections::BTreeMap;

use erasure::keccak256;

/// The state, and how far it was derived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) entries: BTreeMap<String, String>,
    pub(crate) height: u64,
}

impl Ledger {
    /// Applies a block's blobs.
    pub(crate) fn apply<'a>(&mut self, height: u64, blobs: impl IntoIterator<Item = &'a [u8]>) {
        for blob in blobs {
            for line in String::from_utf8_lossy(blob).lines() {
                self.step(line);
            }
        }
        self.height = height;
    }

    fn step(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("set"), Some(key), Some(value)) => {
                self.entries.insert(key.to_owned(), value.to_owned());
            }
            (Some("delete"), Some(key), None) => {
                self.entries.remove(key);
            }
            _ => {}
        }
    }

    /// A hash of all entries, each with its length, in order.
    pub(crate) fn root(&self) -> [u8; 32] {
        let mut bytes = b"kv-rollup/1".to_vec();
        for text in self.entries.iter().flat_map(|(key, value)| [key, value]) {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        keccak256(&bytes)
    }
}
