//! Connection strings. What would be ignored is refused.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use crate::error::{Error, Result};

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Why a URL is refused, of which a part may be a password that was not encoded.
const AT_AFTER_HOST: &str = "an @ follows its host, so a part of it may be a password and is not shown: write `/`, `?`, `#` and `@` in names and passwords as %2F, %3F, %23 and %40";

/// A connection string, taken apart.
#[derive(Clone)]
pub(crate) struct RedisUrl {
    pub(crate) topology: Topology,
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) tls: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<SecretString>,
    pub(crate) database: Option<u8>,
    pub(crate) layout: Option<String>,
}

/// What stands at the other end.
#[derive(Clone)]
pub(crate) enum Topology {
    /// One server.
    Standalone,
    /// One server on this machine.
    Unix(PathBuf),
    /// A cluster; the hosts are seeds.
    Cluster,
    /// Sentinels, which know the primary of a service.
    Sentinel {
        service: String,
        username: Option<String>,
        password: Option<SecretString>,
    },
}

/// Whether a URL has a password in it; one that cannot be read may have.
#[cfg(feature = "cli")]
pub(crate) fn has_password(text: &str) -> bool {
    RedisUrl::parse(text).map_or(true, |url| url.has_password())
}

/// The scheme, the user and the hosts of a URL, for people.
#[cfg(all(feature = "cli", feature = "server"))]
pub(crate) fn without_password(text: &str) -> Result<String> {
    let url = RedisUrl::parse(text)?;
    let scheme = text.split("://").next().unwrap_or_default();
    let hidden = if url.has_password() { "***@" } else { "" };
    Ok(format!("{scheme}://{hidden}{}", url.address()))
}

impl RedisUrl {
    #[cfg(feature = "cli")]
    fn has_password(&self) -> bool {
        let sentinel = match &self.topology {
            Topology::Sentinel { password, .. } => password.is_some(),
            _ => false,
        };
        self.password.is_some() || sentinel
    }

