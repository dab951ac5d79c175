//! `blob reserve`

use anyhow::{Context, Result};
use blob_api::{ReservationDetail, Reserve, SubmitOptions};
use chain::{Address, Amount, ReservationId};
use clap::Subcommand;
use serde_json::json;

use super::{End, Global, keys::KeyArgs, output};

/// Buy, extend and show reservations
///
/// A reservation is shares per block, paid ahead. What is submitted from it goes into the next block, whatever others
/// pay, and costs nothing more. Unused shares gather for up to four blocks.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ReserveCommand,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Debug, Subcommand)]
enum ReserveCommand {
    /// Buy a reservation, from the next block on
    Buy {
        /// Shares a block; one share is 512 bytes
        #[arg(long)]
        rate: u64,
        /// For how many blocks
        #[arg(long)]
        blocks: u64,
        /// Accounts that may submit from it besides the buyer
        #[arg(long = "signer", value_name = "ADDRESS", value_delimiter = ',')]
        signers: Vec<Address>,
        #[command(flatten)]
        terms: Terms,
    },
    /// Pay for more blocks of a reservation
    Extend {
        /// Which one
        id: ReservationId,
        /// By how many blocks
        #[arg(long)]
        blocks: u64,
        #[command(flatten)]
        terms: Terms,
    },
    /// Show a reservation, verified
    Show {
        /// Which one
        id: ReservationId,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Terms {
    /// The most to pay, in nano. Default: a tenth more than it costs now
    #[arg(long, value_name = "NANO")]
    price_cap: Option<Amount>,
    /// Only say what it costs now
    #[arg(long)]
    quote: bool,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    match args.command {
        ReserveCommand::Buy { rate, blocks, signers, terms } => {
            reserve(global, &args.key, Reserve::Buy { rate, blocks, signers }, terms).await
        }
        ReserveCommand::Extend { id, blocks, terms } => {
            reserve(global, &args.key, Reserve::Extend { reservation: id, blocks }, terms).await
        }
        ReserveCommand::Show { id } => show(global, id).await,
    }
}

async fn reserve(global: &Global, key: &KeyArgs, wanted: Reserve, terms: Terms) -> Result<End> {
    let client = global.verifying_client()?;
    let price = client.reservation_price(&wanted).await?;
    if terms.quote {
        if global.json {
            output::print_json(&json!({ "price": price }))?;
        } else {
            output::print_fields(&[("price now", output::weft(price))])?;
        }
        return Ok(End::Done);
    }
    let cap = terms.price_cap.unwrap_or_else(|| price.saturating_add(price.div_ceil(10)));
    let extended = match &wanted {
        Reserve::Buy { .. } => None,
        Reserve::Extend { reservation, .. } => Some(*reservation),
    };
    let prepared = client.prepare_reserve(&key.load()?, wanted, cap, SubmitOptions::default()).await?;
    let id = prepared.id();
    let spinner = output::spinner(global.json, "waiting for a block");
    let ended = client.send_and_wait(&prepared).await;
    spinner.finish_and_clear();
    output::warn_rejected(&client);
    let ended = ended.with_context(|| {
        let until = prepared.valid_until();
        format!("transaction {id}: unless it ended, it may be included up to height {until}; look before you buy again")
    });
    let height = ended?.header.height();
    let reservation = extended.unwrap_or_else(|| id.into());
    if global.json {
        output::print_json(&json!({ "reservation": reservation, "transaction": id, "height": height }))?;
    } else {
        output::print_fields(&[
            ("reservation", reservation.to_string()),
            ("final at height", height.to_string()),
            ("price at most", output::weft(cap)),
        ])?;
    }
    Ok(End::Done)
}

async fn show(global: &Global, id: ReservationId) -> Result<End> {
    let client = global.verifying_client()?;
    let (state, reservation) = client.reservation(id).await?;
    output::warn_rejected(&client);
    let height = state.header().height();
    let detail = reservation.as_ref().map(|reservation| ReservationDetail::from((reservation, height)));
    if global.json {
        output::print_json(&json!({ "id": id, "reservation": detail, "proven": state.body() }))?;
    } else {
        match &detail {
            None => output::line(format_args!("proven: no reservation {id} before block {height}"))?,
            Some(detail) => output::print_fields(&[
                ("owner", detail.owner.to_string()),
                ("signers", detail.signers.iter().map(Address::to_string).collect::<Vec<_>>().join(" ")),
                ("rate", format!("{} shares a block", detail.rate)),
                ("available", format!("{} of {} shares in block {height}", detail.available, detail.depth)),
                ("ends before", format!("block {}", detail.end)),
            ])?,
        }
    }
    Ok(if detail.is_some() { End::Done } else { End::Absent })
}
