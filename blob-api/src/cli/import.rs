//! `blob import`

use std::{fs::File, io::BufReader, path::PathBuf, time::SystemTime};

use anyhow::{Context, Result};
use blob_api::{Archive, EntryBody, read_network};
use chain::Checkpoint;
use serde_json::json;

use super::{End, Global, output};

/// Verify an exported file offline, and write or list its blobs
///
/// Trusts the checkpoint of network.toml alone, or the one given, and asks no node. An older file verifies from the
/// checkpoint that `blob export` printed for it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write each blob to DIR/HEIGHT-POSITION
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// A header to trust instead of network.toml's
    #[arg(long, value_name = "HEIGHT:HASH", value_parser = parse_checkpoint)]
    checkpoint: Option<Checkpoint>,
}

fn parse_checkpoint(text: &str) -> Result<Checkpoint, String> {
    let (height, hash) =
        text.split_once(':').ok_or("expected a height, a colon and 64 hexadecimal digits")?;
    let mut checkpoint =
        Checkpoint { height: height.parse().map_err(|error| format!("height: {error}"))?, hash: [0; 32] };
    hex::decode_to_slice(hash, &mut checkpoint.hash).map_err(|error| format!("hash: {error}"))?;
    Ok(checkpoint)
}

pub(super) fn run(global: &Global, args: Args) -> Result<End> {
    let path = global.network.as_deref().ok_or(blob_api::ClientError::NoNetwork)?;
    let mut network = read_network(path)?;
    if let Some(checkpoint) = args.checkpoint {
        network.checkpoint = checkpoint;
    }
    let at = |path: &PathBuf| path.display().to_string();
    let file = File::open(&args.file).with_context(|| at(&args.file))?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = tendermint::Time::from_unix_timestamp(since.as_secs().try_into()?, since.subsec_nanos())
        .map_err(|error| anyhow::anyhow!("the clock: {error}"))?;
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).with_context(|| at(folder))?;
    }
    let archive = Archive::open(BufReader::new(file), &network, now)?;
    let scope = archive.scope().clone();
    let (mut blobs, mut bytes) = (0u64, 0u64);
    for height in archive {
        let height = height?;
        for (position, (entry, blob)) in height.namespace.entries().iter().zip(&height.blobs).enumerate() {
            blobs += 1;
            bytes += entry.len;
            if let Some(folder) = &args.output {
                let path = folder.join(format!("{}-{position}", height.height));
                std::fs::write(&path, blob).with_context(|| at(&path))?;
            }
            let entry = EntryBody::from(entry);
            if global.json {
                let time = height.time.to_rfc3339();
                output::line(json!({ "height": height.height, "time": time, "entry": entry }))?;
            } else {
                let commitment = hex::encode(entry.commitment);
                output::line(format_args!(
                    "{}  {commitment}  {} bytes  {}",
                    height.height, entry.bytes, entry.signer
                ))?;
            }
        }
    }
    let (from, to) = (scope.heights.start(), scope.heights.end());
    if global.json {
        output::line(json!({
            "namespace": scope.namespace.to_string(), "from": from, "to": to, "blobs": blobs, "bytes": bytes,
            "verified": true,
        }))?;
    } else {
        output::line(format_args!(
            "verified: these are all blobs of {} at heights {from} to {to}; {blobs} blobs, {bytes} bytes",
            scope.namespace
        ))?;
    }
    Ok(End::Done)
}
