//! `blob quote`

use std::path::PathBuf;

use anyhow::{Context, Result};
use blob_api::{BlobShapeBody, HORIZON_LIMIT, QuoteBody, QuoteRequest, Rate};
use erasure::ForeignKind;

use super::{End, Global, output};

/// What a submission costs, now and at most
///
/// All blobs count as one transaction. Nothing is charged for what is not included.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files that would be submitted together
    #[arg(value_name = "FILE", required_unless_present = "bytes")]
    files: Vec<PathBuf>,
    /// Length of each blob, instead of files
    #[arg(long, conflicts_with = "files")]
    bytes: Option<u64>,
    /// How many blobs of that length
    #[arg(long, requires = "bytes", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    blobs: u16,
    /// Foreign commitments that each blob carries: keccak256, sha256, eip4844
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    foreign: Vec<ForeignKind>,
    /// Blocks that the cap shall cover
    #[arg(long, default_value_t = HORIZON_LIMIT)]
    horizon: u64,
    /// What one WEFT is worth to you, as '0.35 usd': prices are shown in that, too
    #[arg(long, value_name = "RATE", env = "WEFT_RATE")]
    rate: Option<Rate>,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let lengths = match args.bytes {
        Some(bytes) => vec![bytes; args.blobs.into()],
        None => args
            .files
            .iter()
            .map(|file| Ok(std::fs::metadata(file).with_context(|| file.display().to_string())?.len()))
            .collect::<Result<_>>()?,
    };
    let blobs =
        lengths.into_iter().map(|bytes| BlobShapeBody { bytes, foreign: args.foreign.clone() }).collect();
    let request = QuoteRequest { horizon: args.horizon, rate: args.rate, ..QuoteRequest::new(blobs) };
    let quote = global.client()?.quote(&request).await?;
    if global.json {
        output::print_json(&quote)?;
    } else {
        print(&quote)?;
    }
    Ok(End::Done)
}

fn print(quote: &QuoteBody) -> Result<()> {
    output::print_fields(&[
        ("height", quote.height.to_string()),
        ("shares", quote.shares.to_string()),
        ("horizon", format!("{} blocks", quote.horizon)),
    ])?;
    output::line("")?;
    let converted = quote.converted.as_ref();
    let row = |name: &str, fee: u64, cost, other: Option<&String>, note: String| {
        let unit = converted.map(|converted| converted.unit.as_str());
        let other = other.zip(unit).map(|(cost, unit)| format!("{cost} {unit}"));
        [vec![name.to_owned(), fee.to_string(), output::weft(cost)], other.into_iter().collect(), vec![note]]
            .concat()
    };
    let header = match converted {
        Some(_) => &["", "nano per share", "cost", "", ""][..],
        None => &["", "nano per share", "cost", ""],
    };
    output::print_table(
        header,
        [
            row(
                "now",
                quote.base_fee,
                quote.cost,
                converted.and_then(|converted| converted.cost.as_ref()),
                "in the next block".into(),
            ),
            row(
                "expected",
                quote.expected_base_fee,
                quote.expected_cost,
                converted.and_then(|converted| converted.expected_cost.as_ref()),
                format!("after {} blocks as full as the last few", quote.horizon),
            ),
            row(
                "at most",
                quote.fee_cap,
                quote.cost_limit,
                converted.and_then(|converted| converted.cost_limit.as_ref()),
                format!("this cap covers {} blocks, whatever they hold", quote.horizon),
            ),
        ],
    )
}
