//! One throwaway server.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::directives::{Directives, Secret};
use crate::error::{Context, Error};
use crate::installation::{Installation, SEARCH_MODULE};
use crate::ports;
use crate::resp::{Connection, Reply};
use crate::supervisor::Supervisor;
use crate::tls::{self, Certificates, Issued, Tls};
use crate::users::{Staff, User};

/// How long a server may take until it is ready.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a restart waits for its port, which the killed server's connections may still hold.
const PORT_LIMIT: Duration = Duration::from_secs(5);

/// How often another port is tried when somebody else took the one that was free.
const PORT_ATTEMPTS: u32 = 20;

const POLL: Duration = Duration::from_millis(5);

const CONFIG_FILE: &str = "redis.conf";
const LOG_FILE: &str = "redis.log";
const SOCKET_FILE: &str = "redis.sock";
const ACL_FILE: &str = "users.acl";

/// How much of a log an error shows.
const LOG_TAIL: usize = 15;

/// A throwaway server on a free port of the loopback address, with a temporary folder of its own
/// and nothing kept on disk unless asked for. It is stopped and its folder removed when this value
/// is dropped, and when this process ends, even of SIGKILL.
#[derive(Debug)]
pub struct Standalone {
    /// `None` between `kill` having failed half-way and the next start.
    supervisor: Option<Supervisor>,
    plan: StandaloneBuilder,
    installation: Installation,
    port: u16,
    pid: u32,
    /// Declared last: the folder goes after the server.
    folder: TempDir,
}

/// What kind of server is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// A server that holds data.
    #[default]
    Data,
    /// A server that holds data, as a node of a cluster.
    ClusterNode,
    /// A sentinel.
    Sentinel,
}

/// The modules that a server loads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Modules {
    #[default]
    All,
    /// JSON, without search.
    Json,
    None,
}

/// Settings of a [`Standalone`] server. The defaults are a server with both modules, without a
/// password, that keeps nothing on disk.
#[derive(Debug, Clone, Default)]
pub struct StandaloneBuilder {
    installation: Option<Installation>,
    port: Option<u16>,
    password: Option<Secret>,
    directives: Directives,
    persistence: bool,
    unix_socket: bool,
    modules: Modules,
    acl_file: Option<PathBuf>,
    tls: Option<Tls>,
    /// The certificates that all servers of a deployment have; made when they start.
    issued: Option<Issued>,
    users: Vec<User>,
    /// What goes with the users; made when the servers of a deployment start.
    staff: Option<Staff>,
    role: Role,
}

impl Standalone {
    /// Starts from the default settings.
    #[must_use]
    pub fn builder() -> StandaloneBuilder {
        StandaloneBuilder::default()
    }

    /// `redis://127.0.0.1:PORT`, or `redis://default:PASSWORD@127.0.0.1:PORT` with a password. The
    /// first of the [users](StandaloneBuilder::user) stands in the place of the default one, and
    /// with [TLS](StandaloneBuilder::tls) the scheme is `rediss`.
    #[must_use]
    pub fn url(&self) -> String {
        let (scheme, credentials) = (self.plan.scheme(), self.plan.credentials());
        format!("{scheme}://{credentials}127.0.0.1:{}", self.port)
    }

