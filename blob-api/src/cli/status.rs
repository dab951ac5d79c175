//! `blob status`

use anyhow::Result;
use blob_api::{Client, RulesBody, TxBody};
use chain::{TxId, TxStatus};

use super::{End, Global, output};

/// Where a transaction stands, or the node
///
/// This is the node's word; `blob submit --wait`, `blob list` and `blob get` verify.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The transaction
    id: Option<TxId>,
    /// Wait until the state will not change any more
    #[arg(long, short, requires = "id")]
    wait: bool,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.client()?;
    match args.id {
        Some(id) => transaction(global, &client, id, args.wait).await,
        None => node(global, &client).await,
    }
}

async fn transaction(global: &Global, client: &Client, id: TxId, wait: bool) -> Result<End> {
    let body = if wait {
        let spinner = output::spinner(global.json, "waiting");
        let body = client.wait(id, |seen| spinner.set_message(describe(&seen.status))).await;
        spinner.finish_and_clear();
        body?
    } else {
        client.transaction(id).await?
    };
    if global.json {
        output::print_json(&body)?;
    } else {
        print(&body)?;
    }
    Ok(End::Done)
}

fn print(body: &TxBody) -> Result<()> {
    let mut fields = vec![
        ("transaction", body.id.to_string()),
        ("state", describe(&body.status)),
        ("reason", body.reason.clone()),
        ("sender", body.sender.to_string()),
        ("valid until", format!("height {}", body.valid_until)),
        ("shares", body.shares.to_string()),
    ];
    fields.extend(body.charged.map(|charged| ("charged", output::weft(charged))));
    fields.extend(body.available_until.map(|time| ("available until", time.to_rfc3339())));
    fields.extend(body.blobs.iter().map(|blob| ("blob", hex::encode(blob.commitment))));
    output::print_fields(&fields)
}

fn describe(status: &TxStatus) -> String {
    match status {
        TxStatus::Pooled => "pooled".into(),
        TxStatus::Included { height } => format!("included at {height}"),
        TxStatus::Final { height } => format!("final at {height}"),
        TxStatus::Expired => "expired".into(),
        TxStatus::Replaced { by } => format!("replaced by {by}"),
        TxStatus::Evicted { .. } => "evicted".into(),
        TxStatus::Rejected { .. } => "rejected".into(),
    }
}

/// The version that holds, and the one to come.
fn rules(rules: &RulesBody) -> String {
    let RulesBody { version, newest_known, upgrade } = rules;
    match upgrade {
        None => format!("version {version}"),
        Some(next) => {
            let (next, height) = (next.version, next.height);
            let known =
                if next > *newest_known { "; the node does not know it and stops before" } else { "" };
            format!("version {version}, version {next} from height {height} on{known}")
        }
    }
}

async fn node(global: &Global, client: &Client) -> Result<End> {
    let status = client.status().await?;
    if global.json {
        output::print_json(&status)?;
        return Ok(End::Done);
    }
    output::print_fields(&[
        ("chain", status.chain_id),
        ("height", status.height.to_string()),
        ("block time", status.block_time.map_or_else(|| "none yet".into(), |time| time.to_rfc3339())),
        ("syncing", status.syncing.to_string()),
        ("peers", status.peers.to_string()),
        ("version", status.version),
        ("rules", rules(&status.rules)),
    ])?;
    Ok(End::Done)
}
