//! `blob proof`

use anyhow::Result;
use blob_api::{BlobName, EntryBody};
use serde_json::json;

use super::{End, Global, output};

/// Prove that a blob is in a block, and what it hashes to
///
/// The proof shows its index entry, with its foreign commitments, under the block's data root. It is verified here
/// first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The blob's commitment, 64 hexadecimal digits; a foreign one with its scheme, as in keccak256:c1d6…
    commitment: BlobName,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.verifying_client()?;
    let proven = client.proof(args.commitment).await?;
    output::warn_rejected(&client);
    let (header, entry) = (proven.header(), EntryBody::from(proven.entry()));
    let proof = hex::encode(proven.proof().encode());
    if global.json {
        output::print_json(&json!({
            "height": header.height(),
            "header_hash": hex::encode(header.hash()),
            "data_root": hex::encode(header.data_root()),
            "entry": entry,
            "proof": proof,
            "verified": true,
        }))?;
        return Ok(End::Done);
    }
    let mut fields = vec![
        ("height", header.height().to_string()),
        ("header hash", hex::encode(header.hash())),
        ("data root", hex::encode(header.data_root())),
        ("namespace", entry.namespace),
        ("bytes", entry.bytes.to_string()),
        ("first share", entry.start_share.to_string()),
        ("signer", entry.signer.to_string()),
    ];
    fields.extend(entry.foreign.iter().map(|f| ("foreign", format!("{} {}", f.kind, hex::encode(f.value)))));
    fields.push(("proof", proof));
    output::print_fields(&fields)?;
    Ok(End::Done)
}