    /// Reads a connection string:
    ///
    /// - `redis://[[user]:password@]host[:port][/database]`, with TLS `rediss://`
    /// - `redis+unix:///path/to/socket[?db=1]`
    /// - `redis-cluster://host:port?node=host2:port2`, or `redis+cluster://host:port,host2:port2`
    /// - `redis-sentinel://host:port/database?sentinelServiceName=NAME&node=host2:port2`, or
    ///   `redis+sentinel://host:port,host2:port2/NAME/database`
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Config {
            key: "url".to_owned(),
            reason,
            source: None,
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            refuse("it is no URL; write redis://host:port, for example".to_owned())
        })?;
        let (kind, tls) = kind_of(scheme).ok_or_else(|| {
            refuse(format!(
                "its scheme `{scheme}` is not known; use redis, rediss, redis+unix, redis-cluster or redis-sentinel"
            ))
        })?;
        let after_host = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
        // What follows the host may be the rest of a password, and then no message shows it.
        let refuse = |reason: String| {
            if after_host.contains('@') && !matches!(kind, Kind::Unix) {
                refuse(AT_AFTER_HOST.to_owned())
            } else {
                refuse(reason)
            }
        };
        // The `url` crate takes one host only: further ones of a list are taken out first.
        let (rest, more_hosts) = split_host_list(rest);
        let url = Url::parse(&format!("redis://{rest}")).map_err(|error| Error::Config {
            key: "url".to_owned(),
            reason: "it is no URL".to_owned(),
            source: Some(error.into()),
        })?;
        let mut parsed = Self {
            topology: Topology::Standalone,
            hosts: Vec::new(),
            tls,
            username: None,
            password: None,
            database: None,
            layout: None,
        };
        parsed.read_credentials(&url).map_err(refuse)?;
        if url.fragment().is_some() {
            return Err(refuse("what follows `#` has no meaning here".to_owned()));
        }
        let port = if matches!(kind, Kind::Sentinel) {
            SENTINEL_PORT
        } else {
            REDIS_PORT
        };
        if !matches!(kind, Kind::Unix) {
            let host = url.host_str().unwrap_or_default();
            if host.is_empty() {
                return Err(refuse("it names no host".to_owned()));
            }
            parsed
                .hosts
                .push((unbracketed(host), url.port().unwrap_or(port)));
        }
        for host in more_hosts {
            parsed
                .hosts
                .push(host_and_port(&host, port).map_err(refuse)?);
        }
        let query = parsed.read_query(&url, port).map_err(refuse)?;
        parsed.read_path(&url, kind, query).map_err(refuse)?;
        Ok(parsed)
    }

    /// The hosts, without credentials.
    pub(crate) fn address(&self) -> String {
        if let Topology::Unix(path) = &self.topology {
            return path.display().to_string();
        }
        let hosts: Vec<_> = self
            .hosts
            .iter()
            .map(|(host, port)| format!("{host}:{port}"))
            .collect();
        hosts.join(",")
    }

    fn read_credentials(&mut self, url: &Url) -> Result<(), String> {
        if !url.username().is_empty() {
            if url.password().is_none() {
                return Err(
                    "it has a user name but no password; a password alone is written `:password@`"
                        .to_owned(),
                );
            }
            self.username = Some(decoded(url.username())?);
        }
        self.password = url
            .password()
            .map(decoded)
            .transpose()?
            .map(SecretString::from);
        Ok(())
    }

    fn read_query(&mut self, url: &Url, port: u16) -> Result<Query, String> {
        let mut query = Query::default();
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "db" => self.database = Some(database(&value)?),
                "layout" => self.layout = Some(value.into_owned()),
                "node" => self.hosts.push(host_and_port(&value, port)?),
                "sentinelServiceName" => query.service = Some(value.into_owned()),
                "sentinelUsername" => query.username = Some(value.into_owned()),
                "sentinelPassword" => query.password = Some(SecretString::from(value.into_owned())),
                other => return Err(format!("its parameter `{other}` is not known")),
            }
        }
        Ok(query)
    }

    fn read_path(&mut self, url: &Url, kind: Kind, query: Query) -> Result<(), String> {
        let segments: Vec<_> = url
            .path()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decoded)
            .collect::<Result<_, _>>()?;
        if !matches!(kind, Kind::Sentinel) && query.is_set() {
            return Err("only a redis-sentinel URL has a service and its credentials".to_owned());
        }
        if self.hosts.len() > 1 && matches!(kind, Kind::Standalone) {
            return Err("it names several hosts; use redis-cluster or redis-sentinel".to_owned());
        }
        match (kind, segments.as_slice()) {
            (Kind::Unix, []) => return Err("it names no socket".to_owned()),
            (Kind::Unix, _) => {
                self.topology = Topology::Unix(PathBuf::from(decoded(url.path())?));
            }
            (Kind::Standalone, []) => {}
            (Kind::Standalone, [number]) => self.database = Some(database(number)?),
            (Kind::Cluster, []) => self.topology = Topology::Cluster,
            (Kind::Cluster, _) => {
                return Err("a cluster has no databases to choose from".to_owned());
            }
            (Kind::Sentinel, segments) => {
                let (service, number) = match (query.service.clone(), segments) {
                    (Some(service), []) => (service, None),
                    (Some(service), [number]) => (service, Some(number)),
                    (None, [service]) => (service.clone(), None),
                    (None, [service, number]) => (service.clone(), Some(number)),
                    (None, []) => {
                        return Err("it names no service; write redis-sentinel://host:port?sentinelServiceName=NAME".to_owned());
                    }
                    _ => return Err("its path is more than a service and a database".to_owned()),
                };
                if let Some(number) = number {
                    self.database = Some(database(number)?);
                }
                self.topology = Topology::Sentinel {
                    service,
                    username: query.username,
                    password: query.password,
                };
            }
            _ => return Err("its path is more than a database".to_owned()),
        }
        Ok(())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisUrl")
            .field("address", &self.address())
            .field("tls", &self.tls)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Standalone,
    Unix,
    Cluster,
    Sentinel,
}

#[derive(Default)]
struct Query {
    service: Option<String>,
    username: Option<String>,
    password: Option<SecretString>,
}

impl Query {
    fn is_set(&self) -> bool {
        self.service.is_some() || self.username.is_some() || self.password.is_some()
    }
}

