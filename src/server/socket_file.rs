//! The file of a Unix socket: made with its mode, put in the place of one that nobody serves,
//! removed at the end.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::error::{Error, Result, Source};

/// The file of a socket that this process listens on, which is removed when it is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The device and the inode, by which the file is told from a later one of the same name.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens on a socket of this path and mode. A socket that nobody listens on is replaced.
    ///
    /// # Errors
    /// [`Error::Config`] if a process listens on it, if the file is no socket, or if it cannot be
    /// made.
    pub(super) async fn bind(path: &Path, mode: u32) -> Result<(UnixListener, Self)> {
        check_vacant(path).await?;
        let failed = |error: io::Error| {
            let reason = format!("cannot listen on unix:{}", path.display());
            refuse(reason, Some(error.into()))
        };
        let name = path
            .file_name()
            .ok_or_else(|| refuse(format!("unix:{} names no file", path.display()), None))?;
        // Nobody can connect before the socket has its mode: until then it is in a directory that
        // only this user may enter.
        let private = Private::inside(path.parent().unwrap_or("".as_ref())).map_err(failed)?;
        let socket = private.0.join("s");
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        fs::set_permissions(&socket, Permissions::from_mode(mode)).map_err(failed)?;
        let metadata = fs::metadata(&socket).map_err(failed)?;
        let path = path.with_file_name(name);
        fs::rename(&socket, &path).map_err(failed)?;
        let identity = (metadata.dev(), metadata.ino());
        Ok((listener, Self { path, identity }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        // Another service may have taken the place since.
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            let path = self.path.display();
            tracing::warn!(%error, "the socket {path} was not removed");
        }
    }
}

/// Refuses a path that a process listens on, and a file that is no socket.
async fn check_vacant(path: &Path) -> Result<()> {
    let name = path.display();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let reason = format!("cannot look at {name}");
            return Err(refuse(reason, Some(error.into())));
        }
    };
    if !found.file_type().is_socket() {
        let reason = format!("{name} is there and is no socket: choose another path");
        return Err(refuse(reason, None));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A process whose queue of connections is full is there, too.
        Ok(_) | Err(_) => {
            let reason =
                format!("another process listens on unix:{name}: stop it, or choose another path");
            Err(refuse(reason, None))
        }
    }
}

fn refuse(reason: String, source: Option<Source>) -> Error {
    Error::Config {
        key: "listen".to_owned(),
        reason,
        source,
    }
}

/// A directory that only this user may enter, which is removed when it is dropped.
struct Private(PathBuf);

impl Private {
    fn inside(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!(".{:08x}", rand::random::<u32>()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Whatever is left in it after a failure.
        let _ = fs::remove_dir_all(&self.0);
    }
}
