//! `da-node snapshot`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Result};
use chain::Checkpoint;
use clap::Subcommand;

use crate::{
    home::Home,
    snapshot::{self, Source},
    storage::Store,
};

/// Saving and loading.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Save the state of a node, which goes on meanwhile, to a file
    ///
    /// Asks the running node of the folder, or reads the database of one that is stopped. What a node that loads the
    /// file has to trust is printed.
    Save {
        /// The node's folder
        #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
        home: PathBuf,
        /// File to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make the database of a node that has none of a snapshot
    ///
    /// Verifies the header from the checkpoint, and every value under the header's state root, before the database
    /// gets its name. The node then follows from there; it has no blocks, blobs or transactions of before. A validator
    /// keeps its engine/ folder.
    Load {
        /// The node's folder, made by `da-node init --genesis`
        #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
        home: PathBuf,
        /// A file, or the API of a node as http://host:port
        #[arg(long, value_name = "FILE|URL")]
        from: String,
        /// A block whose hash you have from a source that you trust, younger than the trusting period
        #[arg(long, value_name = "HEIGHT:HASH")]
        trust: Trusted,
        /// API to ask for headers if the snapshot is of another height than --trust. Default: --from, if that is one
        #[arg(long, value_name = "URL")]
        node: Option<String>,
    },
}

#[derive(Clone, Debug)]
struct Trusted(Checkpoint);

impl FromStr for Trusted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a height, ':' and the 64 hexadecimal digits of the header's hash";
        let (height, digits) = text.split_once(':').ok_or(wrong)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| wrong)?;
        Ok(Self(Checkpoint { height: height.parse().map_err(|_| wrong)?, hash }))
    }
}

pub(super) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Save { home, out } => save(&Home::new(home), &out).await,
        Command::Load { home, from, trust, node } => {
            let is_url = from.starts_with("http://");
            let source = if is_url { Source::node(&from).await? } else { Source::file(Path::new(&from))? };
            let node = node.or(is_url.then_some(from));
            let home = Home::new(home);
            let (loaded, size) = snapshot::load(&home, source, trust.0, node.as_deref()).await?;
            println!("loaded the state after block {}: {} values", loaded.last().height(), size.values);
            println!("  under the header {}:{}", loaded.last().height() + 1, hex::encode(loaded.next_hash()));
            if home.config()?.validator && !home.path("engine/signed").exists() {
                println!(
                    "engine/signed, the record of what was signed, is not here. If this node's key has voted"
                );
                println!(
                    "before, restore that file, or wait until the chain is past all that it may have signed."
                );
            }
            println!("  da-node run --home {}", home.path("").display());
            Ok(())
        }
    }
}

async fn save(home: &Home, out: &Path) -> Result<()> {
    let fresh = out.with_added_extension("new");
    let cannot = || format!("cannot write {}", fresh.display());
    let create = || fs::File::create(&fresh).with_context(cannot);
    let file = match running(home).await {
        Some(api) => {
            let mut source = Source::node(&api).await?;
            let mut file = create()?;
            while let Some(bytes) = source.more().await? {
                file.write_all(&bytes).with_context(cannot)?;
            }
            file
        }
        None => {
            let genesis = home.genesis()?;
            let _lock = home.lock("da-node snapshot save")?;
            let store = Store::open(&home.path("db"), &genesis)?;
            let head = store.snapshot_head()?.context("there is a snapshot once this node has two blocks")?;
            let mut file = create()?;
            snapshot::write(&store, &head, |part| file.write_all(&part).with_context(cannot))?;
            file
        }
    };
    file.sync_all().with_context(cannot)?;
    let (head, size) = snapshot::check(Source::file(&fresh)?).await?;
    fs::rename(&fresh, out).with_context(|| format!("cannot write {}", out.display()))?;
    let next = &head.next.signed_header.header;
    println!("saved the state after block {}: {} values in {} bytes", head.height(), size.values, size.bytes);
    println!("  to load it   --trust {}:{}", next.height, next.hash().to_string().to_lowercase());
    Ok(())
}

/// The API of the folder's node, if it runs.
async fn running(home: &Home) -> Option<String> {
    let api = home.running().ok()?.api;
    let client = blob_api::Client::new(std::slice::from_ref(&api), None).ok()?;
    client.status().await.ok().map(|_| api)
}
