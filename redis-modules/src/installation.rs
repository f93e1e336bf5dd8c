//! A Redis server, where it lies, with `RedisJSON` and `RediSearch` if it has them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// The files of the modules, in the order in which they are loaded.
pub(crate) const MODULES: [&str; 2] = [SEARCH_MODULE, "rejson.so"];
/// The file of the module that brings search.
pub(crate) const SEARCH_MODULE: &str = "redisearch.so";

/// A Redis server, with `RedisJSON` and `RediSearch` unless it was asked for without, and how to
/// run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    pub(crate) server: PathBuf,
    pub(crate) cli: Option<PathBuf>,
    pub(crate) version: String,
    /// Modules to load; empty when they are built in.
    pub(crate) modules: Vec<PathBuf>,
    /// Where the server finds shared libraries that the system does not have.
    pub(crate) libraries: Option<PathBuf>,
}

impl Installation {
    /// The program `redis-server`.
    #[must_use]
    pub fn server(&self) -> &Path {
        &self.server
    }

    /// The program `redis-cli`, if there is one. See [`Installation::cli_command`].
    #[must_use]
    pub fn cli(&self) -> Option<&Path> {
        self.cli.as_deref()
    }

    /// `redis-cli`, if there is one, with the environment that it needs to run.
    #[must_use]
    pub fn cli_command(&self) -> Option<Command> {
        let mut command = Command::new(self.cli.as_deref()?);
        if let Some((name, value)) = self.environment() {
            command.env(name, value);
        }
        Some(command)
    }

    /// The version of Redis, such as `7.4.1`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The module files that a server must load; empty when JSON and search are built in.
    #[must_use]
    pub fn modules(&self) -> &[PathBuf] {
        &self.modules
    }

    /// The variable that the programs need in their environment to find their shared libraries.
    #[must_use]
    pub fn environment(&self) -> Option<(&'static str, OsString)> {
        let name = "LD_LIBRARY_PATH";
        let mut value = self.libraries.clone()?.into_os_string();
        if let Some(inherited) = env::var_os(name).filter(|value| !value.is_empty()) {
            value.push(":");
            value.push(inherited);
        }
        Some((name, value))
    }

    /// An installation in the layout of Redis Stack: `bin`, and if needed `lib` and `ssl`.
    pub(crate) fn in_folder(folder: &Path, server: &str, modules: &[&str]) -> Result<Self, Error> {
        let libraries = folder.join("ssl");
        let modules = modules.iter().map(|name| folder.join("lib").join(name));
        let mut installation = Self {
            cli: Some(folder.join("bin/redis-cli")).filter(|cli| is_program(cli)),
            server: folder.join(server),
            version: String::new(),
            modules: modules.collect(),
            libraries: libraries.is_dir().then_some(libraries),
        };
        installation.version = version_of(&installation.server, installation.environment())
            .map_err(|detail| Error::Unusable {
                path: folder.to_owned(),
                detail,
            })?;
        Ok(installation)
    }
}

/// Where installations are kept: `$REDIS_MODULES_CACHE`, else `.cache/redis-modules` in the
/// workspace that this crate was built in.
#[must_use]
pub fn cache_dir() -> PathBuf {
    if let Some(folder) = env::var_os("REDIS_MODULES_CACHE").filter(|folder| !folder.is_empty()) {
        return std::path::absolute(&folder).unwrap_or_else(|_| PathBuf::from(folder));
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .unwrap_or(package)
        .join(".cache")
        .join("redis-modules")
}

/// What `redis-server --version` says is the version; the error is what it said instead.
pub(crate) fn version_of(
    server: &Path,
    environment: Option<(&str, OsString)>,
) -> Result<String, String> {
    let output = Command::new(server)
        .arg("--version")
        .envs(environment)
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_whitespace()
        .find_map(|word| word.strip_prefix("v="))
        .map(str::to_owned)
        .ok_or_else(|| {
            format!("{said}{}", String::from_utf8_lossy(&output.stderr))
                .trim()
                .to_owned()
        })
}

/// Whether this is a file that may be executed.
pub(crate) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
