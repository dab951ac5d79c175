//! Certificates, and those who make them.

use std::{ops::RangeInclusive, str::FromStr};

use axum::{Json, extract::State};
use chain::{Domain, Epoch, Height, HistoryProof, Reason};

use super::{
    App,
    failure::Failure,
    outcome,
    params::{Parameters, Segment, digest, parse},
};
use crate::{AttestersBody, CertificateBody, ErrorBody};

/// `from-to`, both included.
struct Heights(RangeInclusive<Height>);

impl FromStr for Heights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let heights = text.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
        match heights {
            Some(heights) if !heights.is_empty() => Ok(Self(heights)),
            _ => Err("write it as from-to, two heights, the first not above the second".into()),
        }
    }
}

/// The attesters' certificate of a block: more than two thirds of them say that it is final and that they rebuilt its
/// square. With `range`, the data roots of these heights as well, which the same certificate covers.
#[utoipa::path(
    get, path = "/v1/certificate/{height}", tag = "certificate",
    params(
        ("height" = String, Path, description = "a height, or `latest`", pattern = "^(latest|[0-9]{1,19})$"),
        ("range" = Option<String>, Query, description = "from-to: heights of the same epoch up to this one",
            pattern = "^[0-9]{1,19}-[0-9]{1,19}$")
    ),
    responses(
        (status = 200, body = CertificateBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn certificate(
    State(app): State<App>,
    Segment(height): Segment,
    mut parameters: Parameters,
) -> Result<Json<CertificateBody>, Failure> {
    let height = if height == "latest" { None } else { Some(parse("height", &height)?) };
    let range: Option<Heights> = parameters.take("range")?;
    parameters.finish()?;
    let answer = outcome::data(app.backend.certificate(height).await)?;
    let info = app.backend.info();
    let history = match range {
        Some(Heights(range)) => Some(history(&app, answer.certificate.data.height, range).await?),
        None => None,
    };
    let domain = Domain::new(&info.chain_id, &info.genesis_hash);
    Ok(Json(CertificateBody::new(&domain, &answer.certificate, &answer.attesters, history)))
}

/// The data roots of `range`, proven under the history of the certificate of `height`.
async fn history(app: &App, height: Height, range: RangeInclusive<Height>) -> Result<HistoryProof, Failure> {
    let first = Epoch::of(height, &app.backend.info().parameters).first();
    let (from, to) = range.into_inner();
    if from < first || to > height {
        let message = format!("the certificate of height {height} covers {first}-{height}, got {from}-{to}");
        return Err(Failure::invalid("range", message));
    }
    let roots = outcome::data(app.backend.data_roots(first..height + 1).await)?;
    let proof = tokio::task::spawn_blocking(move || {
        HistoryProof::new(first, &roots, from, usize::try_from(to - from + 1).ok()?)
    });
    let proof = proof.await.ok().flatten();
    proof.ok_or_else(|| outcome::unreachable(&Reason::Behind { height: to, tip: height }))
}

/// Those who attest in an epoch, by the hash that certificates name them by: what a contract starts from, and hands
/// over to.
#[utoipa::path(
    get, path = "/v1/attesters/{hash}", tag = "certificate",
    params(("hash" = String, Path, description = "64 hexadecimal digits", pattern = "^(0x)?[0-9a-fA-F]{64}$")),
    responses((status = 200, body = AttestersBody), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(super) async fn attesters(
    State(app): State<App>,
    Segment(hash): Segment,
) -> Result<Json<AttestersBody>, Failure> {
    let attesters = outcome::data(app.backend.attesters(digest("hash", &hash)?).await)?;
    Ok(Json((&attesters).into()))
}
