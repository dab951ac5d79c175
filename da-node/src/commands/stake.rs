//! `da-node bond` and `da-node unbond`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use blob_api::{Client, SubmitOptions, read_network};
use chain::{Action, Amount, AttestationSecret, NANO_PER_WEFT, StateKey, TxStatus, ValidatorKeys};

use crate::home::{Home, KeyRole};

/// Which node's operator, how much, and over which API.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node's folder, with its keys and the network.toml that it writes
    #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
    home: PathBuf,
    /// How much, in whole WEFT; each is a vote
    #[arg(long)]
    weft: u64,
    /// API to ask, as http://host:port. Default: that of the running node of the folder
    #[arg(long, value_name = "URL")]
    node: Option<String>,
}

pub(super) async fn bond(args: Args) -> Result<()> {
    let operator = Operator::open(&args.home, args.node.as_deref())?;
    let stake = args.stake()?;
    let address = operator.home.account(KeyRole::Operator)?.address();
    let known = operator.client.proven(StateKey::Validator(address)).await?;
    let keys = match known.value() {
        Some(_) => None,
        None => Some(Box::new(operator.keys()?)),
    };
    let height = operator.submit(Action::Bond { stake, keys }).await?;
    println!(
        "bonded {} WEFT of {address} in block {height}; it votes from block {} on",
        args.weft,
        height + 2
    );
    Ok(())
}

pub(super) async fn unbond(args: Args) -> Result<()> {
    let operator = Operator::open(&args.home, args.node.as_deref())?;
    let height = operator.submit(Action::Unbond { stake: args.stake()? }).await?;
    let seconds = operator.home.genesis()?.parameters.unbonding_seconds;
    println!(
        "{} WEFT have no vote from block {} on; they return to the account after {seconds} s",
        args.weft,
        height + 2
    );
    Ok(())
}

impl Args {
    fn stake(&self) -> Result<Amount> {
        self.weft.checked_mul(NANO_PER_WEFT).context("--weft: more than there is")
    }
}

/// A node's operator, with an API to ask.
pub(super) struct Operator {
    home: Home,
    pub(super) client: Client,
}

impl Operator {
    /// The operator of `home`; asks `node`, or the running node of that folder.
    pub(super) fn open(home: &Path, node: Option<&str>) -> Result<Self> {
        let home = Home::new(home);
        let url = match node {
            Some(url) => url.to_owned(),
            None => home.running().context("is the node running? --node names another one to ask")?.api,
        };
        let client = Client::new(&[url], Some(read_network(&home.path("network.toml"))?))?;
        Ok(Self { home, client })
    }

    fn keys(&self) -> Result<ValidatorKeys> {
        let consensus = self.home.key(KeyRole::Consensus).context(
            "the first bond proves that its sender has the consensus key, and a remote signer signs votes only: run it \
             where the key is, see docs/validator.md",
        )?;
        let consensus = ed25519_consensus::SigningKey::from(consensus);
        if !self.home.has_key(KeyRole::Attestation) {
            self.home.make_key(KeyRole::Attestation)?;
        }
        let attestation = AttestationSecret::from_seed(&self.home.key(KeyRole::Attestation)?)?;
        Ok(ValidatorKeys::prove(
            &self.home.genesis()?.domain(),
            &self.home.account(KeyRole::Operator)?.address(),
            consensus.verification_key().to_bytes(),
            |message| consensus.sign(message).to_bytes(),
            &attestation,
        ))
    }

    /// Signs as the operator, and waits for the block.
    pub(super) async fn submit(&self, action: Action) -> Result<u64> {
        let key = self.home.account(KeyRole::Operator)?;
        let prepared = self.client.prepare_action(&key, action, SubmitOptions::default()).await?;
        let id = self.client.send(&prepared, None).await?;
        match self.client.wait(id, |_| ()).await?.status {
            TxStatus::Final { height } => Ok(height),
            status => bail!("transaction {id} was not included ({status:?}); nothing was charged"),
        }
    }
}
