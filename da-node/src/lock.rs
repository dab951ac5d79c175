//! One process at a time in a node's folder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
};

use anyhow::{Context as _, Result, bail};

use crate::home::Home;

/// A node's folder, held until this is dropped or its process ends, however that ends.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl Home {
    /// Holds the folder for `program`. Fails where another holds it, and says which.
    pub fn lock(&self, program: &str) -> Result<HomeLock> {
        let path = self.path("lock");
        let cannot = || format!("cannot lock {}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).with_context(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = file.read_to_string(&mut holder);
                let holder = read.ok().map(|_| holder.trim()).filter(|holder| !holder.is_empty());
                bail!(
                    "{} is in use by {}: wait until that ends or stop it, or give another --home",
                    self.path("").display(),
                    holder.unwrap_or("another process")
                )
            }
        }
        file.set_len(0).with_context(cannot)?;
        writeln!(file, "{program}, process {}", std::process::id()).with_context(cannot)?;
        Ok(HomeLock { _file: file })
    }
}
