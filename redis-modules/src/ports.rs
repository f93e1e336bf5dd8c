//! Ports that are free at the moment of asking.
//!
//! Another process may take such a port before the server does; the server then ends at once and
//! the caller tries another.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Context, Error};

/// The bus port of a cluster node lies this far above its port.
pub(crate) const BUS_OFFSET: u16 = 10_000;

/// Ports of cluster nodes. No port is the bus port of another, and all bus ports lie below the
/// ephemeral range, which begins at 32768.
const CLUSTER_PORTS: std::ops::Range<u16> = 10_000..20_000;

const CLUSTER_ATTEMPTS: u32 = 200;

/// A free port of the system's choice.
pub(crate) fn free() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .context(|| "find a free port".to_owned())
}

/// A free port whose bus port is free too.
pub(crate) fn free_for_cluster() -> Result<u16, Error> {
    let random = RandomState::new();
    for attempt in 0..CLUSTER_ATTEMPTS {
        let span = u64::from(CLUSTER_PORTS.end - CLUSTER_PORTS.start);
        // The remainder is less than the span, which fits into 16 bits.
        let Ok(step) = u16::try_from(random.hash_one(attempt) % span) else {
            continue;
        };
        let port = CLUSTER_PORTS.start + step;
        if is_free(port) && is_free(port + BUS_OFFSET) {
            return Ok(port);
        }
    }
    Err(Error::NoFreePort {
        attempts: CLUSTER_ATTEMPTS,
    })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
