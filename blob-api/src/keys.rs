//! Keys: an encrypted file in Ethereum's version 3 format, or 64 digits that the caller got from somewhere safe.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chain::{KeyError, SecretKey};
use k256::elliptic_curve::rand_core::OsRng;
use zeroize::Zeroizing;

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// 64 hexadecimal digits.
    Raw(Zeroizing<String>),
    /// A keystore.
    File(PathBuf),
}

/// Why there is no key. Nobody else is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// Not 64 digits.
    #[error("a raw key is 64 hexadecimal digits: {0}")]
    Raw(String),
    /// 32 bytes that are no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file that cannot be read or written.
    #[error("key file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Never overwritten: it may hold money.
    #[error("key file {0} exists already; choose another with --key-file, or move it away yourself")]
    Exists(PathBuf),
    /// Another format, or damaged.
    #[error("key file {path} is no version 3 keystore: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The password does not open it.
    #[error("wrong password for key file {0}")]
    Password(PathBuf),
    /// The operating system gave no randomness.
    #[error("no randomness: {0}")]
    Randomness(String),
}

/// A key from 64 hexadecimal digits.
pub(crate) fn parse_raw(text: &str) -> Result<SecretKey, KeysError> {
    let text = text.trim();
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), bytes.as_mut())
        .map_err(|error| KeysError::Raw(error.to_string()))?;
    Ok(SecretKey::from_bytes(&bytes)?)
}

impl KeySource {
    /// The key; `password` is asked for only where a file has to be opened.
    pub fn load<E: From<KeysError>>(
        &self,
        password: impl FnOnce() -> Result<Zeroizing<String>, E>,
    ) -> Result<SecretKey, E> {
        match self {
            Self::Raw(text) => Ok(parse_raw(text)?),
            Self::File(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|source| KeysError::Io { path: path.clone(), source })?;
                check_format(path, &text)?;
                Ok(read_keystore(path, &password()?)?)
            }
        }
    }
}

/// A new random key.
pub fn random_key() -> Result<SecretKey, KeysError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|error| KeysError::Randomness(error.to_string()))?;
    // All but 2^-128 of the strings are keys; the rest is an error, not a loop.
    Ok(SecretKey::from_bytes(&bytes)?)
}

/// Writes `key` to a new file at `path`, readable by its owner only.
pub fn create_keystore(path: &Path, key: &SecretKey, password: &str) -> Result<(), KeysError> {
    let io = |source| KeysError::Io { path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| KeysError::Format {
        path: path.to_owned(),
        reason: "the file name must be UTF-8 text".into(),
    })?;
    fs::create_dir_all(directory).map_err(io)?;
    create_private(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => KeysError::Exists(path.to_owned()),
        _ => io(error),
    })?;
    let bytes = Zeroizing::new(key.to_bytes());
    eth_keystore::encrypt_key(directory, &mut OsRng, bytes.as_slice(), password, Some(name))
        .map_err(|error| io(std::io::Error::other(error.to_string())))?;
    Ok(())
}

/// Creates the empty file that the keystore is then written into, so that it is never open to others.
pub(crate) fn create_private(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The key in the file at `path`.
pub fn read_keystore(path: &Path, password: &str) -> Result<SecretKey, KeysError> {
    let text = fs::read_to_string(path).map_err(|source| KeysError::Io { path: path.to_owned(), source })?;
    check_format(path, &text)?;
    let opened = eth_keystore::decrypt_key(path, password).map(Zeroizing::new);
    let format = |reason: String| KeysError::Format { path: path.to_owned(), reason };
    let bytes = opened.map_err(|error| match error {
        eth_keystore::KeystoreError::MacMismatch => KeysError::Password(path.to_owned()),
        error => format(error.to_string()),
    })?;
    let bytes = <&[u8; 32]>::try_from(bytes.as_slice())
        .map_err(|_| format("the key in it is not 32 bytes".into()))?;
    Ok(SecretKey::from_bytes(bytes)?)
}

/// What the decoder takes for granted: it would panic on shorter fields.
fn check_format(path: &Path, text: &str) -> Result<(), KeysError> {
    let format = |reason: String| KeysError::Format { path: path.to_owned(), reason };
    let store: eth_keystore::EthKeystore =
        serde_json::from_str(text).map_err(|error| format(error.to_string()))?;
    let length = match store.crypto.kdfparams {
        eth_keystore::KdfparamsType::Pbkdf2 { dklen, .. }
        | eth_keystore::KdfparamsType::Scrypt { dklen, .. } => dklen,
    };
    if store.crypto.cipher != "aes-128-ctr" || store.crypto.cipherparams.iv.len() != 16 || length != 32 {
        return Err(format(
            "only aes-128-ctr with a 16-byte iv and a 32-byte derived key is supported".into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]
    use super::*;

    #[test]
    fn a_keystore_opens_with_its_password_only_and_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys/key.json");
        let key = random_key().unwrap();
        create_keystore(&path, &key, "secret").unwrap();
        assert_eq!(read_keystore(&path, "secret").unwrap().address(), key.address());
        assert!(matches!(read_keystore(&path, "Secret"), Err(KeysError::Password(_))));
        assert!(matches!(create_keystore(&path, &key, "secret"), Err(KeysError::Exists(_))));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_keystore_is_an_error_and_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.json");
        create_keystore(&path, &random_key().unwrap(), "secret").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["crypto"]["cipherparams"]["iv"] = "00".into();
        fs::write(&path, json.to_string()).unwrap();
        assert!(matches!(read_keystore(&path, "secret"), Err(KeysError::Format { .. })));
        fs::write(&path, "{").unwrap();
        assert!(matches!(read_keystore(&path, "secret"), Err(KeysError::Format { .. })));
    }

    #[test]
    fn a_raw_key_is_64_digits_of_a_scalar() {
        assert!(parse_raw(&"01".repeat(32)).is_ok());
        assert!(matches!(parse_raw("01"), Err(KeysError::Raw(_))));
        assert!(matches!(parse_raw(&"00".repeat(32)), Err(KeysError::Key(_))));
    }
}
