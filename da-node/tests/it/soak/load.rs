//! What rollups do meanwhile: they submit, transfer, bond, read and follow, and remember what they were promised.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use blob_api::{Client, ClientError, ErrorCode, Prepared, SubmitOptions, TxBody};
use chain::{Action, Address, Amount, NANO_PER_WEFT, SecretKey, TxId, TxStatus};
use erasure::ForeignKind;
use futures::{StreamExt as _, future::join_all};
use tokio::time::sleep;

use super::{checks::Broken, machines::name, schedule::Draw, shared::Shared};
use crate::support::{blob, bytes, field_elements, namespace};

/// Largest blob; lengths are spread evenly over the powers of two below it.
const LARGEST: f64 = (1u32 << 20) as f64;

/// Bytes that `eip4844` commits to at a time.
const KZG_BYTES: usize = 131_072;

/// Pause between two submissions of one submitter, in milliseconds.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 200..=2_500;

/// Pause between two transfers, and between two reads.
const TRANSFER_EVERY: Duration = Duration::from_secs(12);
const READ_EVERY: Duration = Duration::from_millis(700);

/// Bonded and unbonded in turn.
const STAKE: Amount = NANO_PER_WEFT;

/// What was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Blob(Content),
    Transfer { to: Address, amount: Amount },
    Stake,
}

/// A blob that can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) namespace: u8,
    seed: u64,
    pub(super) len: usize,
    kzg: bool,
    pub(super) commitment: [u8; 32],
}

impl Content {
    pub(super) fn bytes(&self) -> Vec<u8> {
        if self.kzg { field_elements(self.seed) } else { bytes(self.seed, self.len) }
    }

    /// Compares what was read.
    pub(super) fn check(&self, from: &str, read: &[u8]) -> Result<(), Broken> {
        if self.bytes() == read {
            return Ok(());
        }
        Err(format!("{from} gives {} other bytes for blob {}", read.len(), hex::encode(self.commitment)))
    }
}

/// A submission.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) what: What,
    pub(super) id: TxId,
    by: Address,
    pub(super) at: Duration,
    /// Unknown while it is under way, or where no node answered any more.
    pub(super) end: Option<End>,
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Final {
        at: Duration,
        height: u64,
        charged: Amount,
    },
    /// Never included.
    Nothing,
}

/// All that was submitted and what was told of it.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) sent: Vec<Sent>,
    /// What the follower of namespace 1 was given.
    pub(super) followed: BTreeMap<u64, BTreeSet<[u8; 32]>>,
    pub(super) read_back: u64,
    /// Submissions that a node had no room for.
    pub(super) refused: u64,
}

impl Book {
    fn begin(&mut self, what: What, id: TxId, by: Address, at: Duration) -> usize {
        self.sent.push(Sent { what, id, by, at, end: None });
        self.sent.len() - 1
    }

    /// The final blobs, with their heights.
    pub(super) fn finals(&self) -> Vec<(Content, u64)> {
        let blob = |sent: &Sent| match (&sent.what, sent.end) {
            (What::Blob(content), Some(End::Final { height, .. })) => Some((*content, height)),
            _ => None,
        };
        self.sent.iter().filter_map(blob).collect()
    }

    /// What an account must have, that had `genesis`.
    pub(super) fn balance(&self, account: Address, genesis: Amount) -> Amount {
        let mut balance = genesis;
        for sent in &self.sent {
            let Some(End::Final { charged, .. }) = sent.end else { continue };
            if sent.by == account {
                balance -= charged;
            }
            if let What::Transfer { to, amount } = sent.what {
                balance -= if sent.by == account { amount } else { 0 };
                balance += if to == account { amount } else { 0 };
            }
        }
        balance
    }

    /// The follower was given every final blob of its namespace at its height, and nothing else.
    pub(super) fn followed_all(&self) -> Result<usize, Broken> {
        let mut expected = BTreeMap::<u64, BTreeSet<[u8; 32]>>::new();
        for (content, height) in self.finals().into_iter().filter(|(content, _)| content.namespace == 1) {
            expected.entry(height).or_default().insert(content.commitment);
        }
        let (first, last) = (self.followed.keys().next(), self.followed.keys().next_back());
        let heights = first.zip(last).map_or(0, |(first, last)| last - first + 1);
        if self.followed.len() as u64 != heights {
            return Err(format!("the follower was given {} of {heights} heights", self.followed.len()));
        }
        for (height, got) in &self.followed {
            let expected = expected.remove(height).unwrap_or_default();
            if expected != *got {
                return Err(format!(
                    "block {height} has {} blobs of namespace 1, the follower was given {}",
                    expected.len(),
                    got.len()
                ));
            }
        }
        match expected.keys().next() {
            Some(height) => Err(format!("the follower was not given block {height}")),
            None => Ok(self.followed.len()),
        }
    }
}

