//! What the demo submits: real files, each in a namespace and with foreign commitments that suit it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use erasure::{ForeignKind, Namespace};
use serde::Deserialize;

/// Folders that are looked at in turn, from the folder of the checkout.
const FOLDERS: [&str; 2] = ["../shared/data", "demo/data"];

/// Namespaces that the files are spread over.
const NAMESPACES: [&str; 3] = ["72656e6572656e65", "6f70737461636b", "65746865726575"];

/// One file to submit.
#[derive(Clone, Debug)]
pub(super) struct DataFile {
    pub(super) name: String,
    pub(super) bytes: Arc<[u8]>,
    pub(super) namespace: Namespace,
    pub(super) foreign: Vec<ForeignKind>,
}

/// An EIP-4844 blob as JSON.
#[derive(Deserialize)]
struct Eip4844 {
    data: String,
}

/// The files of `folder`, or of the first default folder that exists; notes about them (`*.md`) are left out.
pub(super) fn load(folder: Option<&Path>) -> Result<Vec<DataFile>> {
    let folder = match folder {
        Some(folder) => folder.to_path_buf(),
        None => FOLDERS
            .iter()
            .map(PathBuf::from)
            .find(|folder| folder.is_dir())
            .context("neither ../shared/data nor demo/data is here: run from the checkout, or name a folder with DEMO_DATA")?,
    };
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.is_file() && path.extension().is_none_or(|extension| extension != "md"));
    paths.sort();
    if paths.is_empty() {
        bail!("{} holds no file to submit", folder.display());
    }
    paths.iter().enumerate().map(|(at, path)| read(path, at)).collect()
}

fn read(path: &Path, at: usize) -> Result<DataFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (bytes, foreign) = match serde_json::from_slice::<Eip4844>(&bytes) {
        Ok(blob) => {
            let data = hex::decode(blob.data.trim_start_matches("0x"))
                .with_context(|| format!("`data` of {name}"))?;
            (data, vec![ForeignKind::Eip4844])
        }
        Err(_) => (bytes, vec![ForeignKind::Keccak256, ForeignKind::Sha256]),
    };
    let namespace = NAMESPACES[at % NAMESPACES.len()].parse()?;
    Ok(DataFile { name, bytes: bytes.into(), namespace, foreign })
}
