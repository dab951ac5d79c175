//! The `da-node` command: one file a subcommand. Results go to stdout, logs to stderr.

mod demo;
mod dev;
mod devnet;
mod doctor;
mod init;
mod keys;
mod resume;
mod run;
mod signal;
mod snapshot;
mod stake;

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::Result;
use chain::UnknownRules;
use clap::{Parser, Subcommand};
use tokio::{
    io::AsyncReadExt as _,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

use crate::{fraud::Convicted, heavy::stand_back};

const AFTER_HELP: &str = "\
Logs go to stderr; RUST_LOG chooses them (for instance RUST_LOG=debug), --log-json writes them as JSON.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 stopped after a block was proven wrong (docs/fraud-runbook.md),
4 stopped before rules that this build does not know (docs/upgrades.md).";

/// Exit code of a node that a fraud proof halted: a supervisor must not take it for a crash.
const HALTED: u8 = 3;

/// Exit code of a node whose build is too old for the next block: started again, it ends again.
const OUTDATED: u8 = 4;

/// What is logged unless RUST_LOG says otherwise: this project's own events, and the engine's and libp2p's warnings,
/// but for those of the engine's discovery, which tells of every connection that a restarted peer closed.
const LOGGED: &str =
    "warn,da_node=info,consensus=info,network=info,libp2p_gossipsub=error,arc_malachitebft_discovery=error";

/// As above, for a chain of one: the engine reports every message that nobody is there to hear.
const LOGGED_ALONE: &str =
    "warn,da_node=info,consensus=info,libp2p_gossipsub=off,arc_malachitebft_network=off";

/// Threads that run what does not block for long, but for HTTP, which has its own. More than a small machine has
/// cores: one that reads the database, or hashes, leaves others that answer peers.
const WORKERS: usize = 4;

/// How far these stand back behind HTTP's two, in steps of niceness: where all are busy, two of these still weigh more
/// than one of those, so that no flood of requests starves consensus.
const STANDS_BACK: i32 = 2;

/// Weft's validator and full node.
#[derive(Debug, Parser)]
#[command(name = "da-node", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    /// Write logs as JSON, one object a line
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a node's folder: settings, keys, genesis
    ///
    /// Without --genesis, a new chain with this node as its only validator, and its operator's account funded. With
    /// --genesis, a node of that chain: a validator if the genesis names its key, else a full node.
    Init(init::Args),
    /// Run the node of a folder
    ///
    /// Runs until SIGINT or SIGTERM. Where it listens is logged, and written to running.json in its folder.
    Run(run::Args),
    /// Run a whole chain in one process, for a rollup's developers and their CI
    ///
    /// One validator in one process: a real chain with real proofs, prefunded accounts and a faucet. Its folder is
    /// temporary and removed at the end, unless --home names one. The accounts' keys are public: for development only.
    Dev(dev::Args),
    /// Run four validators, a full node and three light clients as processes on this machine
    ///
    /// Every process listens on loopback at ports of the system's choice; folders and logs are in --dir, which is
    /// emptied first. Ctrl-C stops all of them.
    Devnet(devnet::Args),
    /// Watch the whole of Weft at work on a devnet, and check it
    ///
    /// Starts a devnet, submits real files as blobs, follows them to finality, samples and reads them back verified,
    /// kills a validator, reads from a node that lies; prints a table, writes report.json, stops everything.
    Demo(demo::Args),
    /// Show the public side of a node's keys
    ///
    /// What others may know of a node's keys; the secrets stay in its folder.
    Keys(keys::Args),
    /// Let a node go on that a fraud proof halted, in spite of the proof
    Resume(resume::Args),
    /// Bond stake of a node's operator, so that the node votes
    ///
    /// The first time it registers the node's consensus and attestation keys; later it adds to the stake.
    Bond(stake::Args),
    /// Take stake of a node's operator back
    ///
    /// Without stake the node has no vote; keep it running until the set without it signs, two blocks later.
    Unbond(stake::Args),
    /// Signal as a node's operator for an upgrade of the rules, or show who does
    ///
    /// An upgrade is agreed on once 5/6 of the power signalled the same version and height; until then the last signal
    /// of each operator counts. Signal only what all nodes of yours know: docs/upgrades.md.
    Signal(signal::Args),
    /// Save a node's state to a file, or start a node from one, without history
    Snapshot(snapshot::Args),
    /// Look for what would keep a node from working: settings, keys, disk, clock, ports, peers
    ///
    /// Changes nothing but for a file that it writes and removes; says what to do about what it finds. Exit code 1 if
    /// something must be mended.
    Doctor(doctor::Args),
}

/// Parses the command line and runs it, in a build that knows the rules up to version `newest_rules`.
pub fn main(newest_rules: u64) -> ExitCode {
    let cli = Cli::parse();
    let logged = match cli.command {
        Command::Demo(_) | Command::Devnet(_) => "error",
        Command::Dev(_) => LOGGED_ALONE,
        Command::Init(_)
        | Command::Run(_)
        | Command::Keys(_)
        | Command::Resume(_)
        | Command::Bond(_)
        | Command::Unbond(_)
        | Command::Signal(_)
        | Command::Snapshot(_)
        | Command::Doctor(_) => LOGGED,
    };
    start_logs(cli.log_json, logged);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .on_thread_start(|| stand_back(STANDS_BACK))
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Init(args) => init::run(&args),
            Command::Run(args) => run::run(args, newest_rules).await,
            Command::Dev(args) => dev::run(args).await,
            Command::Devnet(args) => devnet::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Keys(args) => keys::run(&args),
            Command::Resume(args) => resume::run(&args),
            Command::Bond(args) => stake::bond(args).await,
            Command::Unbond(args) => stake::unbond(args).await,
            Command::Signal(args) => signal::run(args, newest_rules).await,
            Command::Snapshot(args) => snapshot::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
        }
    });
    runtime.shutdown_background();
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("da-node: {error:#}");
    if error.is::<Convicted>() {
        ExitCode::from(HALTED)
    } else if error.is::<UnknownRules>() {
        ExitCode::from(OUTDATED)
    } else {
        ExitCode::FAILURE
    }
}

fn start_logs(json: bool, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        logs.json().init();
    } else {
        logs.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

/// Resolves on SIGINT, SIGTERM and, if asked, the end of standard input.
async fn stop_asked(until_stdin_closes: bool) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stdin = async {
        if until_stdin_closes {
            // Whatever comes is of no interest; an end or an error is.
            while tokio::io::stdin().read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = stdin => {}
    }
    Ok(())
}