/// Submits blobs until the soak ends.
pub(super) async fn submit(
    shared: Arc<Shared>,
    client: Client,
    key: SecretKey,
    number: usize,
    mut draw: Draw,
) {
    let namespace = number as u8;
    while !shared.is_over() {
        sleep(Duration::from_millis(draw.within(PAUSE_MS))).await;
        let kzg = draw.below(40) == 0;
        let len = if kzg { KZG_BYTES } else { LARGEST.powf(draw.part()) as usize };
        let foreign: Vec<_> = match (kzg, draw.below(8)) {
            (true, _) => vec![ForeignKind::Eip4844],
            (false, 0) => vec![ForeignKind::Keccak256, ForeignKind::Celestia],
            (false, 1) => vec![ForeignKind::Sha256, ForeignKind::AnyTrust],
            (false, _) => Vec::new(),
        };
        let mut content = Content { namespace, seed: draw.number(), len, kzg, commitment: [0; 32] };
        let blobs = vec![blob(namespace, content.bytes(), &foreign)];
        match client.prepare(&key, blobs, SubmitOptions::default()).await {
            Ok(prepared) => {
                content.commitment = prepared.blobs()[0].commitment;
                Box::pin(carry_out(&shared, &client, &prepared, What::Blob(content), key.address())).await
            }
            Err(error) => judge(&shared, "a price", &error, None),
        };
    }
}

/// Moves money between accounts and stake of validators until the soak ends.
pub(super) async fn transfer(
    shared: Arc<Shared>,
    client: Client,
    accounts: Vec<SecretKey>,
    operators: Vec<SecretKey>,
    mut draw: Draw,
) {
    // Whose stake is above the minimum for certain.
    let mut bonded = vec![false; operators.len()];
    for turn in 0.. {
        sleep(TRANSFER_EVERY).await;
        if shared.is_over() {
            return;
        }
        let pair = draw.shuffled(0..accounts.len());
        let (to, amount) = (accounts[pair[1]].address(), draw.within(1..=NANO_PER_WEFT));
        let at = draw.below(operators.len());
        let (key, action, what) = if turn % 3 < 2 {
            (&accounts[pair[0]], Action::Transfer { to, amount }, What::Transfer { to, amount })
        } else if bonded[at] {
            (&operators[at], Action::Unbond { stake: STAKE }, What::Stake)
        } else {
            (&operators[at], Action::Bond { stake: STAKE, keys: None }, What::Stake)
        };
        let bonds = matches!(action, Action::Bond { .. });
        let done = match client.prepare_action(key, action, SubmitOptions::default()).await {
            Ok(prepared) => {
                Box::pin(carry_out(&shared, &client, &prepared, what.clone(), key.address())).await
            }
            Err(error) => judge(&shared, "a price", &error, None),
        };
        if what == What::Stake {
            bonded[at] = bonds && done;
        }
    }
}

/// Sends until it is final, and writes into the book what became of it; gives whether it is known to be final.
async fn carry_out(shared: &Shared, client: &Client, prepared: &Prepared, what: What, by: Address) -> bool {
    let place = shared.book().begin(what, prepared.id(), by, shared.now());
    match client.send_and_wait(prepared).await {
        Ok(receipt) => {
            let (height, charged) = (receipt.header.height(), receipt.transaction.charged.unwrap_or(0));
            shared.book().sent[place].end = Some(End::Final { at: shared.now(), height, charged });
            true
        }
        Err(error) => judge(shared, &prepared.id().to_string(), &error, Some(place)),
    }
}

/// Sorts out what may happen to a client whose nodes fail from what may not; in no case it is done.
fn judge(shared: &Shared, what: &str, error: &ClientError, place: Option<usize>) -> bool {
    match error {
        // Its end is looked up when all nodes are back.
        ClientError::Unreachable { .. } => {}
        ClientError::Refused { detail, .. } if detail.code == ErrorCode::UnknownTransaction => {}
        ClientError::Refused { detail, .. }
            if matches!(detail.code, ErrorCode::PoolFull | ErrorCode::TooManyRequests) =>
        {
            let mut book = shared.book();
            book.refused += 1;
            if let Some(place) = place {
                book.sent[place].end = Some(End::Nothing);
            }
        }
        _ => shared.fail(format!("{what}: {error}")),
    }
    false
}

/// Looks up what is still unknown; every node answers by now.
pub(super) async fn settle(shared: &Shared, client: &Client) {
    let open: Vec<_> = {
        let book = shared.book();
        let unknown = |(_, sent): &(usize, &Sent)| sent.end.is_none();
        book.sent.iter().enumerate().filter(unknown).map(|(place, sent)| (place, sent.id)).collect()
    };
    let look_up = async |(place, id): (usize, TxId)| {
        let end = match client.wait(id, |_| ()).await {
            Ok(TxBody { status: TxStatus::Final { height }, charged, .. }) => {
                End::Final { at: shared.now(), height, charged: charged.unwrap_or(0) }
            }
            Ok(_) => End::Nothing,
            Err(ClientError::Refused { detail, .. }) if detail.code == ErrorCode::UnknownTransaction => {
                End::Nothing
            }
            Err(error) => return shared.fail(format!("{id}: {error}")),
        };
        shared.book().sent[place].end = Some(end);
    };
    join_all(open.into_iter().map(look_up)).await;
}

