//! `blob certificate`

use std::{ops::RangeInclusive, str::FromStr};

use anyhow::Result;
use chain::Height;
use serde_json::json;

use super::{End, Global, output};

/// Fetch and verify the attesters' certificate of a block: what a contract on an L1 checks
///
/// More than two thirds of the epoch's attesters signed that the block is final and that they rebuilt its square. The
/// header is verified by its commit as well. With --json all that a contract needs is there: points as EIP-2537 has
/// them, and who did not sign.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The block's height; without it, the latest one with a certificate
    height: Option<Height>,
    /// Heights of the same epoch whose data roots to prove under this certificate, as in 100-200
    #[arg(long, value_name = "FROM-TO")]
    range: Option<Heights>,
}

#[derive(Clone, Debug)]
struct Heights(RangeInclusive<Height>);

impl FromStr for Heights {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let heights = text.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
        heights.filter(|heights| !heights.is_empty()).map(Self).ok_or("write it as FROM-TO, as in 100-200")
    }
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.verifying_client()?;
    let verified = client.certificate(args.height, args.range.map(|range| range.0)).await?;
    output::warn_rejected(&client);
    let (data, attesters) = (verified.certified().data(), verified.attesters());
    if global.json {
        let mut body = serde_json::to_value(verified.body())?;
        body["verified"] = json!(true);
        body["attesters_proven"] = json!(verified.attesters_are_proven());
        output::print_json(&body)?;
        return Ok(End::Done);
    }
    let next = match data.next_attesters {
        [0, ..] if data.next_attesters == [0; 32] => "fixed in the middle of the epoch".to_owned(),
        next => hex::encode(next),
    };
    let note = if verified.attesters_are_proven() { "" } else { "; their epoch is over, the header vouches" };
    output::print_fields(&[
        ("height", data.height.to_string()),
        ("header hash", hex::encode(data.header)),
        ("data root", hex::encode(data.data_root)),
        ("history root", hex::encode(data.history_root)),
        ("attesters", format!("{}{note}", hex::encode(data.attesters))),
        ("next attesters", next),
        (
            "signed by",
            format!(
                "{} of {} attesters, {} of {} votes",
                verified.certified().certificate().signer_count(),
                attesters.members().len(),
                verified.certified().power(),
                attesters.power()
            ),
        ),
        ("certificate", hex::encode(verified.certified().certificate().encode())),
    ])?;
    for (height, root) in verified.history().into_iter().flat_map(|history| history.data_roots()) {
        output::line(format_args!("covers {height}  {}", hex::encode(root)))?;
    }
    Ok(End::Done)
}
