//! `blob list`

use anyhow::Result;
use blob_api::EntryBody;
use erasure::Namespace;
use serde_json::json;

use super::{End, Global, output};

/// List all blobs of a namespace in a block, verified to be all
///
/// Exits with 3 where the block has none, which is proven too.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The block's height
    #[arg(long)]
    height: u64,
    /// Whose blobs: 58 hexadecimal digits, or up to 20 of the user's id
    #[arg(long, short)]
    namespace: Namespace,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.verifying_client()?;
    let list = client.list(args.height, args.namespace).await?;
    output::warn_rejected(&client);
    let entries: Vec<_> = list.entries().iter().map(EntryBody::from).collect();
    let end = if entries.is_empty() { End::Absent } else { End::Done };
    if global.json {
        output::print_json(&json!({
            "height": list.height(),
            "header_hash": hex::encode(list.header().hash()),
            "namespace": list.namespace().to_string(),
            "entries": entries,
            "proof": hex::encode(list.proof().encode()),
            "verified": true,
        }))?;
        return Ok(end);
    }
    match end {
        End::Absent => output::line(format_args!(
            "height {} has no blob of namespace {}; proven",
            args.height, args.namespace
        ))?,
        End::Done => output::print_table(
            &["commitment", "bytes", "signer", "foreign"],
            entries.iter().map(|entry| {
                vec![
                    hex::encode(entry.commitment),
                    entry.bytes.to_string(),
                    entry.signer.to_string(),
                    output::foreign(&entry.foreign),
                ]
            }),
        )?,
    }
    Ok(end)
}
