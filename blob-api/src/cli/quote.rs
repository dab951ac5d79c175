//! `blob quote`

use std::path::PathBuf;

use anyhow::{Context, Result};
use blob_api::{BlobShapeBody, HORIZON_LIMIT, QuoteRequest};
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
    let quote = global.client()?.quote(&QuoteRequest { blobs, horizon: args.horizon }).await?;
    if global.json {
        output::print_json(&quote)?;
        return Ok(End::Done);
    }
    output::print_fields(&[
        ("shares", quote.shares.to_string()),
        ("base fee", format!("{} nano per share", quote.base_fee)),
        ("cost now", output::weft(quote.cost)),
        (
            "fee cap",
            format!("{} nano per share, covers {} blocks whatever they hold", quote.fee_cap, quote.horizon),
        ),
        ("cost at most", output::weft(quote.cost_limit)),
    ])?;
    Ok(End::Done)
}
