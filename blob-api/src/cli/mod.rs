//! The command line: one file a subcommand, results to stdout, all else to stderr.

mod account;
mod certificate;
mod export;
mod follow;
mod gateway;
mod get;
mod import;
mod keys;
mod list;
mod output;
mod price;
mod proof;
mod quote;
mod reserve;
mod status;
mod submit;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use blob_api::{Client, ClientError, read_network};
use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed, or refused by the node
  2  wrong usage
  3  proven absent
  4  no node could answer; retry
  5  a proof was false and no other node answered

Keys come from --key-file (an encrypted Ethereum keystore; its password from a prompt or
WEFT_KEY_PASSWORD) or from WEFT_KEY (64 hexadecimal digits). Never from an argument.";

/// Price, submit, follow, read and prove blobs on a Weft network.
#[derive(Debug, Parser)]
#[command(name = "blob", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Everywhere")]
struct Global {
    /// A node's API, as http://host:port; give several to fail over. Default: those in network.toml
    #[arg(
        long = "node",
        global = true,
        value_name = "URL",
        env = "WEFT_NODE",
        value_delimiter = ',',
        hide_env_values = true
    )]
    nodes: Vec<String>,
    /// The network's network.toml, whose checkpoint everything is verified from
    #[arg(long, global = true, value_name = "FILE", env = "WEFT_NETWORK", hide_env_values = true)]
    network: Option<PathBuf>,
    /// Write the result as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Quote(quote::Args),
    Price(price::Args),
    Submit(submit::Args),
    Status(status::Args),
    Get(get::Args),
    List(list::Args),
    Follow(follow::Args),
    Export(export::Args),
    Import(import::Args),
    Proof(proof::Args),
    Certificate(certificate::Args),
    Keys(keys::Args),
    Account(account::Args),
    Reserve(reserve::Args),
    Gateway(Box<gateway::Args>),
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Absent,
}

impl Global {
    fn client(&self) -> Result<Client> {
        let network = self.network.as_deref().map(read_network).transpose()?;
        Ok(Client::new(&self.nodes, network)?)
    }

    /// A client that can verify and sign.
    fn verifying_client(&self) -> Result<Client> {
        if self.network.is_none() {
            return Err(ClientError::NoNetwork.into());
        }
        self.client()
    }
}

/// Parses the arguments, runs the command, reports its error.
pub(crate) fn run() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let ended = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match command {
                Command::Quote(args) => quote::run(&global, args).await,
                Command::Price(args) => price::run(&global, args).await,
                Command::Submit(args) => submit::run(&global, args).await,
                Command::Status(args) => status::run(&global, args).await,
                Command::Get(args) => get::run(&global, args).await,
                Command::List(args) => list::run(&global, args).await,
                Command::Follow(args) => follow::run(&global, args).await,
                Command::Export(args) => Box::pin(export::run(&global, args)).await,
                Command::Import(args) => import::run(&global, args),
                Command::Proof(args) => proof::run(&global, args).await,
                Command::Certificate(args) => certificate::run(&global, args).await,
                Command::Keys(args) => keys::run(&global, &args),
                Command::Account(args) => account::run(&global, args).await,
                Command::Reserve(args) => reserve::run(&global, args).await,
                Command::Gateway(args) => gateway::run(&global, *args).await,
            }
        })
    });
    match ended {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Absent) => ExitCode::from(3),
        Err(error) => {
            let (code, name) = code(&error);
            output::error(global.json, name, &format!("{error:#}"));
            ExitCode::from(code)
        }
    }
}

fn code(error: &anyhow::Error) -> (u8, &'static str) {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::NoNode | ClientError::NoNetwork | ClientError::Url { .. }) => (2, "usage"),
        Some(ClientError::Unreachable { .. }) => (4, "unreachable"),
        Some(ClientError::LyingNode(_)) => (5, "proof_failed"),
        _ => (1, "failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
