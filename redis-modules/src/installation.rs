//! Finds a Redis that has `RedisJSON` and `RediSearch`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::install;
use crate::standalone::Standalone;

/// The modules in the order in which they are loaded.
const MODULES: [&str; 2] = [SEARCH_MODULE, "rejson.so"];
/// The file of the module that brings search.
pub(crate) const SEARCH_MODULE: &str = "redisearch.so";

/// The first major version of Redis that comes with JSON and search.
const FIRST_WITH_MODULES: u32 = 8;

/// A Redis server with `RedisJSON` and `RediSearch`, and how to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    server: PathBuf,
    cli: Option<PathBuf>,
    version: String,
    /// Modules to load; empty when they are built in.
    modules: Vec<PathBuf>,
    /// Where the server finds shared libraries that the system does not have.
    libraries: Option<PathBuf>,
}

impl Installation {
    /// The server found on `PATH` or in the cache, else one installed into the cache.
    ///
    /// # Errors
    /// Those of [`Installation::find`] and [`Installation::install`].
    pub fn find_or_install() -> Result<Self, Error> {
        match Self::find()? {
            Some(found) => Ok(found),
            None => Self::install(),
        }
    }

    /// The first of: a Redis 8 or later with JSON and search on `PATH`, a Redis Stack on `PATH`, an
    /// earlier installation in the cache. Downloads nothing.
    ///
    /// # Errors
    /// [`Error::Io`] when a server without module files has to be tried and cannot be.
    pub fn find() -> Result<Option<Self>, Error> {
        let path = env::var_os("PATH").unwrap_or_default();
        if let Some(found) = Self::on_path(&path)? {
            return Ok(Some(found));
        }
        Ok(install::installed(&cache_dir()))
    }

    /// Installs a Redis Stack into the [cache folder](cache_dir) with pip, unless it is there
    /// already. Safe to call from several processes at once; one downloads, the others wait.
    ///
    /// # Errors
    /// [`Error::UnsupportedPlatform`], [`Error::PythonMissing`], [`Error::PipMissing`],
    /// [`Error::Download`], [`Error::HashMismatch`], [`Error::Unusable`], or [`Error::Io`].
    pub fn install() -> Result<Self, Error> {
        install::install(&cache_dir())
    }

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

    /// An installation in the layout of Redis Stack: `bin`, `lib` and, if needed, `ssl`.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, Error> {
        let libraries = folder.join("ssl");
        let server = folder.join("bin/redis-server");
        let mut installation = Self {
            cli: Some(folder.join("bin/redis-cli")).filter(|cli| is_program(cli)),
            server,
            version: String::new(),
            modules: MODULES
                .iter()
                .map(|name| folder.join("lib").join(name))
                .collect(),
            libraries: libraries.is_dir().then_some(libraries),
        };
        installation.version = version_of(&installation.server, installation.environment())
            .map_err(|detail| Error::Unusable {
                path: folder.to_owned(),
                detail,
            })?;
        Ok(installation)
    }

    fn on_path(path: &OsStr) -> Result<Option<Self>, Error> {
        for folder in env::split_paths(path).filter(|folder| folder.is_absolute()) {
            if let Some(found) = redis_with_modules(&folder.join("redis-server"))? {
                return Ok(Some(found));
            }
            if let Some(found) = redis_stack(&folder.join("redis-stack-server")) {
                return Ok(Some(found));
            }
        }
        Ok(None)
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

/// A Redis that is new enough to come with JSON and search, if it really does.
fn redis_with_modules(server: &Path) -> Result<Option<Installation>, Error> {
    if !is_program(server) {
        return Ok(None);
    }
    // A program that cannot say its version is not the server that is looked for.
    let Ok(version) = version_of(server, None) else {
        return Ok(None);
    };
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < FIRST_WITH_MODULES) {
        return Ok(None);
    }
    let real = fs::canonicalize(server).unwrap_or_else(|_| server.to_owned());
    let modules = [server, &real]
        .into_iter()
        .find_map(|server| modules_near(server.parent()?));
    let are_built_in = modules.is_none();
    let cli = server.with_file_name("redis-cli");
    let found = Installation {
        server: server.to_owned(),
        cli: Some(cli).filter(|cli| is_program(cli)),
        version,
        modules: modules.unwrap_or_default(),
        libraries: None,
    };
    if !are_built_in {
        return Ok(Some(found));
    }
    match Standalone::builder().installation(found.clone()).start() {
        Ok(_) => Ok(Some(found)),
        Err(Error::Exited { .. } | Error::NotReady { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A Redis Stack: the server and the modules lie beside its start script.
fn redis_stack(script: &Path) -> Option<Installation> {
    if !is_program(script) {
        return None;
    }
    let real = fs::canonicalize(script).ok()?;
    let found = Installation::in_folder(real.parent()?.parent()?).ok()?;
    found
        .modules
        .iter()
        .all(|module| module.is_file())
        .then_some(found)
}

/// The module files in the places where the packages of Redis put them.
fn modules_near(bin: &Path) -> Option<Vec<PathBuf>> {
    let folders = [
        bin.join("modules"),
        bin.join("../modules"),
        bin.join("../lib/redis/modules"),
        bin.join("../lib"),
        PathBuf::from("/usr/lib/redis/modules"),
        PathBuf::from("/usr/local/lib/redis/modules"),
    ];
    folders
        .iter()
        .map(|folder| {
            MODULES
                .iter()
                .map(|name| folder.join(name))
                .collect::<Vec<_>>()
        })
        .find(|files| files.iter().all(|file| file.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &Path, says: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn modules(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for name in MODULES {
            fs::write(folder.join(name), "").unwrap();
        }
    }

    #[test]
    fn a_redis_8_with_module_files_is_found_on_path() {
        let root = tempfile::tempdir().unwrap();
        let bin = root.path().join("bin");
        program(&bin.join("redis-server"), "Redis server v=8.2.1 sha=0");
        modules(&root.path().join("lib/redis/modules"));
        let found = Installation::on_path(bin.as_os_str()).unwrap().unwrap();
        assert_eq!(found.version(), "8.2.1");
        assert_eq!(found.server(), bin.join("redis-server"));
        assert_eq!(found.modules().len(), 2);
    }

    #[test]
    fn an_older_redis_without_modules_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        program(
            &root.path().join("redis-server"),
            "Redis server v=7.0.15 sha=0",
        );
        modules(&root.path().join("modules"));
        assert_eq!(
            Installation::on_path(root.path().as_os_str()).unwrap(),
            None
        );
    }

    #[test]
    fn a_redis_8_that_does_not_start_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        program(
            &root.path().join("redis-server"),
            "Redis server v=8.0.0 sha=0",
        );
        assert_eq!(
            Installation::on_path(root.path().as_os_str()).unwrap(),
            None
        );
    }

    #[test]
    fn a_redis_stack_is_found_through_a_link_on_path() {
        let root = tempfile::tempdir().unwrap();
        let stack = root.path().join("redis-stack");
        program(&stack.join("bin/redis-stack-server"), "");
        program(
            &stack.join("bin/redis-server"),
            "Redis server v=7.4.1 sha=0",
        );
        modules(&stack.join("lib"));
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(
            stack.join("bin/redis-stack-server"),
            bin.join("redis-stack-server"),
        )
        .unwrap();
        let found = Installation::on_path(bin.as_os_str()).unwrap().unwrap();
        assert_eq!(found.version(), "7.4.1");
        assert!(found.environment().is_none());
    }
}
