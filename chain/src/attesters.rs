//! Who attests, for an epoch: the validators whose BLS signatures make certificates.
//!
//! ```text
//!  epoch e        first … middle … last            epoch e + 1   first …
//!  signs          attesters(e)                                   attesters(e + 1)
//!  fixed                  └─ attesters(e + 1), of the stake then
//! ```
//!
//! The next epoch's attesters are fixed at its predecessor's middle, so that any certificate of the second half hands
//! over to them. An epoch's heights are those whose number, divided by the epoch's length, is the epoch's.

use erasure::{Digest, KeccakTree, keccak256};

use crate::{
    Height,
    address::Address,
    bls::{AttestationKey, BlsError, EVM_G2_BYTES, KeyPoint},
    codec::fixed,
    genesis::Parameters,
    state::StateError,
};

/// Separates the hash of attesters from every other hash.
const ATTESTERS_DOMAIN: &[u8] = b"weft/attesters/1";

/// Bytes of one attester in [`Attesters::encode`].
const ATTESTER_BYTES: usize = 20 + 96 + 8;

/// The heights during which the same validators attest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    number: u64,
    heights: u64,
}

impl Epoch {
    /// The epoch of a height.
    pub fn of(height: Height, parameters: &Parameters) -> Self {
        let heights = parameters.epoch_heights.max(2);
        Self { number: height / heights, heights }
    }

    /// Its first height with a block.
    pub fn first(&self) -> Height {
        self.number.saturating_mul(self.heights).max(1)
    }

    /// From this height on the next epoch's attesters are known.
    pub fn middle(&self) -> Height {
        self.number.saturating_mul(self.heights).saturating_add(self.heights / 2)
    }
}

/// A validator that attests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attester {
    /// Its account.
    pub operator: Address,
    /// Its BLS12-381 key.
    pub key: AttestationKey,
    /// Its votes.
    pub power: u64,
}

/// The attesters of an epoch, by operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attesters {
    members: Vec<Attester>,
    points: Vec<KeyPoint>,
    power: u64,
    tree: KeccakTree,
    hash: Digest,
}

impl Attesters {
    /// These attesters; the caller has them by operator, each once.
    pub fn new(members: Vec<Attester>) -> Result<Self, BlsError> {
        let points = members.iter().map(|member| KeyPoint::of(&member.key)).collect::<Result<Vec<_>, _>>()?;
        let leaves = members.iter().zip(&points).enumerate().map(|(at, (member, point))| {
            [
                &(at as u32).to_be_bytes()[..],
                member.operator.as_bytes(),
                &point.evm(),
                &member.power.to_be_bytes(),
            ]
            .concat()
        });
        let tree = KeccakTree::new(leaves);
        let power = members.iter().fold(0u64, |sum, member| sum.saturating_add(member.power));
        let mut attesters = Self { members, points, power, tree, hash: [0; 32] };
        attesters.hash = keccak256(
            &[
                ATTESTERS_DOMAIN,
                &(attesters.members.len() as u32).to_be_bytes(),
                &power.to_be_bytes(),
                &attesters.aggregate_key(),
                &attesters.tree.root(),
            ]
            .concat(),
        );
        Ok(attesters)
    }

    /// All of them, by operator.
    pub fn members(&self) -> &[Attester] {
        &self.members
    }

    /// Votes in all.
    pub fn power(&self) -> u64 {
        self.power
    }

    /// keccak256("weft/attesters/1" ‖ count: u32 BE ‖ power: u64 BE ‖ [`Self::aggregate_key`] ‖ [`Self::root`]): what
    /// certificates name them by, and all that a contract keeps of them.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The sum of all keys as an EVM reads it; zero, which is infinity there, of none.
    pub fn aggregate_key(&self) -> [u8; EVM_G2_BYTES] {
        KeyPoint::sum(&self.points).map_or([0; EVM_G2_BYTES], |sum| sum.evm())
    }

    /// Root of the keccak tree over index: u32 BE ‖ operator ‖ key as an EVM reads it: 256 ‖ power: u64 BE.
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// A member's key as an EVM reads it, and the siblings from its leaf to [`Self::root`].
    pub fn prove(&self, index: usize) -> Option<([u8; EVM_G2_BYTES], Vec<Digest>)> {
        Some((self.points.get(index)?.evm(), self.tree.siblings(index..index + 1)))
    }

    /// The index of the attester with this key.
    pub fn index_of(&self, key: &AttestationKey) -> Option<u32> {
        self.members.iter().position(|member| member.key == *key).map(|at| at as u32)
    }

    pub(crate) fn points(&self) -> &[KeyPoint] {
        &self.points
    }

    /// operator: 20 ‖ key: 96 ‖ power: u64 BE, each.
    pub fn encode(&self) -> Vec<u8> {
        let member =
            |m: &Attester| [m.operator.as_bytes(), &m.key.as_bytes()[..], &m.power.to_be_bytes()].concat();
        self.members.iter().flat_map(member).collect()
    }

    /// Reads what [`Self::encode`] wrote, checking each key; members out of order are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let bad = || StateError::Malformed("attesters");
        let (members, rest) = bytes.as_chunks::<ATTESTER_BYTES>();
        let member = |bytes: &[u8; ATTESTER_BYTES]| {
            Ok(Attester {
                operator: Address::from_bytes(fixed("operator", &bytes[..20]).map_err(|_| bad())?),
                key: AttestationKey::from_bytes(fixed("key", &bytes[20..116]).map_err(|_| bad())?)
                    .map_err(|_| bad())?,
                power: u64::from_be_bytes(fixed("power", &bytes[116..]).map_err(|_| bad())?),
            })
        };
        let members = members.iter().map(member).collect::<Result<Vec<_>, StateError>>()?;
        if !rest.is_empty() || !members.is_sorted_by(|a, b| a.operator < b.operator) {
            return Err(bad());
        }
        Self::new(members).map_err(|_| bad())
    }
}
