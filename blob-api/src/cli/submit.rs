//! `blob submit`

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use blob_api::{BlobBody, Client, NewBlob, Prepared, Progress, Receipt, SubmitOptions};
use chain::{ReservationId, TxStatus};
use erasure::{ForeignKind, Namespace};
use serde_json::json;

use super::{End, Global, keys::KeyArgs, output};

/// Submit files as blobs
///
/// Signs one transaction with a blob for each file, and sends it. It is included exactly once, or expires after 100
/// blocks and costs nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The files, one blob each
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Whose blobs: 58 hexadecimal digits, or up to 20 of the user's id
    #[arg(long, short)]
    namespace: Namespace,
    /// Foreign commitments for validators to check: keccak256, sha256, eip4844
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    foreign: Vec<ForeignKind>,
    /// Wait until the blobs are final, and verify that they are in the block
    #[arg(long, short)]
    wait: bool,
    /// The most to pay per share, in nano. Default: what covers the base fee until the transaction expires
    #[arg(long, value_name = "NANO")]
    fee_cap: Option<u64>,
    /// Paid to the proposer per share, in nano
    #[arg(long, value_name = "NANO", default_value_t = 0)]
    tip: u64,
    /// The reservation that pays, of which the key is owner or signer
    #[arg(long, value_name = "ID", conflicts_with_all = ["fee_cap", "tip"])]
    reservation: Option<ReservationId>,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.verifying_client()?;
    let blobs = args
        .files
        .iter()
        .map(|file| {
            let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
            Ok(NewBlob { namespace: args.namespace, bytes, foreign: args.foreign.clone() })
        })
        .collect::<Result<_>>()?;
    let key = args.key.load()?;
    let options = SubmitOptions { fee_cap: args.fee_cap, tip: args.tip, reservation: args.reservation };
    let prepared = client.prepare(&key, blobs, options).await?;

    let bar = output::upload_bar(global.json, prepared.wire_bytes());
    let shown = bar.clone();
    let progress: Progress = Arc::new(move |sent| shown.set_position(sent));
    let sent = client.send(&prepared, Some(progress)).await;
    bar.finish_and_clear();
    sent?;

    let receipt = if args.wait { Some(confirm(global, &client, &prepared).await?) } else { None };
    output::warn_rejected(&client);
    print(global, &prepared, receipt.as_ref())?;
    Ok(End::Done)
}

async fn confirm(global: &Global, client: &Client, prepared: &Prepared) -> Result<Receipt> {
    let spinner = output::spinner(global.json, "pooled");
    let receipt = client
        .confirm(prepared, |transaction| match &transaction.status {
            TxStatus::Included { height } => spinner.set_message(format!("included at {height}")),
            TxStatus::Final { height } => spinner.set_message(format!("final at {height}, verifying")),
            _ => {}
        })
        .await;
    spinner.finish_and_clear();
    Ok(receipt?)
}

fn print(global: &Global, prepared: &Prepared, receipt: Option<&Receipt>) -> Result<()> {
    let blobs: Vec<_> = prepared.blobs().iter().map(BlobBody::from).collect();
    if global.json {
        return output::print_json(&json!({
            "id": prepared.id(),
            "shares": prepared.shares(),
            "cost_limit": prepared.cost_limit(),
            "blobs": blobs,
            "height": receipt.map(|r| r.header.height()),
            "charged": receipt.and_then(|r| r.transaction.charged),
            "available_until": receipt.and_then(|r| r.transaction.available_until),
            "verified": receipt.is_some(),
        }));
    }
    let mut fields = vec![("transaction", prepared.id().to_string())];
    fields.extend(blobs.iter().map(|blob| ("blob", hex::encode(blob.commitment))));
    fields.push(("shares", prepared.shares().to_string()));
    match receipt {
        None => fields.push(("cost at most", output::weft(prepared.cost_limit()))),
        Some(receipt) => {
            let transaction = &receipt.transaction;
            fields.push(("final at height", receipt.header.height().to_string()));
            fields.extend(transaction.charged.map(|charged| ("charged", output::weft(charged))));
            fields.extend(transaction.available_until.map(|time| ("available until", time.to_rfc3339())));
            fields.push(("verified", "every blob is in the block's index".into()));
        }
    }
    output::print_fields(&fields)
}
