//! The ways in which servers work together.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// How the servers of a deployment work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Topology {
    /// One server.
    #[default]
    Standalone,
    /// A primary and its replicas, watched by sentinels that choose a new primary.
    Sentinel,
    /// Several primaries that share the keys, each with a replica.
    Cluster,
}

impl Topology {
    /// All topologies.
    pub const ALL: [Self; 3] = [Self::Standalone, Self::Sentinel, Self::Cluster];

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Topology {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|topology| topology.as_str() == name)
            .ok_or_else(|| {
                Error::InvalidConfig(format!("{name:?} is not standalone, sentinel or cluster"))
            })
    }
}
