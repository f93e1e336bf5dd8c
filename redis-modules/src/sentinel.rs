//! A primary with replicas, watched by sentinels.

use std::time::Duration;

use crate::directives::Secret;
use crate::error::Error;
use crate::group::{start_all, wait_until_nothing};
use crate::installation::Installation;
use crate::resp::Reply;
use crate::standalone::{Role, Standalone, StandaloneBuilder};
use crate::tls::{Certificates, Tls};
use crate::users::{User, client_of_sentinel};

/// The name under which the sentinels know the primary.
const SERVICE: &str = "mymaster";

/// How long a primary is silent before it is taken for down.
const DOWN_AFTER: Duration = Duration::from_secs(1);

const REPLICAS: usize = 2;
const SENTINELS: usize = 3;

/// How many sentinels must agree that the primary is down.
const QUORUM: usize = 2;

/// One throwaway primary, two replicas and three sentinels, each a server like a [`Standalone`]
/// one, with the same promise: gone when this value is dropped or this process ends.
///
/// The sentinels take a silent primary for down after a second, unless told otherwise.
#[derive(Debug)]
pub struct Sentinel {
    /// The first was the primary at the start. All replicas hold what the primary holds.
    servers: Vec<Standalone>,
    sentinels: Vec<Standalone>,
    /// What each server was made of.
    plan: StandaloneBuilder,
    client: Option<User>,
}

/// Settings of a [`Sentinel`] deployment.
#[derive(Debug, Clone, Default)]
pub struct SentinelBuilder {
    server: StandaloneBuilder,
    installation: Option<Installation>,
    password: Option<Secret>,
    client: Option<User>,
    down_after: Option<Duration>,
}

impl Sentinel {
    /// Starts a deployment with the default settings and waits until the replicas are in step and
    /// each sentinel knows all of them and the other sentinels.
    ///
    /// # Errors
    /// Those of [`SentinelBuilder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Starts from the default settings.
    #[must_use]
    pub fn builder() -> SentinelBuilder {
        SentinelBuilder::default()
    }