    /// The files that a client needs, if the server has TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<Certificates> {
        self.plan
            .tls
            .is_some()
            .then(|| Certificates::in_folder(self.folder.path()))
    }

    /// The port, the same for the whole life of this value.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server, another one after each [restart](Self::restart).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The server's temporary folder: configuration, log, and data if persistence is on.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.folder.path()
    }

    /// The path of the unix socket, if one was asked for; with [TLS](StandaloneBuilder::tls) there
    /// always is one, for those who start the server to look into it.
    #[must_use]
    pub fn unix_socket(&self) -> Option<PathBuf> {
        self.plan
            .has_socket()
            .then(|| self.folder.path().join(SOCKET_FILE))
    }

    /// Kills the server with SIGKILL and waits for its end. The port and the folder stay.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when the server's supervisor is gone.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.supervisor()?.kill()
    }

    /// Stops the server's clock with SIGSTOP: it holds its connections and answers nothing.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when there is no server to pause.
    pub fn pause(&self) -> Result<(), Error> {
        self.supervisor()?.signal("STOP")
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when there is no server to resume.
    pub fn resume(&self) -> Result<(), Error> {
        self.supervisor()?.signal("CONT")
    }

    /// Kills the server if it still runs, starts it again on the same port and in the same folder,
    /// and waits until it is ready. Its data are still there only with
    /// [persistence](StandaloneBuilder::persistence).
    ///
    /// # Errors
    /// Those of [`StandaloneBuilder::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        let deadline = Instant::now() + PORT_LIMIT;
        loop {
            // The old supervisor guards the folder until the new one does.
            let started = self.launch()?;
            if let Some(old) = self.supervisor.replace(started) {
                old.leave();
            }
            match self.wait_until_ready() {
                Err(Error::Exited { log }) if is_port_taken(&log) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50));
                    self.supervisor()?.kill()?;
                }
                result => return result,
            }
        }
    }

    /// Stops the server and removes its folder, as dropping does, and says if that failed.
    ///
    /// # Errors
    /// [`Error::Io`] when the end of the server could not be awaited or the folder not removed.
    pub fn stop(mut self) -> Result<(), Error> {
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.stop()?;
        }
        let path = self.folder.path().to_owned();
        match self.folder.close() {
            // The supervisor has removed it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", &path),
            _ => Ok(()),
        }
    }

    /// The port on which the nodes of a cluster speak to each other.
    pub(crate) fn bus_port(&self) -> u16 {
        self.port.saturating_add(ports::BUS_OFFSET)
    }

    /// Opens a connection, signed in if there is a password.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let mut connection = if self.plan.tls.is_some() {
            // What clients must check is not for this crate to get around.
            Connection::open_socket(&self.folder.path().join(SOCKET_FILE))?
        } else {
            Connection::open(self.port)?
        };
        if let Some(password) = self.plan.administrator() {
            // A refusal shows in the reply to the next command.
            connection.call(&["AUTH", &password.0])?;
        }
        Ok(connection)
    }

    /// Sends one command over a connection of its own.
    pub(crate) fn call(&self, arguments: &[&str]) -> Result<Reply, Error> {
        let command = arguments.first().copied().unwrap_or_default();
        self.connect()
            .and_then(|mut connection| connection.call(arguments))
            .context(|| format!("send {command} to Redis on port {}", self.port))
    }

    /// Sends one command that must succeed.
    pub(crate) fn expect_ok(&self, arguments: &[&str]) -> Result<Reply, Error> {
        match self.call(arguments)? {
            Reply::Error(reply) => Err(Error::UnexpectedReply {
                port: self.port,
                command: arguments
                    .iter()
                    .take(2)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(" "),
                reply,
            }),
            reply => Ok(reply),
        }
    }

    /// The end of the log, without the password.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(self.folder.path().join(LOG_FILE)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
        self.redact(&tail)
    }

    fn redact(&self, text: &str) -> String {
        let users = self.plan.users.iter().map(|user| &user.password);
        self.plan
            .password
            .iter()
            .chain(users)
            .fold(text.to_owned(), |text, password| password.redact(&text))
    }

    fn supervisor(&self) -> Result<&Supervisor, Error> {
        self.supervisor.as_ref().ok_or_else(|| Error::NotRunning {
            detail: "it was stopped".to_owned(),
        })
    }

    /// Starts the process.
    fn launch(&mut self) -> Result<Supervisor, Error> {
        // A log of its own for each start, so that an error shows what belongs to it.
        let log = self.folder.path().join(LOG_FILE);
        match fs::remove_file(&log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).on("remove", &log);
            }
            _ => {}
        }
        let mut command: Vec<OsString> = Vec::new();
        if let Some((name, value)) = self.installation.environment() {
            let mut variable = OsString::from(name);
            variable.push("=");
            variable.push(value);
            command.extend([OsString::from("env"), variable]);
        }
        command.push(self.installation.server().into());
        command.push(self.folder.path().join(CONFIG_FILE).into());
        if self.plan.role == Role::Sentinel {
            command.push("--sentinel".into());
        }
        let command: Vec<&OsStr> = command.iter().map(OsString::as_os_str).collect();
        let supervisor = Supervisor::start(self.folder.path(), &command)?;
        self.pid = supervisor.pid();
        Ok(supervisor)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let missing = match self.what_is_missing() {
                Ok(None) => return Ok(()),
                Ok(Some(missing)) => missing,
                Err(error) => format!("it does not answer ({error})"),
            };
            if self.supervisor()?.has_ended() {
                return Err(Error::Exited {
                    log: self.last_words(),
                });
            }
            if Instant::now() > deadline {
                let log = self.log_tail();
                return Err(Error::NotReady {
                    after: START_LIMIT,
                    waiting_for: missing,
                    log,
                });
            }
            thread::sleep(POLL);
        }
    }

    /// The log, and what the server printed before it had one.
    fn last_words(&mut self) -> String {
        let printed = self
            .supervisor
            .as_mut()
            .map(Supervisor::printed)
            .unwrap_or_default();
        format!("{}{}", self.redact(&printed), self.log_tail())
            .trim()
            .to_owned()
    }

    /// What the server still lacks, or `None` when it is ready.
    fn what_is_missing(&self) -> io::Result<Option<String>> {
        let mut connection = self.connect()?;
        // Another process may have taken the port a moment earlier: its server must not be
        // mistaken for this one.
        let info = connection.call(&["INFO", "server"])?;
        if self.plan.acl_file.is_some() && matches!(info.error_code(), Some("NOAUTH" | "NOPERM")) {
            // The users are the caller's, so all that can be had is what the server logs.
            return Ok(if self.log_tail().contains("Ready to accept connections") {
                None
            } else {
                Some("it is loading".to_owned())
            });
        }
        if info.field("process_id") != Some(&self.pid.to_string()) {
            return Ok(Some("another server answers on its port".to_owned()));
        }
        let pong = connection.call(&["PING"])?;
        // A replica that has lost its primary refuses PING and is ready all the same.
        if !matches!(pong.error_code(), None | Some("MASTERDOWN")) {
            return Ok(Some(format!("it answers PING with {pong}")));
        }
        if self.plan.modules == Modules::None || self.plan.role == Role::Sentinel {
            return Ok(None);
        }
        let commands = ["JSON.SET", "FT._LIST"];
        let expected = if self.plan.modules == Modules::Json {
            1
        } else {
            2
        };
        for command in &commands[..expected] {
            // JSON.SET lacks its arguments; only a server without the module does not know it.
            let reply = connection.call(&[*command])?;
            if matches!(&reply, Reply::Error(text) if text.starts_with("ERR unknown command")) {
                return Ok(Some(format!("it does not know {command}")));
            }
        }
        Ok(None)
    }
}

