//! The command: finds or installs a Redis with both modules, and starts one for a person.
#![forbid(unsafe_code)]

use std::error::Error as _;
use std::io::{self, Write};
use std::os::unix::process::parent_id;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use redis_modules::{
    Certificates, Cluster, Error, Installation, Sentinel, ServerWithoutModules, Standalone, Tls,
    Topology, saver_rules,
};

/// A throwaway Redis with JSON and search, without docker and without root.
#[derive(Debug, Parser)]
#[command(name = "redis-modules", version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start servers, print their URL (with TLS also the path of the certificate to trust), and
    /// stop them on Ctrl-C, SIGTERM, or when the process that started this command ends.
    Up {
        /// standalone, sentinel or cluster.
        #[arg(default_value_t)]
        topology: Topology,
        /// Port of the standalone server. Default: a free one.
        #[arg(long)]
        port: Option<u16>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Install Redis Stack into the cache, unless it is there, and print its redis-server.
    Install,
    /// Print the redis-server that would be used, without installing one.
    Find,
}

/// What servers of every topology have.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
struct Settings {
    /// Password of the user, or of the default user if none is named. Default: none.
    #[arg(long)]
    password: Option<String>,
    /// A user for the saver, beside the default user; sentinels get a user of this name too.
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// What the user may do, as rules of Redis' ACL. Default: the least that a saver needs.
    #[arg(long, requires = "user")]
    rules: Option<String>,
    /// Speak TLS, with certificates that are made now and thrown away.
    #[arg(long)]
    tls: bool,
    /// Ask clients for a certificate too.
    #[arg(long, requires = "tls")]
    client_certificates: bool,
    /// Keep data on disk while the servers run, so that they survive a restart.
    #[arg(long)]
    persistence: bool,
    /// Load JSON alone, as a server has it that brings no search.
    #[arg(long)]
    without_search: bool,
    /// Load neither JSON nor search, as a plain redis-server.
    #[arg(long, conflicts_with = "without_search")]
    without_modules: bool,
    /// Another server, which has no modules: redis-8 or valkey-9. Installs it unless it is there.
    #[arg(long, conflicts_with = "without_search")]
    server: Option<ServerWithoutModules>,
}

impl Settings {
    fn tls(&self) -> Option<Tls> {
        self.tls
            .then(|| Tls::new().client_certificates(self.client_certificates))
    }
}

/// Gives a builder of any topology its settings.
macro_rules! with_settings {
    ($builder:expr, $settings:expr) => {{
        let (mut builder, settings) = ($builder, $settings);
        builder = builder
            .persistence(settings.persistence)
            .without_search(settings.without_search);
        if settings.without_modules {
            builder = builder.without_modules();
        }
        if let Some(server) = settings.server {
            let installation = Installation::install_without_modules(server)?;
            builder = builder.installation(installation).without_modules();
        }
        if let Some(tls) = settings.tls() {
            builder = builder.tls(tls);
        }
        match (&settings.user, &settings.password) {
            (Some(user), Some(password)) => {
                let rules = settings.rules.as_deref().unwrap_or(saver_rules());
                builder = builder.user(user, password, rules);
            }
            (None, Some(password)) => builder = builder.password(password),
            (_, None) => {}
        }
        builder
    }};
}

fn main() -> ExitCode {
    // Taken first, to notice it if the parent ends while the servers start.
    let parent = parent_id();
    match run(Arguments::parse().command, parent) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("redis-modules: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action, parent: u32) -> Result<ExitCode, Error> {
    match action {
        Action::Up {
            topology,
            port,
            settings,
        } => up(topology, port, &settings, parent)?,
        Action::Install => print(&Installation::install()?),
        Action::Find => {
            let Some(found) = Installation::find()? else {
                eprintln!("redis-modules: none found; `redis-modules install` installs one");
                return Ok(ExitCode::FAILURE);
            };
            print(&found);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &Installation) {
    eprintln!("redis-modules: Redis {}", found.version());
    say(&found.server().display().to_string());
}

fn up(
    topology: Topology,
    port: Option<u16>,
    settings: &Settings,
    parent: u32,
) -> Result<(), Error> {
    if port.is_some() && topology != Topology::Standalone {
        return Err(Error::InvalidConfig(format!(
            "--port is for a standalone server, not for {topology}"
        )));
    }
    match topology {
        Topology::Standalone => {
            let mut builder = with_settings!(Standalone::builder(), settings);
            if let Some(port) = port {
                builder = builder.port(port);
            }
            let server = builder.start()?;
            let end = End::listen(parent)?;
            introduce(&server.url(), server.certificates());
            hint("server", &server);
            end.wait();
            server.stop()
        }
        Topology::Sentinel => {
            let mut builder = with_settings!(Sentinel::builder(), settings);
            if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
                builder = builder.sentinel_user(user, password);
            }
            let deployment = builder.start()?;
            let end = End::listen(parent)?;
            introduce(&deployment.url(), deployment.certificates());
            for server in deployment.servers() {
                hint("server", server);
            }
            for sentinel in deployment.sentinels() {
                hint("sentinel", sentinel);
            }
            end.wait();
            Ok(())
        }
        Topology::Cluster => {
            let cluster = with_settings!(Cluster::builder(), settings).start()?;
            let end = End::listen(parent)?;
            introduce(&cluster.url(), cluster.certificates());
            for node in cluster.nodes() {
                hint("node", node);
            }
            end.wait();
            Ok(())
        }
    }
}

/// Says how clients reach the servers.
fn introduce(url: &str, certificates: Option<Certificates>) {
    say(url);
    if let Some(certificates) = certificates {
        say(&certificates.ca_file().display().to_string());
        eprintln!(
            "redis-modules: a client's certificate is {}, its key {}",
            certificates.client_cert_file().display(),
            certificates.client_key_file().display()
        );
    }
}

/// Scripts read these lines; one that has closed the pipe does not want to know.
fn say(line: &str) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

fn hint(kind: &str, server: &Standalone) {
    eprintln!(
        "redis-modules: {kind} on port {}, process {}, files in {}",
        server.port(),
        server.pid(),
        server.directory().display()
    );
}

/// The end of the wish for servers: Ctrl-C, SIGTERM, a closed terminal, or the end of the parent
/// process.
struct End {
    signalled: Arc<AtomicBool>,
    parent: u32,
}

impl End {
    /// Listens for signals. Before this is called one ends the process at once, which stops the
    /// servers as well; so it is called before anybody is told that they are there.
    fn listen(parent: u32) -> Result<Self, Error> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ] {
            signal_hook::flag::register(signal, Arc::clone(&signalled)).map_err(|source| {
                Error::Io {
                    action: "listen for signals".to_owned(),
                    source,
                }
            })?;
        }
        Ok(Self { signalled, parent })
    }

    fn wait(&self) {
        eprintln!("redis-modules: Ctrl-C stops it and removes all files");
        while !self.signalled.load(Ordering::Relaxed) && parent_id() == self.parent {
            thread::sleep(Duration::from_millis(50));
        }
    }
}
