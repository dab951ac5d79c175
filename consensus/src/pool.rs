//! Proposals that are not decided yet, of this height and the next few, in bounded memory.
//!
//! ```text
//!  unchecked ──the set is known, the signature fits──▶ assessing ──▶ settled
//!  (a height whose validators                             │  ▲
//!   are not known yet)                             not yet ▼  │ something arrived
//!                                                       waiting
//! ```
//!
//! An unchecked proposal may be anybody's, so there are few. A checked one bears its round's
//! proposer's signature; two per round are kept, which is all the engine looks at.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_malachitebft_core_types::{Height as _, Round};

use tendermint::chain;

use crate::app::Payload;
use crate::block_ref::BlockRef;
use crate::context::{Address, Height, Part};

/// How many heights past the one to decide are kept: nodes are at most about one apart, those
/// further behind use sync.
const LOOKAHEAD_HEIGHTS: u64 = 2;
/// How many proposals of a height whose validators are unknown.
const MAX_UNCHECKED: usize = 8;
/// How many proposals a proposer's round may have.
const MAX_PER_ROUND: usize = 2;
/// How many proposals of one height at all.
const MAX_PER_HEIGHT: usize = 64;

/// Where a proposal is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody has looked at the signature.
    Unchecked,
    /// The application is judging it; `again` says that something arrived meanwhile.
    Assessing {
        /// Ask once more if the answer is that something is missing.
        again: bool,
    },
    /// The application misses something.
    Waiting,
    /// The engine has the verdict, or needs none.
    Settled,
}

/// A proposal, decoded. Whether its body belongs to its header is for the application to say.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) part: Part,
    pub(crate) payload: Arc<Payload>,
    pub(crate) id: BlockRef,
    pub(crate) stage: Stage,
}

impl Entry {
    /// `None` unless the payload decodes to a header of this chain and the part's height.
    pub(crate) fn new(part: Part, stage: Stage, chain_id: &chain::Id) -> Option<Self> {
        let payload = Payload::decode(part.payload.clone()).ok()?;
        let header = &payload.header;
        let fits = Height::from(header.height) == part.height && header.chain_id == *chain_id;
        let id = BlockRef::of(header);
        fits.then(|| Self { part, payload: Arc::new(payload), id, stage })
    }
}

/// The proposals.
#[derive(Debug, Default)]
pub(crate) struct Pool(BTreeMap<Height, Vec<Entry>>);

impl Pool {
    /// Whether a part of `height` may be kept when `next` is the height to decide.
    pub(crate) fn covers(next: Height, height: Height) -> bool {
        next <= height && height <= next.increment_by(LOOKAHEAD_HEIGHTS)
    }

    /// Keeps `entry`, unless it is there already or there is no room.
    pub(crate) fn insert(&mut self, entry: Entry) -> bool {
        let entries = self.0.entry(entry.part.height).or_default();
        let round = entry.part.round;
        // An unchecked one may bear a false signature: it does not stand for one that bears another.
        let known = entries.iter().any(|e| {
            let same = e.id == entry.id && e.part.round == round;
            same && (e.stage != Stage::Unchecked || e.part == entry.part)
        });
        let unchecked = entries.iter().filter(|e| e.stage == Stage::Unchecked).count();
        let in_round =
            entries.iter().filter(|e| e.stage != Stage::Unchecked && e.part.round == round).count();
        let room = entries.len() < MAX_PER_HEIGHT
            && match entry.stage {
                Stage::Unchecked => unchecked < MAX_UNCHECKED,
                _ => in_round < MAX_PER_ROUND,
            };
        if !known && room {
            entries.push(entry);
        }
        !known && room
    }

    /// Keeps a decided or own `entry` whatever else is there.
    pub(crate) fn insert_always(&mut self, entry: Entry) {
        let entries = self.0.entry(entry.part.height).or_default();
        entries.retain(|e| e.id != entry.id || e.part.round != entry.part.round);
        entries.push(entry);
    }

    /// A block's proposal, if possible one with a signature, which can be relayed.
    pub(crate) fn find(&self, height: Height, id: &BlockRef) -> Option<&Entry> {
        let entries = self.0.get(&height)?.iter().filter(|entry| entry.id == *id);
        entries.max_by_key(|entry| entry.part.signature.is_some())
    }

    /// What `proposer` proposed in a round.
    pub(crate) fn proposed(&self, height: Height, round: Round, proposer: Address) -> Option<&Entry> {
        let fits = |entry: &&Entry| entry.part.round == round && entry.part.proposer == proposer;
        self.0.get(&height)?.iter().find(fits)
    }

    /// The stage of a proposal, to be moved on.
    pub(crate) fn stage(&mut self, height: Height, round: Round, id: &BlockRef) -> Option<&mut Stage> {
        let entries = self.0.get_mut(&height)?;
        entries.iter_mut().find(|e| e.part.round == round && e.id == *id).map(|e| &mut e.stage)
    }