impl StandaloneBuilder {
    /// Uses this port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The password of the default user. Together with [an ACL file](Self::acl_file) it must be
    /// the one that the file gives to the default user. Default: none.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(Secret(password.to_owned()));
        self
    }

    /// Adds a Redis directive, with its arguments as they stand in `redis.conf`; may be called
    /// again for the same one. An empty value stands for `""`.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.directives.raw(key, value);
        self
    }

    /// Whether each write is on disk before it is acknowledged (an append-only file that is
    /// synced always), so that a killed and restarted server has all of its data. Default: false.
    #[must_use]
    pub fn persistence(mut self, persistence: bool) -> Self {
        self.persistence = persistence;
        self
    }

    /// Whether the server listens on a unix socket too, in its folder. Default: false.
    #[must_use]
    pub fn unix_socket(mut self, unix_socket: bool) -> Self {
        self.unix_socket = unix_socket;
        self
    }

    /// Starts a server that has neither JSON nor search, unless they are built in.
    #[must_use]
    pub fn without_modules(mut self) -> Self {
        self.modules = Modules::None;
        self
    }

    /// Starts a server that has JSON and no search, unless search is built in. Default: it has
    /// both.
    #[must_use]
    pub fn without_search(mut self, without_search: bool) -> Self {
        self.modules = if without_search {
            Modules::Json
        } else {
            Modules::All
        };
        self
    }

    /// The server to run. Default: [`Installation::find_or_install`].
    #[must_use]
    pub fn installation(mut self, installation: Installation) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Starts with the users of this ACL file. The server gets a copy, so that `ACL SAVE` leaves
    /// the original alone. Default: none.
    #[must_use]
    pub fn acl_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.acl_file = Some(path.into());
        self
    }

    /// Lets the server speak TLS, and nothing else but on its socket. Default: no TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Adds a user, with the rules of Redis' ACL (`~* +@all` allows everything; see also
    /// [`saver_rules`](crate::saver_rules)). The [URL](Standalone::url) names the first one. The
    /// default user stays, with the [password](Self::password) or with one that nobody knows.
    /// Default: the default user alone.
    #[must_use]
    pub fn user(self, name: &str, password: &str, rules: &str) -> Self {
        self.with_user(User::new(name, password, rules))
    }

    pub(crate) fn with_user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// What every server of a deployment shares and that is made only once.
    pub(crate) fn prepared(mut self) -> Result<Self, Error> {
        if let (Some(tls), None) = (&self.tls, &self.issued) {
            self.issued = Some(Issued::new(tls)?);
        }
        if !self.users.is_empty() && self.staff.is_none() {
            self.staff = Some(Staff::new());
        }
        Ok(self)
    }

    /// The same servers' certificates for another kind of server.
    pub(crate) fn with_certificates_of(mut self, other: &Self) -> Self {
        self.tls.clone_from(&other.tls);
        self.issued.clone_from(&other.issued);
        self
    }

    /// The users that the servers have for each other, once they are made.
    pub(crate) fn staff(&self) -> Option<&Staff> {
        self.staff.as_ref()
    }

    /// `redis` or `rediss`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() {
            "rediss"
        } else {
            "redis"
        }
    }

    /// What stands in front of the host in a URL.
    pub(crate) fn credentials(&self) -> String {
        let user = self
            .users
            .first()
            .map(|user| (user.name.as_str(), &user.password));
        let default = || self.password.as_ref().map(|password| ("default", password));
        user.or_else(default)
            .map(|(name, password)| format!("{name}:{}@", password.percent_encoded()))
            .unwrap_or_default()
    }

    /// The password of the default user.
    pub(crate) fn administrator(&self) -> Option<&Secret> {
        let unknown = self.staff.as_ref().map(|staff| &staff.administrator);
        self.password.as_ref().or(unknown)
    }

    /// Starts a node of a cluster or a sentinel instead.
    pub(crate) fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// The server to run, if one was given.
    pub(crate) fn chosen_installation(&self) -> Option<&Installation> {
        self.installation.as_ref()
    }

    /// Starts a server of this installation.
    pub(crate) fn start_with(self, installation: &Installation) -> Result<Standalone, Error> {
        let this = self.prepared()?;
        for _ in 0..PORT_ATTEMPTS {
            let port = match (this.port, this.role) {
                (Some(port), _) => port,
                (None, Role::ClusterNode) => ports::free_for_cluster()?,
                (None, Role::Data | Role::Sentinel) => ports::free()?,
            };
            match this.clone().start_on(port, installation.clone()) {
                Err(Error::Exited { log }) if this.port.is_none() && is_port_taken(&log) => {}
                result => return result,
            }
        }
        Err(Error::NoFreePort {
            attempts: PORT_ATTEMPTS,
        })
    }

    fn has_socket(&self) -> bool {
        self.unix_socket || self.tls.is_some()
    }

    /// Refuses what no server could be started with.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.directives.check()?;
        self.users.iter().try_for_each(User::check)?;
        if self.acl_file.is_some() && !self.users.is_empty() {
            return Err(Error::InvalidConfig(
                "users are either those of an ACL file or given one by one".to_owned(),
            ));
        }
        Ok(())
    }

    fn start_on(self, port: u16, installation: Installation) -> Result<Standalone, Error> {
        let folder = tempfile::Builder::new()
            .prefix("redis-modules-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .context(|| "create a temporary folder".to_owned())?;
        self.write_files(port, &installation, folder.path())?;
        let mut server = Standalone {
            supervisor: None,
            plan: self,
            installation,
            port,
            pid: 0,
            folder,
        };
        server.supervisor = Some(server.launch()?);
        server.wait_until_ready()?;
        Ok(server)
    }

    fn write_files(
        &self,
        port: u16,
        installation: &Installation,
        folder: &Path,
    ) -> Result<(), Error> {
        let text_of = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                Error::InvalidConfig(format!(
                    "the path {} is not UTF-8, which Redis needs",
                    path.display()
                ))
            })
        };
        let mut lines = Directives::default();
        if let Some(issued) = &self.issued {
            lines.raw("port", "0");
            lines.raw("tls-port", &port.to_string());
            issued.write(folder)?;
            for (directive, file) in tls::DIRECTIVES {
                lines.quoted(directive, &text_of(&folder.join(file))?);
            }
            lines.raw("tls-auth-clients", issued.asks_clients());
            lines.raw("tls-replication", "yes");
            if self.role == Role::ClusterNode {
                lines.raw("tls-cluster", "yes");
            }
        } else {
            lines.raw("port", &port.to_string());
        }
        lines.raw("bind", "127.0.0.1");
        lines.quoted("dir", &text_of(folder)?);
        lines.quoted("logfile", &text_of(&folder.join(LOG_FILE))?);
        lines.raw("loglevel", "notice");
        lines.raw("daemonize", "no");
        if self.has_socket() {
            lines.quoted("unixsocket", &text_of(&folder.join(SOCKET_FILE))?);
            lines.raw("unixsocketperm", "700");
        }
        if let Some(original) = &self.acl_file {
            let copy = folder.join(ACL_FILE);
            fs::copy(original, &copy).on("copy", original)?;
            lines.quoted("aclfile", &text_of(&copy)?);
        } else if let Some(password) = self.administrator() {
            lines.quoted("requirepass", &password.0);
        }
        for user in &self.users {
            user.write(&mut lines);
        }
        if self.role != Role::Sentinel {
            lines.raw("save", "");
            lines.raw("appendonly", if self.persistence { "yes" } else { "no" });
            lines.raw("appendfsync", "always");
            // A primary that is stopped does not wait for replicas that are stopped too.
            lines.raw("shutdown-timeout", "0");
            if let Some(staff) = &self.staff {
                staff.replica.write(&mut lines);
                staff.watcher.write(&mut lines);
                lines.raw("masteruser", &staff.replica.name);
                lines.quoted("masterauth", &staff.replica.password.0);
            } else if let Some(password) = &self.password {
                lines.quoted("masterauth", &password.0);
            }
            if self.modules != Modules::None {
                let modules = installation.modules().iter();
                let json_alone = self.modules == Modules::Json;
                for module in modules.filter(|module| !(json_alone && is_search(module))) {
                    lines.quoted("loadmodule", &text_of(module)?);
                }
            }
        }
        lines.extend(&self.directives);
        let path = folder.join(CONFIG_FILE);
        // It may hold a password.
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, lines.render().as_bytes()))
            .on("write", &path)
    }
}

fn is_search(module: &Path) -> bool {
    module.ends_with(SEARCH_MODULE)
}

fn is_port_taken(log: &str) -> bool {
    log.contains("Address already in use")
}
