//! `blob follow`

use anyhow::Result;
use blob_api::{EntryBody, NamespaceBody, VerifiedList};
use erasure::Namespace;
use futures::StreamExt;
use serde_json::json;

use super::{End, Global, output};

/// Follow a namespace: every height once, in order, verified, also those without a blob
///
/// Goes on after disconnects and fails over among nodes. With --json, one object a line; to resume, give the height
/// after the last one seen. Ends at --to, with Ctrl-C, or when no node has delivered the next height for a minute.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose blobs: 58 hexadecimal digits, or up to 20 of the user's id
    #[arg(long, short)]
    namespace: Namespace,
    /// First height. Default: the next to be decided
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// Last height. Default: none, go on for ever
    #[arg(long, value_name = "HEIGHT")]
    to: Option<u64>,
    /// Leave out heights without a blob
    #[arg(long)]
    skip_empty: bool,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.verifying_client()?;
    let from = match args.from {
        Some(from) => from,
        None => client.latest().await?.height() + 1,
    };
    let mut heights = client.follow_namespace(args.namespace, from);
    let mut next = from;
    while args.to.is_none_or(|to| next <= to) {
        let Some(list) = heights.next().await else { break };
        let list = list?;
        next = list.height() + 1;
        output::warn_rejected(&client);
        if !(args.skip_empty && list.entries().is_empty()) {
            print(&list, global.json)?;
        }
    }
    Ok(End::Done)
}

fn print(list: &VerifiedList, as_json: bool) -> Result<(), anyhow::Error> {
    if as_json {
        let body = NamespaceBody::new(list.height(), list.namespace(), list.entries(), list.proof());
        let mut line = serde_json::to_value(body)?;
        line["header_hash"] = json!(hex::encode(list.header().hash()));
        line["verified"] = json!(true);
        return output::line(line);
    }
    if list.entries().is_empty() {
        return output::line(format_args!("{}  none", list.height()));
    }
    for entry in list.entries().iter().map(EntryBody::from) {
        output::line(format_args!(
            "{}  {}  {} bytes  {}",
            list.height(),
            hex::encode(entry.commitment),
            entry.bytes,
            entry.signer
        ))?;
    }
    Ok(())
}