/// Reads blobs that are final from nodes that are well, and compares; never ends.
pub(super) async fn read(shared: Arc<Shared>, clients: Vec<Client>, mut draw: Draw) {
    loop {
        sleep(READ_EVERY).await;
        let finals = shared.book().finals();
        let well = shared.well_nodes();
        if finals.is_empty() || well.is_empty() {
            continue;
        }
        let (content, _) = finals[draw.below(finals.len())];
        let node = well[draw.below(well.len())];
        // A node that has just come back may not have it yet; in the end every one must.
        match clients[node - 1].get(content.commitment).await {
            Ok(read) => {
                shared.must(content.check(&name(node), read.bytes()));
                shared.book().read_back += 1;
            }
            Err(ClientError::Unreachable { .. }) => {}
            Err(error) => shared.fail(format!("reading {}: {error}", hex::encode(content.commitment))),
        }
    }
}

/// Follows namespace 1 from the first block; never ends.
pub(super) async fn follow(shared: Arc<Shared>, client: Client) {
    let mut lists = client.follow_namespace(namespace(1), 1);
    while let Some(list) = lists.next().await {
        match list {
            Ok(list) => {
                let blobs = list.entries().iter().map(|entry| entry.commitment).collect();
                if shared.book().followed.insert(list.height(), blobs).is_some() {
                    shared.fail(format!("the follower was given block {} twice", list.height()));
                }
            }
            Err(ClientError::Unreachable { .. }) => {}
            Err(error) => shared.fail(format!("following: {error}")),
        }
    }
    shared.fail("the follower's stream ended".into());
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::from_bytes([1; 20]);
    const B: Address = Address::from_bytes([2; 20]);

    fn sent(book: &mut Book, what: What, by: Address, end: Option<End>) {
        let place = book.begin(what, TxId([0; 32]), by, Duration::ZERO);
        book.sent[place].end = end;
    }

    fn at(height: u64) -> Option<End> {
        Some(End::Final { at: Duration::ZERO, height, charged: 10 })
    }

    fn content(namespace: u8, seed: u64) -> Content {
        Content { namespace, seed, len: 5, kzg: false, commitment: [seed as u8; 32] }
    }

    #[test]
    fn an_account_pays_for_what_was_included_only() {
        let mut book = Book::default();
        sent(&mut book, What::Blob(content(1, 1)), A, at(2));
        sent(&mut book, What::Blob(content(1, 2)), A, Some(End::Nothing));
        sent(&mut book, What::Transfer { to: B, amount: 5 }, A, at(3));
        sent(&mut book, What::Transfer { to: A, amount: 7 }, B, at(3));
        sent(&mut book, What::Transfer { to: A, amount: 50 }, B, None);
        assert_eq!((book.balance(A, 100), book.balance(B, 100)), (82, 88));
    }

    #[test]
    fn other_bytes_are_found() {
        let content = content(1, 9);
        content.check("v1", &content.bytes()).unwrap();
        let mut other = content.bytes();
        other[4] ^= 1;
        assert!(content.check("v1", &other).unwrap_err().contains("other bytes"));
        assert!(content.check("v1", &other[..4]).is_err());
    }

    #[test]
    fn a_follower_that_misses_a_blob_or_a_height_or_is_given_one_more_is_found() {
        let mut book = Book::default();
        sent(&mut book, What::Blob(content(1, 1)), A, at(2));
        sent(&mut book, What::Blob(content(2, 2)), A, at(2));
        let given = |seeds: &[u8]| seeds.iter().map(|seed| [*seed; 32]).collect::<BTreeSet<_>>();
        book.followed = [(1, given(&[])), (2, given(&[1])), (3, given(&[]))].into();
        assert_eq!(book.followed_all(), Ok(3));
        for (height, blobs) in [(2, given(&[])), (2, given(&[1, 2])), (3, given(&[3]))] {
            let mut wrong =
                Book { sent: book.sent.clone(), followed: book.followed.clone(), ..Book::default() };
            wrong.followed.insert(height, blobs);
            assert!(wrong.followed_all().is_err());
        }
        for height in [2, 3] {
            let mut wrong =
                Book { sent: book.sent.clone(), followed: book.followed.clone(), ..Book::default() };
            wrong.followed.remove(&height);
            assert_eq!(wrong.followed_all().is_err(), height == 2);
        }
        book.followed = [(1, given(&[]))].into();
        assert!(book.followed_all().unwrap_err().contains("not given block 2"));
    }
}
