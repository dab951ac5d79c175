//! `light-client run`.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use light_client::sampler::Confidence;
use light_client::{AlarmHook, Client, Config, http};
use network::Multiaddr;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{STATUS_ADDR, read_network};

/// The file in the home directory that holds the address of the status endpoint.
const STATUS_ADDR_FILE: &str = "status-addr";

/// Bytes of a megabyte, as networks are sold.
const MB: NonZeroU64 = NonZeroU64::new(1_000_000).unwrap();

/// What is logged unless `RUST_LOG` says otherwise: libp2p tells more than anyone wants to know.
const LOGGED: &str = "info,libp2p=warn,libp2p_swarm=warn";

/// Follow the chain and sample every block, until interrupted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The network's file: chain id, checkpoint to start from, peers to connect to.
    #[arg(long, value_name = "FILE", env = "WEFT_NETWORK")]
    network: PathBuf,
    /// Where to keep state: verified headers, samples, the secret that draws the cells. A later
    /// start with the same directory continues.
    #[arg(long, value_name = "DIR", env = "WEFT_LIGHT_HOME")]
    home: PathBuf,
    /// How sure to be that a block was published: 0.999, 99.9% or 1-2^-20. The more, the more
    /// cells are asked for: 16 for 99%, 24 for 99.9%, 95 for 1-2^-40 of an 8 MiB block.
    #[arg(long, value_name = "PROBABILITY", default_value = "99.9%")]
    confidence: Confidence,
    /// How many megabytes the client may use a day, both directions, everything included. Blocks
    /// that it does not suffice for are skipped, never taken for available. Without it, no limit.
    #[arg(long, value_name = "MB")]
    budget_mb_per_day: Option<NonZeroU32>,
    /// Verify new headers by the certificate of the chain's attesters, where peers have one, and by the validators'
    /// commit only where they have none: less to download where validators are many.
    #[arg(long)]
    certificates: bool,
    /// A line for sh -c, run for every alarm: a block is unavailable, or available after all, or
    /// the client follows no further. It gets the alarm as JSON on standard input, and WEFT_ALARM,
    /// WEFT_CHAIN and WEFT_HEIGHT in its environment.
    #[arg(long, value_name = "COMMAND")]
    on_alarm: Option<String>,
    /// An http:// address that every alarm is posted to, as JSON. This program speaks no https: for that, use
    /// --on-alarm 'curl --fail --data-binary @- https://…'.
    #[arg(long, value_name = "URL", value_parser = webhook)]
    alarm_webhook: Option<String>,
    /// Address to listen on, for example /ip4/0.0.0.0/udp/7070/quic-v1; may be given again.
    /// Without one, samples are served over the connections that this client opened.
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// Where to serve /status, /healthz and /metrics. With port 0 a free one is taken; the
    /// address is printed, and written to the file status-addr in the home directory.
    #[arg(long, value_name = "ADDR", default_value = STATUS_ADDR)]
    status_addr: SocketAddr,
    /// Stop, too, when standard input ends: for a supervisor that may die.
    #[arg(long)]
    until_stdin_closes: bool,
}

/// Refused before it is needed: an alarm would be too late to learn that nobody can be told of it.
fn webhook(text: &str) -> Result<String, &'static str> {
    match text.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("write http://…; for https, --on-alarm 'curl --fail --data-binary @- https://…'"),
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let network = read_network(&args.network)?;
    let listener = TcpListener::bind(args.status_addr)
        .await
        .with_context(|| format!("--status-addr {}: cannot listen there", args.status_addr))?;
    let address = listener.local_addr()?;
    let command = args.on_alarm.map(AlarmHook::Command);
    let webhook = args.alarm_webhook.map(AlarmHook::Webhook);
    let config = Config {
        confidence: args.confidence,
        listen: args.listen,
        budget: args.budget_mb_per_day.map(|mb| NonZeroU64::from(mb).saturating_mul(MB)),
        certificates: args.certificates,
        alarm_hooks: command.into_iter().chain(webhook).collect(),
        ..Config::default()
    };
    let (client, _) = Client::start(light_client::Args { network, home: args.home.clone(), config }).await?;

    let address_file = args.home.join(STATUS_ADDR_FILE);
    std::fs::write(&address_file, format!("{address}\n"))
        .with_context(|| format!("cannot write {}", address_file.display()))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "status: http://{address}/status")?;
    for address in client.listen_addrs() {
        writeln!(stdout, "listening: {address}")?;
    }
    stdout.flush()?;

    let server = http::serve(listener, client.clone());
    // Whatever comes is of no interest; an end or an error is.
    let stdin_end = async { while tokio::io::stdin().read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} };
    tokio::select! {
        served = server => served.context("the status endpoint failed")?,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = stdin_end, if args.until_stdin_closes => {}
    }
    // Written before, and of no use to anybody now.
    std::fs::remove_file(&address_file).ok();
    client.stop().await?;
    Ok(ExitCode::SUCCESS)
}
