//! `blob get`

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result};
use blob_api::{BlobName, EntryBody, VerifiedBlob};
use serde_json::json;

use super::{End, Global, output};

/// Read a blob by its commitment, verified
///
/// Its bytes, its index entry and its header are checked down to the checkpoint of network.toml.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The blob's commitment, 64 hexadecimal digits; a foreign one with its scheme, as in keccak256:c1d6…
    commitment: BlobName,
    /// Write the bytes to a file. Default: stdout, or as hexadecimal within --json
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.verifying_client()?;
    let blob = client.get(args.commitment).await?;
    output::warn_rejected(&client);
    if let Some(path) = &args.output {
        std::fs::write(path, blob.bytes()).with_context(|| path.display().to_string())?;
    }
    match (&args.output, global.json) {
        (None, false) => std::io::stdout().write_all(blob.bytes())?,
        (Some(path), false) => output::print_fields(&[
            ("written", format!("{} bytes to {}", blob.bytes().len(), path.display())),
            ("height", blob.height().to_string()),
            ("namespace", blob.entry().namespace.to_string()),
        ])?,
        (path, true) => output::print_json(&as_json(&blob, path.is_none()))?,
    }
    Ok(End::Done)
}

fn as_json(blob: &VerifiedBlob, with_bytes: bool) -> serde_json::Value {
    json!({
        "height": blob.height(),
        "header_hash": hex::encode(blob.header().hash()),
        "entry": EntryBody::from(blob.entry()),
        "bytes": with_bytes.then(|| hex::encode(blob.bytes())),
        "verified": true,
    })
}
