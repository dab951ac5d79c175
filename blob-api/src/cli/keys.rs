//! `blob keys`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use blob_api::{KeySource, create_keystore, random_key};
use chain::SecretKey;
use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::{End, Global, output};

/// Make, show and import keys
///
/// A key lives in an encrypted file in Ethereum's keystore format; the same key may sign on an L1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: KeysCommand,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum KeysCommand {
    /// Make a random key and write it to the key file
    New,
    /// Show the key's address
    Show,
    /// Write the key in WEFT_KEY, or one typed at a prompt, to the key file
    Import,
}

/// Where the key is. There is no argument for the key itself: arguments are visible to every process.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// The encrypted key file. Default: ~/.weft/key.json
    #[arg(long, global = true, value_name = "FILE", env = "WEFT_KEY_FILE", hide_env_values = true)]
    key_file: Option<PathBuf>,
}

impl KeyArgs {
    /// The key in `WEFT_KEY`, otherwise that in the key file.
    pub(super) fn load(&self) -> Result<SecretKey> {
        let source = match raw_key() {
            Some(raw) => KeySource::Raw(raw),
            None => KeySource::File(self.path()?),
        };
        source.load(|| password("password: "))
    }

    fn path(&self) -> Result<PathBuf> {
        match &self.key_file {
            Some(path) => Ok(path.clone()),
            None => {
                Ok(std::env::home_dir().context("no home directory; give --key-file")?.join(".weft/key.json"))
            }
        }
    }
}

pub(super) fn run(global: &Global, args: &Args) -> Result<End> {
    let key = match args.command {
        KeysCommand::Show => args.key.load()?,
        KeysCommand::New => create(&args.key, random_key()?)?,
        KeysCommand::Import => {
            let raw = match raw_key() {
                Some(raw) => raw,
                None => Zeroizing::new(rpassword::prompt_password("key, 64 hexadecimal digits: ")?),
            };
            let key = KeySource::Raw(raw).load(|| bail!("a raw key has no password"))?;
            create(&args.key, key)?
        }
    };
    let address = key.address();
    let path = args.key.path()?;
    if global.json {
        output::print_json(&json!({ "address": address, "key_file": path }))?;
    } else {
        output::line(address)?;
    }
    Ok(End::Done)
}

fn create(args: &KeyArgs, key: SecretKey) -> Result<SecretKey> {
    let password = new_password()?;
    create_keystore(&args.path()?, &key, &password)?;
    Ok(key)
}

fn raw_key() -> Option<Zeroizing<String>> {
    std::env::var("WEFT_KEY").ok().map(Zeroizing::new)
}

fn password(prompt: &str) -> Result<Zeroizing<String>> {
    match std::env::var("WEFT_KEY_PASSWORD") {
        Ok(password) => Ok(Zeroizing::new(password)),
        Err(_) => Ok(Zeroizing::new(
            rpassword::prompt_password(prompt)
                .context("no terminal to ask for the password; set WEFT_KEY_PASSWORD")?,
        )),
    }
}

fn new_password() -> Result<Zeroizing<String>> {
    let first = password("new password: ")?;
    if first.is_empty() {
        bail!("the password is empty; choose one, the file may hold money");
    }
    if *first != *password("again: ")? {
        bail!("the passwords differ; nothing was written");
    }
    Ok(first)
}
