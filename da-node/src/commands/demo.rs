//! `da-node demo`.

use std::path::PathBuf;

use anyhow::Result;

use crate::{demo, devnet::programs};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files to submit; without it, the files of ../shared/data or of demo/data
    #[arg(long, value_name = "DIR", env = "DEMO_DATA")]
    data: Option<PathBuf>,
    /// Folder for the network and the report
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    dir: PathBuf,
}

pub(super) async fn run(args: Args) -> Result<()> {
    demo::run(args.data.as_deref(), &args.dir, &programs()?).await
}