    /// `redis+sentinel://127.0.0.1:P1,127.0.0.1:P2,127.0.0.1:P3/mymaster/0`, with
    /// `default:PASSWORD@` before the hosts if the servers have a password, with the first of the
    /// [users](SentinelBuilder::user) instead, with `?sentinelUsername=NAME&sentinelPassword=…`
    /// if the sentinels have a [user](SentinelBuilder::sentinel_user), and `rediss+sentinel` with
    /// [TLS](SentinelBuilder::tls).
    #[must_use]
    pub fn url(&self) -> String {
        let (scheme, credentials) = (self.plan.scheme(), self.plan.credentials());
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port()))
            .collect();
        let hosts = hosts.join(",");
        let client = self.client.as_ref().map(|client| {
            let password = client.password.percent_encoded();
            format!(
                "?sentinelUsername={}&sentinelPassword={password}",
                client.name
            )
        });
        let client = client.unwrap_or_default();
        format!("{scheme}+sentinel://{credentials}{hosts}/{SERVICE}/0{client}")
    }

    /// The files that a client needs, if the servers and the sentinels have TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<Certificates> {
        self.servers[0].certificates()
    }

    /// The name of the service that the sentinels watch.
    #[must_use]
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// The sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[Standalone] {
        &self.sentinels
    }

    /// The sentinels, to kill, pause or restart one.
    pub fn sentinels_mut(&mut self) -> &mut [Standalone] {
        &mut self.sentinels
    }

    /// The servers that hold the data, in the order in which they were started. Which of them is
    /// the primary changes with a failover.
    #[must_use]
    pub fn servers(&self) -> &[Standalone] {
        &self.servers
    }

    /// The servers that hold the data, to kill, pause or restart one.
    pub fn servers_mut(&mut self) -> &mut [Standalone] {
        &mut self.servers
    }

    /// The server that the sentinels take for the primary now.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when no sentinel answers.
    pub fn primary(&self) -> Result<&Standalone, Error> {
        self.primary_index().map(|index| &self.servers[index])
    }

    /// The server that the sentinels take for the primary now, to kill, pause or restart it.
    ///
    /// # Errors
    /// Those of [`Sentinel::primary`].
    pub fn primary_mut(&mut self) -> Result<&mut Standalone, Error> {
        self.primary_index().map(|index| &mut self.servers[index])
    }

    /// The other servers, whether they run or not.
    ///
    /// # Errors
    /// Those of [`Sentinel::primary`].
    pub fn replicas(&self) -> Result<Vec<&Standalone>, Error> {
        let primary = self.primary_index()?;
        Ok(self
            .servers
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != primary)
            .map(|(_, one)| one)
            .collect())
    }

    /// Makes the sentinels choose another primary now, as for a planned change, and waits until
    /// the first sentinel names another one.
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] when the sentinels refuse, [`Error::NotReady`] when it takes too
    /// long.
    pub fn fail_over(&self) -> Result<(), Error> {
        let before = self.primary_index()?;
        // Every deployment has sentinels, see `start`.
        self.sentinels[0].expect_ok(&["SENTINEL", "FAILOVER", SERVICE])?;
        self.wait_for(
            || Ok((self.primary_index()? == before).then(|| "another primary".to_owned())),
        )
    }

    /// Waits until each server that runs is in step again, and each sentinel sees it so, for
    /// instance after a killed server was restarted.
    ///
    /// # Errors
    /// [`Error::NotReady`] when it takes too long.
    pub fn wait_until_whole(&self) -> Result<(), Error> {
        self.set_periods("100", "100");
        let result = self.wait_for(|| self.what_is_missing());
        // The defaults, so that clients meet sentinels as they are elsewhere.
        self.set_periods("10000", "2000");
        result
    }

    fn primary_index(&self) -> Result<usize, Error> {
        for sentinel in &self.sentinels {
            let Ok(Reply::Array(address)) =
                sentinel.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE])
            else {
                continue;
            };
            let port = address.get(1).and_then(Reply::text);
            let index = self
                .servers
                .iter()
                .position(|server| port == Some(&server.port().to_string()));
            if let Some(index) = index {
                return Ok(index);
            }
        }
        Err(Error::NotRunning {
            detail: "no sentinel names a primary".to_owned(),
        })
    }

    fn wait_for(
        &self,
        missing: impl FnMut() -> Result<Option<String>, Error>,
    ) -> Result<(), Error> {
        wait_until_nothing(missing, self.servers.iter().chain(&self.sentinels))
    }

    fn what_is_missing(&self) -> Result<Option<String>, Error> {
        let primary = self.primary_index()?;
        for (index, server) in self.servers.iter().enumerate() {
            let info = server.expect_ok(&["INFO", "replication"])?;
            let (role, link) = (info.field("role"), info.field("master_link_status"));
            let port = server.port();
            if index == primary {
                if role != Some("master") {
                    return Ok(Some(format!(
                        "the server on port {port} is not the primary yet"
                    )));
                }
            } else if link != Some("up")
                || info.field("master_port") != Some(&self.servers[primary].port().to_string())
            {
                return Ok(Some(format!("the replica on port {port} is not in step")));
            }
        }
        for sentinel in &self.sentinels {
            let known = sentinel.expect_ok(&["SENTINEL", "MASTER", SERVICE])?;
            let expected = [
                ("port", self.servers[primary].port().to_string()),
                ("flags", "master".to_owned()),
                ("num-slaves", REPLICAS.to_string()),
                ("num-other-sentinels", (SENTINELS - 1).to_string()),
            ];
            for (field, value) in expected {
                let found = value_of(&known, field);
                if found != Some(&value) {
                    let port = sentinel.port();
                    let found = found.unwrap_or("nothing");
                    return Ok(Some(format!(
                        "the sentinel on port {port} has {found} for {field}"
                    )));
                }
            }
            sentinel.expect_ok(&["SENTINEL", "CKQUORUM", SERVICE])?;
        }
        Ok(None)
    }

    /// How often the sentinels ask and tell what is new, in milliseconds. This only decides how
    /// long a wait takes, so a sentinel that does not answer is left as it is.
    fn set_periods(&self, info: &str, publish: &str) {
        for sentinel in &self.sentinels {
            let _ = sentinel.call(&[
                "SENTINEL",
                "DEBUG",
                "INFO-PERIOD",
                info,
                "PUBLISH-PERIOD",
                publish,
            ]);
        }
    }
}