fn kind_of(scheme: &str) -> Option<(Kind, bool)> {
    Some(match scheme {
        "redis" => (Kind::Standalone, false),
        "rediss" => (Kind::Standalone, true),
        "redis+unix" | "unix" => (Kind::Unix, false),
        "redis-cluster" | "redis+cluster" => (Kind::Cluster, false),
        "rediss-cluster" | "rediss+cluster" => (Kind::Cluster, true),
        "redis-sentinel" | "redis+sentinel" => (Kind::Sentinel, false),
        "rediss-sentinel" | "rediss+sentinel" => (Kind::Sentinel, true),
        _ => return None,
    })
}

/// Takes `,host2:port2,…` out of what follows the scheme.
fn split_host_list(rest: &str) -> (String, Vec<String>) {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (credentials, hosts) = authority
        .rsplit_once('@')
        .map_or(("", authority), |(credentials, hosts)| (credentials, hosts));
    let mut hosts = hosts.split(',').map(str::to_owned);
    let first = hosts.next().unwrap_or_default();
    let at = if authority.contains('@') { "@" } else { "" };
    (format!("{credentials}{at}{first}{tail}"), hosts.collect())
}

fn host_and_port(text: &str, default: u16) -> Result<(String, u16), String> {
    let url = Url::parse(&format!("redis://{text}"))
        .map_err(|error| format!("its host `{text}` cannot be read: {error}"))?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| "one of its hosts is empty".to_owned())?;
    Ok((unbracketed(host), url.port().unwrap_or(default)))
}

fn unbracketed(host: &str) -> String {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}

fn decoded(text: &str) -> Result<String, String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| "a percent-encoded part of it is not UTF-8".to_owned())
}

fn database(text: &str) -> Result<u8, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not the number of a database"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_every_topology_are_read() {
        let url = RedisUrl::parse("rediss://me:p%40ss@example.org:7000/3").unwrap();
        assert_eq!(url.hosts, [("example.org".to_owned(), 7000)]);
        assert_eq!((url.tls, url.database), (true, Some(3)));
        assert_eq!(url.username.as_deref(), Some("me"));

        let url = RedisUrl::parse("redis://:secret@[::1]").unwrap();
        assert_eq!(url.hosts, [("::1".to_owned(), 6379)]);
        assert!(url.username.is_none() && url.password.is_some());

        let url = RedisUrl::parse("redis+unix:///run/redis.sock?db=2").unwrap();
        assert!(matches!(&url.topology, Topology::Unix(path) if path.ends_with("redis.sock")));
        assert_eq!(url.database, Some(2));

        for text in ["redis-cluster://a:1?node=b:2", "redis+cluster://a:1,b:2"] {
            let url = RedisUrl::parse(text).unwrap();
            assert!(matches!(url.topology, Topology::Cluster), "{text}");
            assert_eq!(url.address(), "a:1,b:2");
        }
        for text in [
            "redis-sentinel://a/1?sentinelServiceName=main&node=b:2",
            "redis+sentinel://a,b:2/main/1",
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert!(
                matches!(&url.topology, Topology::Sentinel { service, .. } if service == "main")
            );
            assert_eq!(
                (url.address().as_str(), url.database),
                ("a:26379,b:2", Some(1))
            );
        }
    }

    #[test]
    fn what_would_be_ignored_is_refused_and_the_password_never_shown() {
        for text in [
            "localhost:6379",
            "http://localhost",
            "redis://",
            "redis://secret@localhost",
            "redis://:secret@localhost/x",
            "redis://:secret@localhost/1/2",
            "redis://:secret@localhost?timeout=1",
            "redis://:secret@localhost#insecure",
            "redis://:secret@a,b",
            "redis-cluster://:secret@localhost/1",
            "redis-sentinel://:secret@localhost",
            "redis+unix://",
            "redis://me:12/secret@localhost",
            "redis://me:12?secret@localhost",
            "redis://me:12?secret=1@localhost",
            "redis://me:12?db=secret@localhost",
            "redis://me:12?node=a:secret@localhost",
            "redis://me:12#secret@localhost",
            "redis://me:se/cret/secret@localhost",
        ] {
            let error = RedisUrl::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let url = RedisUrl::parse("redis://me:secret@localhost").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
}
