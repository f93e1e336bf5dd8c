//! A file of keys, read again when it changes.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::api_keys::ApiKeys;
use super::handle::ServiceHandle;
use super::watched_files::WatchedFiles;
use crate::error::{Error, Result};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A file of API keys that the service reads again when it changes; see [`ApiKeys`] for its lines.
///
/// The service looks at the file every two seconds, and takes a change over once the file has been
/// left alone for as long, so that no file is read that is half written. A file that is not valid
/// is logged as an error that names the line, and the keys stay as they are. No request is dropped:
/// those of a key that was removed end as they would have, and new ones are refused.
///
/// Clones are of the same file and have the same keys.
///
/// ```no_run
/// use langgraph_checkpoint_redis::server::{Authentication, KeyFile, ServerOptions};
/// # fn run() -> langgraph_checkpoint_redis::Result<()> {
/// let file = KeyFile::open("/etc/checkpoints/keys")?;
/// let options = ServerOptions::new(Authentication::KeyFile(file.clone()));
/// // Later, if it cannot wait for some seconds:
/// file.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct KeyFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// How the file was before it was first read.
    watched: WatchedFiles,
    keys: RwLock<ApiKeys>,
}

impl KeyFile {
    /// Reads the keys of a file.
    ///
    /// # Errors
    /// As [`ApiKeys::from_file`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let watched = WatchedFiles::new("API keys", [path.clone()]);
        let keys = read(&path)?;
        warn_of_expired(&keys);
        Ok(Self(Arc::new(Shared {
            path,
            watched,
            keys: RwLock::new(keys),
        })))
    }

    /// The keys as they were last read.
    #[must_use]
    pub fn keys(&self) -> ApiKeys {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// Reads the file again. The keys stay as they are if this fails.
    ///
    /// # Errors
    /// As [`ApiKeys::from_file`]; and [`Error::Config`] if the file has no key any more.
    pub fn reload(&self) -> Result<()> {
        let keys = read(&self.0.path)?;
        if keys.is_empty() {
            return Err(refuse(
                &self.0.path,
                "has no key; the keys from before are kept",
            ));
        }
        warn_of_expired(&keys);
        let mut current = self.0.keys.write().unwrap_or_else(PoisonError::into_inner);
        *current = keys.following(&current);
        Ok(())
    }

    /// Reads the file again whenever it has changed or the handle says so, for ever.
    pub(super) async fn follow(self, handle: ServiceHandle) {
        let watched = self.0.watched.clone();
        watched.follow(handle, move || self.reload()).await;
    }
}

fn warn_of_expired(keys: &ApiKeys) {
    for key in keys.expired() {
        tracing::warn!(key, "the API key has expired; remove its line");
    }
}

fn refuse(path: &Path, reason: &str) -> Error {
    Error::Config {
        key: "api_keys".to_owned(),
        reason: format!("{} {reason}", path.display()),
        source: None,
    }
}

/// Reads a file of keys.
pub(super) fn read(path: &Path) -> Result<ApiKeys> {
    let failed = |error: std::io::Error| Error::Config {
        key: "api_keys".to_owned(),
        reason: format!("{} cannot be read", path.display()),
        source: Some(error.into()),
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    check_permissions(path, &metadata)?;
    let mut text = String::new();
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(refuse(
            path,
            "is larger than 16 MiB; it cannot be a file of keys",
        ));
    }
    ApiKeys::parse(&text)
}

/// Refuses a file that others may read, or that others than its owner may write.
///
/// Its group may read it: Kubernetes gives secrets to a container by their group.
#[cfg(unix)]
fn check_permissions(path: &Path, metadata: &Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    // A pipe or a terminal has no content to protect.
    if !metadata.is_file() || mode & 0o027 == 0 {
        return Ok(());
    }
    let who = if mode & 0o007 != 0 {
        "is open to every user"
    } else {
        "may be changed by its group"
    };
    let name = path.display();
    Err(refuse(
        path,
        &format!(
            "{who} (mode {mode:04o}); `chmod 600 {name}`, or `chmod 640 {name}` for its group to \
             read it (in Kubernetes `defaultMode: 0440` and an `fsGroup`)"
        ),
    ))
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // As on Unix.
fn check_permissions(_path: &Path, _metadata: &Metadata) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        #[cfg(unix)]
        set_mode(path, 0o600);
    }

    #[cfg(unix)]
    fn set_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn line(name: &str) -> String {
        format!("{name}:{}\n", ApiKeys::hash(name))
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        write(&path, &line("a"));
        for mode in [0o400, 0o440, 0o600, 0o640] {
            set_mode(&path, mode);
            KeyFile::open(&path).unwrap_or_else(|error| panic!("{mode:o}: {error}"));
        }
        for mode in [0o644, 0o604, 0o660, 0o602, 0o601] {
            set_mode(&path, mode);
            let error = KeyFile::open(&path).unwrap_err().to_string();
            for says in ["chmod 600", "0440", &format!("{mode:04o}")] {
                assert!(error.contains(says), "{error}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_valid_leaves_the_keys_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        write(&path, &line("a"));
        let file = KeyFile::open(&path).unwrap();
        for (text, says) in [
            (line("b") + "broken", "line 2"),
            (String::new(), "no key"),
            ("# none\n".to_owned(), "no key"),
        ] {
            write(&path, &text);
            let error = file.reload().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(file.keys().find(b"a").is_some());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(file.reload().is_err());
        write(&path, &line("b"));
        file.reload().unwrap();
        assert!(file.keys().find(b"a").is_none() && file.clone().keys().find(b"b").is_some());
    }
}
