//! Certificates, verified.

use std::ops::RangeInclusive;

use chain::{
    Attesters, Certificate, Certified, Height, StateError, StateKey, VerifiedHeader, VerifiedHistory,
};

use super::{
    Client, ClientError,
    error::{Fault, ProofKind, lied},
    hedge::Node,
    request::json,
};
use crate::{AttestersBody, CertificateBody};

/// A certificate of a block whose header was verified by its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    header: VerifiedHeader,
    certified: Certified,
    attesters: Attesters,
    proven: bool,
    history: Option<VerifiedHistory>,
    body: CertificateBody,
}

impl VerifiedCertificate {
    /// The block's header.
    pub fn header(&self) -> &VerifiedHeader {
        &self.header
    }

    /// The certificate.
    pub fn certified(&self) -> &Certified {
        &self.certified
    }

    /// Those who made it.
    pub fn attesters(&self) -> &Attesters {
        &self.attesters
    }

    /// Whether the latest state says that they attest in this epoch or the next. Of older epochs it does not say it
    /// any more: then only the signatures and the header were checked.
    pub fn attesters_are_proven(&self) -> bool {
        self.proven
    }

    /// The data roots of the range that was asked for.
    pub fn history(&self) -> Option<&VerifiedHistory> {
        self.history.as_ref()
    }

    /// All of it, for somebody else to check.
    pub fn body(&self) -> &CertificateBody {
        &self.body
    }
}

impl Client {
    /// The certificate at `height`, or the latest, with the data roots of `range` if one is given.
    pub async fn certificate(
        &self,
        height: Option<Height>,
        range: Option<RangeInclusive<Height>>,
    ) -> Result<VerifiedCertificate, ClientError> {
        let domain = self.trust()?.network.domain();
        let current = self.proven(StateKey::Attesters).await?;
        let next = self.proven(StateKey::AttestersNext).await?;
        let range = range.as_ref();
        let (current, next) = (&current, &next);
        let ask = |node: Node| async move {
            let name = height.map_or_else(|| "latest".to_owned(), |height| height.to_string());
            let query =
                range.map_or_else(String::new, |range| format!("?range={}-{}", range.start(), range.end()));
            let url = format!("/v1/certificate/{name}{query}");
            let body: CertificateBody = json(self.transport.get(&node, &url)).await?;
            let false_one = |error: &dyn ToString| Fault::Lied(ProofKind::Certificate, error.to_string());
            let certificate = Certificate::decode(&body.certificate.0).map_err(|error| false_one(&error))?;
            let data = certificate.data;
            if height.is_some_and(|height| height != data.height) {
                return Err(false_one(&format!("of height {}", data.height)));
            }
            let header = self.header_from(&node, data.height).await?;
            let said = (header.hash(), header.data_root());
            if said != (data.header, data.data_root) {
                return Err(false_one(&"of another header than the verified one"));
            }
            let named = |bytes: Option<&[u8]>| {
                let attesters = bytes.map(Attesters::decode).transpose();
                let attesters = attesters.map_err(|error: StateError| {
                    Fault::Final(ClientError::Local(format!(
                        "{error}: the chain's rules are newer than this program"
                    )))
                })?;
                Ok::<_, Fault>(attesters.filter(|attesters| attesters.hash() == data.attesters))
            };
            let proven = match named(current.value())? {
                Some(attesters) => Some(attesters),
                None => named(next.value())?,
            };
            let is_proven = proven.is_some();
            let attesters = match proven {
                Some(attesters) => attesters,
                None => self.attesters_from(&node, &data.attesters).await?,
            };
            let certified = certificate.verify(&domain, &attesters).map_err(|error| false_one(&error))?;
            let history = match (range, &body.history) {
                (None, _) => None,
                (Some(range), Some(history)) => {
                    let proof = history.proof().ok_or_else(|| false_one(&"a hash has 32 bytes"))?;
                    let asked = proof.from == *range.start()
                        && proof.data_roots.len() as u64 == range.end() - range.start() + 1;
                    if !asked {
                        return Err(false_one(&"of other heights than asked for"));
                    }
                    Some(proof.verify(&certified).map_err(|error| false_one(&error))?)
                }
                (Some(_), None) => return Err(false_one(&"without the range")),
            };
            Ok(VerifiedCertificate { header, certified, attesters, proven: is_proven, history, body })
        };
        Ok(Box::pin(self.transport.any(ask)).await?.1)
    }

    /// The attesters with this hash, which is all that was checked.
    async fn attesters_from(&self, node: &Node, hash: &[u8; 32]) -> Result<Attesters, Fault> {
        let body: AttestersBody =
            json(self.transport.get(node, &format!("/v1/attesters/{}", hex::encode(hash)))).await?;
        let attesters = Attesters::decode(&body.attesters.0).map_err(lied(ProofKind::Certificate))?;
        if attesters.hash() != *hash {
            return Err(lied(ProofKind::Certificate)("other attesters than asked for"));
        }
        Ok(attesters)
    }
}
