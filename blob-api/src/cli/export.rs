//! `blob export`

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use erasure::Namespace;
use serde_json::json;

use super::{End, Global, output};

/// Write a namespace's history to a file that `blob import` verifies offline
///
/// All blobs of all heights, with their proofs, and the headers that lead to a checkpoint. Keep the checkpoint that
/// it prints: it is all that a reader of the file has to trust, now or in years. The file is written under a
/// temporary name, and has its own once it is complete.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file, which must not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose blobs: 58 hexadecimal digits, or up to 20 of the user's id
    #[arg(long, short)]
    namespace: Namespace,
    /// First height
    #[arg(long, value_name = "HEIGHT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// Last height. Default: the latest
    #[arg(long, value_name = "HEIGHT")]
    to: Option<u64>,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.verifying_client()?;
    let to = match args.to {
        Some(to) => to,
        None => client.latest().await?.height(),
    };
    if to < args.from {
        bail!("--to {to} is before --from {}", args.from);
    }
    if args.file.exists() {
        bail!("{} exists already and is not overwritten; name another file", args.file.display());
    }
    let mut partial = args.file.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let at = |path: &PathBuf| path.display().to_string();
    let created = File::create_new(&partial).with_context(|| {
        format!("{}: another export writes it, or one was killed: then remove it", at(&partial))
    });
    let mut out = BufWriter::new(created?);
    let spinner = output::spinner(global.json, "exporting");
    let mut done = None;
    let written = client
        .export(args.namespace, args.from..=to, &mut out, |now| {
            spinner.set_message(format!("height {}, {} blobs", args.from + now.heights - 1, now.blobs));
            done = Some(now);
        })
        .await;
    spinner.finish_and_clear();
    output::warn_rejected(&client);
    let finished = async {
        let end = written?;
        out.flush()?;
        out.get_ref().sync_all()?;
        std::fs::rename(&partial, &args.file)?;
        anyhow::Ok(end)
    };
    let end = match finished.await {
        Ok(end) => end,
        Err(error) => {
            // What is there is no archive; a failure to remove it changes nothing.
            let _ = std::fs::remove_file(&partial);
            return Err(error);
        }
    };
    let done = done.unwrap_or_default();
    let checkpoint = format!("{}:{}", end.height(), hex::encode(end.hash()));
    if global.json {
        output::print_json(&json!({
            "file": at(&args.file), "namespace": args.namespace.to_string(), "from": args.from, "to": to,
            "heights": done.heights, "blobs": done.blobs, "bytes": done.bytes, "checkpoint": checkpoint,
        }))?;
    } else {
        output::print_fields(&[
            ("written", at(&args.file)),
            ("heights", format!("{} to {to}", args.from)),
            ("blobs", format!("{}, {} bytes", done.blobs, done.bytes)),
            ("checkpoint", checkpoint),
        ])?;
    }
    Ok(End::Done)
}
