//! Bounds on open connections, and connections beyond them, which get health checks alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::operations;
use super::options::ServerOptions;
use super::problem::Problem;
use super::state::AppState;

/// How many connections beyond a bound are answered at the same time; more are closed.
const RESERVE: usize = 32;
/// How many of them may come from one address.
const RESERVE_PER_ADDRESS: usize = 4;
/// How long such a connection may take for the head of its request.
const RESERVE_HEADER_TIMEOUT: Duration = Duration::from_secs(2);

/// The open connections.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    max_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    served: Count,
    reserved: Count,
}

/// How many connections there are, in all and from each address that has one.
#[derive(Debug, Default)]
struct Count {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    connections: Connections,
    address: Option<IpAddr>,
    is_health_only: bool,
}

impl Connections {
    pub(super) fn new(options: &ServerOptions) -> Self {
        Self(Arc::new(Shared {
            max: options.max_connections,
            max_per_address: options.max_connections_per_address,
            open: Mutex::default(),
        }))
    }

    /// Admits a connection from an address; one on a Unix socket has none. `None` if it is to be
    /// closed.
    pub(super) fn admit(&self, address: Option<IpAddr>) -> Option<Admitted> {
        let address = address.map(host_of);
        let shared = &*self.0;
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let exceeded = open.served.add(address, shared.max, shared.max_per_address);
        let admitted = match exceeded {
            None => true,
            Some(what) => {
                metrics::counter!("langgraph_http_rejected_total", "what" => what).increment(1);
                let exceeded = open.reserved.add(address, RESERVE, RESERVE_PER_ADDRESS);
                exceeded.is_none()
            }
        };
        drop(open);
        admitted.then(|| {
            metrics::gauge!("langgraph_http_connections").increment(1.0);
            Admitted {
                connections: self.clone(),
                address,
                is_health_only: exceeded.is_some(),
            }
        })
    }
}

impl Count {
    /// Adds a connection unless there would be too many; then which there are.
    fn add(
        &mut self,
        address: Option<IpAddr>,
        max: usize,
        max_per_address: usize,
    ) -> Option<&'static str> {
        if self.all >= max {
            return Some("connection");
        }
        if let Some(address) = address {
            let from_address = self.by_address.entry(address).or_default();
            if *from_address >= max_per_address {
                return Some("address");
            }
            *from_address += 1;
        }
        self.all += 1;
        None
    }

    fn remove(&mut self, address: Option<IpAddr>) {
        self.all -= 1;
        if let Some(address) = address
            && let Some(from_address) = self.by_address.get_mut(&address)
        {
            *from_address -= 1;
            if *from_address == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Admitted {
    /// Whether the connection is beyond a bound, and gets [`health_only`].
    pub(super) fn is_health_only(&self) -> bool {
        self.is_health_only
    }

    /// How long the connection may take for the head of a request.
    pub(super) fn header_timeout(&self, options: &ServerOptions) -> Duration {
        if self.is_health_only {
            RESERVE_HEADER_TIMEOUT.min(options.header_timeout)
        } else {
            options.header_timeout
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        metrics::gauge!("langgraph_http_connections").decrement(1.0);
        let open = &self.connections.0.open;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = if self.is_health_only {
            &mut open.reserved
        } else {
            &mut open.served
        };
        count.remove(self.address);
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, all of which one host may have.
fn host_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// What a connection beyond a bound is answered: health checks, and 503 to all else. It is closed
/// after one request.
pub(super) fn health_only(state: &AppState) -> Router {
    let refuse = async || {
        let message = "too many connections; try again later";
        Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, message).into_response()
    };
    Router::new()
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .fallback(refuse)
        .layer(map_response(close))
        .layer(from_fn_with_state(state.clone(), super::trace::trace))
        .with_state(state.clone())
}

async fn close(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

#[cfg(test)]
mod tests {
    use super::super::options::Authentication;
    use super::*;

    fn connections(max: usize, max_per_address: usize) -> Connections {
        let mut options = ServerOptions::new(Authentication::Off);
        options.max_connections = max;
        options.max_connections_per_address = max_per_address;
        Connections::new(&options)
    }

    #[allow(clippy::unnecessary_wraps)] // As `admit` takes it.
    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn one_address_leaves_connections_to_others() {
        let connections = connections(10, 2);
        let kept: Vec<_> = (0..8)
            .filter_map(|_| connections.admit(address("10.0.0.1")))
            .collect();
        let is_health_only = kept.iter().map(Admitted::is_health_only);
        assert_eq!(
            is_health_only.collect::<Vec<_>>(),
            [false, false, true, true, true, true]
        );
        let other = connections.admit(address("10.0.0.2")).unwrap();
        assert!(!other.is_health_only());
        drop(kept);
        assert!(
            !connections
                .admit(address("10.0.0.1"))
                .unwrap()
                .is_health_only()
        );
        drop(other);
        let open = connections.0.open.lock().unwrap();
        assert_eq!((open.served.all, open.reserved.all), (0, 0));
        assert!(open.served.by_address.is_empty(), "addresses are kept");
    }

    #[test]
    fn the_networks_of_ipv6_hosts_count_as_one_address() {
        let connections = connections(10, 1);
        let _first = connections.admit(address("2001:db8::1"));
        let same = connections.admit(address("2001:db8::2:0:0:1")).unwrap();
        assert!(same.is_health_only());
        let other = connections.admit(address("2001:db8:0:1::1")).unwrap();
        assert!(!other.is_health_only());
        let mapped = connections.admit(address("::ffff:10.0.0.1")).unwrap();
        assert!(!mapped.is_health_only());
        let plain = connections.admit(address("10.0.0.1")).unwrap();
        assert!(plain.is_health_only());
    }

    #[test]
    fn a_connection_without_an_address_counts_to_all() {
        let connections = connections(1, 1);
        let _first = connections.admit(None).unwrap();
        assert!(connections.admit(None).unwrap().is_health_only());
        let kept: Vec<_> = (0..100).filter_map(|_| connections.admit(None)).collect();
        assert_eq!(kept.len(), RESERVE);
    }
}