    /// Whether somebody is known to have started `height`.
    pub(crate) fn has_checked(&self, height: Height) -> bool {
        self.0.get(&height).is_some_and(|entries| entries.iter().any(|e| e.stage != Stage::Unchecked))
    }

    /// Takes out the unchecked proposals of `height`.
    pub(crate) fn take_unchecked(&mut self, height: Height) -> Vec<Part> {
        let Some(entries) = self.0.get_mut(&height) else {
            return Vec::new();
        };
        entries.extract_if(.., |e| e.stage == Stage::Unchecked).map(|e| e.part).collect()
    }

    /// Marks everything that misses something as worth another look; returns what can be looked at
    /// now.
    pub(crate) fn retry(&mut self, height: Height) -> Vec<Entry> {
        let mut ready = Vec::new();
        for entry in self.0.get_mut(&height).into_iter().flatten() {
            match &mut entry.stage {
                Stage::Assessing { again } => *again = true,
                stage @ Stage::Waiting => {
                    *stage = Stage::Assessing { again: false };
                    ready.push(entry.clone());
                }
                Stage::Unchecked | Stage::Settled => {}
            }
        }
        ready
    }

    /// Forgets everything below `height`.
    pub(crate) fn prune(&mut self, height: Height) {
        self.0 = self.0.split_off(&height);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use bytes::Bytes;

    use super::*;
    use crate::test_blocks::{CHAIN_ID, header};

    fn entry(height: u32, round: u32, body: u8, stage: Stage) -> Entry {
        let payload = Payload { header: header(height, body), body: Bytes::from(vec![body]) };
        let part = Part {
            height: payload.header.height.into(),
            round: Round::new(round),
            proposer: Address([1; 20]),
            payload: payload.encode(),
            signature: None,
        };
        Entry::new(part, stage, &CHAIN_ID.parse().unwrap()).unwrap()
    }

    const ASSESSING: Stage = Stage::Assessing { again: false };

    #[test]
    fn a_round_holds_two_proposals_and_a_height_of_unknown_validators_eight() {
        let mut pool = Pool::default();
        let kept = (0..4).filter(|body| pool.insert(entry(1, 0, *body, ASSESSING))).count();
        assert_eq!(kept, MAX_PER_ROUND);
        assert!(!pool.insert(entry(1, 0, 0, ASSESSING)), "kept twice");
        assert!(pool.insert(entry(1, 1, 0, ASSESSING)), "another round has room of its own");

        let kept = (0..20).filter(|body| pool.insert(entry(2, 0, *body, Stage::Unchecked))).count();
        assert_eq!(kept, MAX_UNCHECKED);
        assert!(pool.insert(entry(2, 0, 99, ASSESSING)), "crowded out by unchecked ones");
        assert_eq!(pool.take_unchecked(height(2)).len(), MAX_UNCHECKED);
        assert!(pool.has_checked(height(2)));
    }

    fn height(height: u64) -> Height {
        Height::new(height).unwrap()
    }

    #[test]
    fn what_arrives_during_an_assessment_is_not_forgotten() {
        let mut pool = Pool::default();
        let entry = entry(1, 0, 0, ASSESSING);
        let (round, id) = (entry.part.round, entry.id);
        pool.insert(entry);
        assert!(pool.retry(height(1)).is_empty(), "it is being assessed");
        assert_eq!(pool.stage(height(1), round, &id), Some(&mut Stage::Assessing { again: true }));
        *pool.stage(height(1), round, &id).unwrap() = Stage::Waiting;
        assert_eq!(pool.retry(height(1)).len(), 1);
        assert_eq!(pool.stage(height(1), round, &id).copied(), Some(ASSESSING));
    }

    #[test]
    fn a_payload_for_another_height_or_chain_is_no_entry() {
        let mut part = entry(1, 0, 0, ASSESSING).part;
        assert!(Entry::new(part.clone(), ASSESSING, &"weft-other".parse().unwrap()).is_none());
        part.height = height(2);
        assert!(Entry::new(part, ASSESSING, &CHAIN_ID.parse().unwrap()).is_none());
    }

    #[test]
    fn payloads_are_bounded_and_damage_is_an_error() {
        let payload = Payload { header: header(1, 0), body: Bytes::from_static(b"body") };
        let bytes = payload.encode();
        assert_eq!(Payload::decode(bytes.clone()), Ok(payload));
        for end in 0..bytes.len() - 4 {
            assert!(Payload::decode(bytes.slice(..end)).is_err());
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 0xff;
            let _ = Payload::decode(changed.into());
        }
        let long = Payload::decode(vec![0; crate::MAX_PAYLOAD_BYTES + 1].into());
        assert!(matches!(long, Err(crate::DecodeError::TooLong { .. })));
    }
}