impl SentinelBuilder {
    /// The password of the default user of the servers; the sentinels have none. Default: none.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.server = self.server.password(password);
        self.password = Some(Secret(password.to_owned()));
        self
    }

    /// As [`StandaloneBuilder::tls`], for the servers, the sentinels, and between all of them.
    /// Default: no TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.server = self.server.tls(tls);
        self
    }

    /// As [`StandaloneBuilder::user`], for each server. The replicas and the sentinels sign in
    /// to the primary with users of their own.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.server = self.server.user(name, password, rules);
        self
    }

    /// A user of the sentinels, who may ask them for the primary, with the rules of the file
    /// `acl/sentinel.acl`; without signing in they then answer nothing. Default: anybody may ask
    /// and tell them anything.
    #[must_use]
    pub fn sentinel_user(mut self, name: &str, password: &str) -> Self {
        self.client = Some(client_of_sentinel(name, password));
        self
    }

    /// How long a primary is silent before the sentinels take it for down. On a busy machine a
    /// short time makes failovers that nobody asked for. Default: a second.
    #[must_use]
    pub fn down_after(mut self, down_after: Duration) -> Self {
        self.down_after = Some(down_after);
        self
    }

    /// Adds a directive to each server, as [`StandaloneBuilder::config`] does.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.server = self.server.config(key, value);
        self
    }

    /// As [`StandaloneBuilder::persistence`], for each server. Default: false.
    #[must_use]
    pub fn persistence(mut self, persistence: bool) -> Self {
        self.server = self.server.persistence(persistence);
        self
    }

    /// As [`StandaloneBuilder::without_modules`], for each server.
    #[must_use]
    pub fn without_modules(mut self) -> Self {
        self.server = self.server.without_modules();
        self
    }

    /// As [`StandaloneBuilder::without_search`], for each server. Default: they have search.
    #[must_use]
    pub fn without_search(mut self, without_search: bool) -> Self {
        self.server = self.server.without_search(without_search);
        self
    }

    /// The server to run. Default: [`Installation::find_or_install`].
    #[must_use]
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Starts all servers and waits until they know each other.
    ///
    /// # Errors
    /// Those of [`StandaloneBuilder::start`], and [`Error::NotReady`] with the ends of all logs
    /// when they do not find each other.
    pub fn start(self) -> Result<Sentinel, Error> {
        let installation = match self.installation {
            Some(installation) => installation,
            None => Installation::find_or_install()?,
        };
        let server = self
            .server
            .installation(installation.clone())
            .config("repl-diskless-sync", "yes")
            .config("repl-diskless-sync-delay", "0")
            .prepared()?;
        let plan = server.clone();
        let primary = server.clone().start()?;

        let replica = server.config("replicaof", &format!("127.0.0.1 {}", primary.port()));
        let replicas = start_all(vec![replica; REPLICAS])?;
        let servers: Vec<_> = std::iter::once(primary).chain(replicas).collect();

        let down_after = self.down_after.unwrap_or(DOWN_AFTER).as_millis().max(1);
        let monitor = format!("monitor {SERVICE} 127.0.0.1 {} {QUORUM}", servers[0].port());
        let mut sentinel = Standalone::builder()
            .installation(installation)
            .role(Role::Sentinel)
            .config("sentinel", &monitor)
            .config(
                "sentinel",
                &format!("down-after-milliseconds {SERVICE} {down_after}"),
            )
            .config("sentinel", &format!("failover-timeout {SERVICE} 5000"));
        let credentials = match (plan.staff(), &self.password) {
            (Some(staff), _) => Some((Some(&staff.watcher.name), &staff.watcher.password)),
            (None, password) => password.as_ref().map(|password| (None, password)),
        };
        if let Some((name, password)) = credentials {
            if let Some(name) = name {
                sentinel = sentinel.config("sentinel", &format!("auth-user {SERVICE} {name}"));
            }
            let password = password.quoted();
            sentinel = sentinel.config("sentinel", &format!("auth-pass {SERVICE} {password}"));
        }
        sentinel = sentinel.with_certificates_of(&plan);
        if let Some(client) = &self.client {
            // Made once, as the sentinels sign in to each other with what the default user has.
            sentinel = sentinel.with_user(client.clone()).prepared()?;
        }
        let sentinels = start_all(vec![sentinel; SENTINELS])?;

        let deployment = Sentinel {
            servers,
            sentinels,
            plan,
            client: self.client,
        };
        deployment.wait_until_whole()?;
        Ok(deployment)
    }
}

/// The value after `field` in a reply that alternates fields and values.
fn value_of<'a>(reply: &'a Reply, field: &str) -> Option<&'a str> {
    let Reply::Array(items) = reply else {
        return None;
    };
    items
        .chunks_exact(2)
        .find(|pair| pair[0].text() == Some(field))
        .and_then(|pair| pair[1].text())
}
