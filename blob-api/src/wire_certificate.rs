//! The JSON bodies of certificates: what a contract on an L1 is given.

use chain::{AttestationData, Attesters, Certificate, Domain, Height, HistoryProof};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Hex;

/// `GET /v1/certificate/{height}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateBody {
    /// The block.
    pub height: Height,
    /// Its header's time in seconds since 1970, rounded down.
    pub time_seconds: u64,
    /// Its header's hash.
    #[schema(value_type = String)]
    pub header_hash: Hex,
    /// Its data root.
    #[schema(value_type = String)]
    pub data_root: Hex,
    /// Root of the keccak tree over `height: u64 BE ‖ data root` of the epoch's heights up to this one.
    #[schema(value_type = String)]
    pub history_root: Hex,
    /// Hash of those who attest in this epoch; `/v1/attesters/{hash}` lists them.
    #[schema(value_type = String)]
    pub attesters: Hex,
    /// Hash of those of the next epoch; all zero before the epoch's middle.
    #[schema(value_type = String)]
    pub next_attesters: Hex,
    /// keccak-256 of chain id and genesis hash, the second part of the message.
    #[schema(value_type = String)]
    pub chain: Hex,
    /// The bytes that were signed.
    #[schema(value_type = String)]
    pub message: Hex,
    /// All of it as `chain::Certificate` encodes it.
    #[schema(value_type = String)]
    pub certificate: Hex,
    /// Votes of those who signed.
    pub signed_power: u64,
    /// What an EVM checks it with.
    pub evm: EvmCertificateBody,
    /// With `?range=`: the data roots of the range, proven under `history_root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryBody>,
}

/// A certificate for an EVM: points as EIP-2537 has them, and who did not sign.
///
/// `attesters` = keccak256("weft/attesters/1" ‖ count: u32 ‖ power: u64 ‖ aggregate_key ‖ root); the key to check the
/// signature with is `aggregate_key` less those of `absent`, each proven under `root`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EvmCertificateBody {
    /// The signature: 128 bytes, a point of G1.
    #[schema(value_type = String)]
    pub signature: Hex,
    /// How many attest.
    pub count: u32,
    /// Their votes in all.
    pub power: u64,
    /// The sum of their keys: 256 bytes, a point of G2.
    #[schema(value_type = String)]
    pub aggregate_key: Hex,
    /// Root of the keccak tree over `index: u32 ‖ operator: 20 ‖ key: 256 ‖ power: u64`.
    #[schema(value_type = String)]
    pub root: Hex,
    /// Those who did not sign.
    pub absent: Vec<AttesterBody>,
}

/// An attester, with the path of its leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttesterBody {
    /// Its place.
    pub index: u32,
    /// Its account.
    pub operator: String,
    /// Its key: 256 bytes, a point of G2.
    #[schema(value_type = String)]
    pub key: Hex,
    /// Its votes.
    pub power: u64,
    /// From its leaf up to `root`.
    #[schema(value_type = Vec<String>)]
    pub siblings: Vec<Hex>,
}

/// Data roots under a history root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryBody {
    /// The epoch's first height, that of the tree's first leaf.
    pub first: Height,
    /// The height of the first data root.
    pub from: Height,
    /// The data roots.
    #[schema(value_type = Vec<String>)]
    pub data_roots: Vec<Hex>,
    /// The nodes that the leaves do not give, bottom up, left before right.
    #[schema(value_type = Vec<String>)]
    pub siblings: Vec<Hex>,
}

/// `GET /v1/attesters/{hash}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttestersBody {
    /// What certificates name them by.
    #[schema(value_type = String)]
    pub hash: Hex,
    /// Their votes in all.
    pub power: u64,
    /// The sum of their keys: 256 bytes, a point of G2.
    #[schema(value_type = String)]
    pub aggregate_key: Hex,
    /// Root of their tree.
    #[schema(value_type = String)]
    pub root: Hex,
    /// All of them as `chain::Attesters` encodes them.
    #[schema(value_type = String)]
    pub attesters: Hex,
}

fn hexes(digests: &[[u8; 32]]) -> Vec<Hex> {
    digests.iter().map(|digest| Hex(digest.to_vec())).collect()
}

impl CertificateBody {
    pub(crate) fn new(
        domain: &Domain,
        certificate: &Certificate,
        attesters: &Attesters,
        history: Option<HistoryProof>,
    ) -> Self {
        let AttestationData { height, time, header, data_root, history_root, .. } = certificate.data;
        let members = attesters.members().iter().enumerate();
        let absent = members.clone().filter(|(at, _)| !certificate.signed(*at));
        let absent = absent.filter_map(|(at, member)| {
            let (key, siblings) = attesters.prove(at)?;
            Some(AttesterBody {
                index: at as u32,
                operator: member.operator.to_string(),
                key: Hex(key.to_vec()),
                power: member.power,
                siblings: hexes(&siblings),
            })
        });
        Self {
            height,
            time_seconds: time,
            header_hash: Hex(header.to_vec()),
            data_root: Hex(data_root.to_vec()),
            history_root: Hex(history_root.to_vec()),
            attesters: Hex(certificate.data.attesters.to_vec()),
            next_attesters: Hex(certificate.data.next_attesters.to_vec()),
            chain: Hex(domain.chain().to_vec()),
            message: Hex(certificate.data.message(domain)),
            certificate: Hex(certificate.encode()),
            signed_power: members
                .filter(|(at, _)| certificate.signed(*at))
                .map(|(_, member)| member.power)
                .sum(),
            evm: EvmCertificateBody {
                signature: Hex(certificate.signature.evm().to_vec()),
                count: attesters.members().len() as u32,
                power: attesters.power(),
                aggregate_key: Hex(attesters.aggregate_key().to_vec()),
                root: Hex(attesters.root().to_vec()),
                absent: absent.collect(),
            },
            history: history.map(|HistoryProof { first, from, data_roots, siblings }| HistoryBody {
                first,
                from,
                data_roots: hexes(&data_roots),
                siblings: hexes(&siblings),
            }),
        }
    }
}

impl HistoryBody {
    /// The proof, or none where something is no hash.
    pub fn proof(&self) -> Option<HistoryProof> {
        let digests =
            |hexes: &[Hex]| hexes.iter().map(|hex| hex.0[..].try_into().ok()).collect::<Option<_>>();
        let (data_roots, siblings) = (digests(&self.data_roots)?, digests(&self.siblings)?);
        Some(HistoryProof { first: self.first, from: self.from, data_roots, siblings })
    }
}

impl From<&Attesters> for AttestersBody {
    fn from(attesters: &Attesters) -> Self {
        Self {
            hash: Hex(attesters.hash().to_vec()),
            power: attesters.power(),
            aggregate_key: Hex(attesters.aggregate_key().to_vec()),
            root: Hex(attesters.root().to_vec()),
            attesters: Hex(attesters.encode()),
        }
    }
}
