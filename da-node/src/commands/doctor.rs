//! `da-node doctor`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{
    doctor::{Grade, examine},
    home::Home,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node's folder
    #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
    home: PathBuf,
    /// Time server to compare the clock with; `none` asks nobody
    #[arg(long, value_name = "HOST", default_value = "pool.ntp.org")]
    ntp: String,
    /// Write the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<()> {
    let ntp = (args.ntp != "none").then_some(args.ntp.as_str());
    let findings = examine(&Home::new(args.home), ntp).await;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            let grade = match finding.grade {
                Grade::Ok => "ok  ",
                Grade::Warn => "warn",
                Grade::Fail => "FAIL",
            };
            println!("{grade}  {:<13} {}", finding.check, finding.seen);
            if let Some(remedy) = &finding.remedy {
                println!("      {:<13} {remedy}", "→");
            }
        }
    }
    match findings.iter().filter(|finding| finding.grade == Grade::Fail).count() {
        0 => Ok(()),
        count => bail!("{count} of {} checks failed: a node cannot work like that", findings.len()),
    }
}
