//! The command line, `langgraph-redis`, for operators, who need not know the names of keys.
//!
//! Each command is a module. Only `output` prints, which escapes the control characters in stored
//! text. `failure` defines the exit codes.

mod bench;
mod completions;
#[cfg_attr(not(feature = "server"), allow(dead_code))] // The options of `serve`.
mod config_file;
mod context;
mod conversation;
mod copy;
mod delete;
#[cfg(feature = "server")]
mod demo;
mod diff;
mod doctor;
mod export;
mod failure;
mod gc;
mod graph;
#[cfg(feature = "server")]
mod hash_key;
#[cfg(feature = "server")]
mod health;
mod history;
mod import;
#[cfg(feature = "server")]
mod inspect;
mod item_store;
mod items;
mod json_eq;
#[cfg(feature = "server")]
mod key_strength;
mod man;
mod migrate;
#[cfg(feature = "server")]
mod openapi;
mod output;
mod pin;
mod progress;
mod prune;
mod record;
mod reseal;
mod selection;
#[cfg(feature = "server")]
mod serve;
mod server_health;
mod settings;
mod setup;
mod show;
#[cfg(feature = "server")]
mod signals;
#[cfg_attr(not(feature = "server"), allow(dead_code))] // The options of `serve`.
mod sources;
mod stats;
mod style;
mod text;
mod threads;
mod ttl;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use context::Context;
use failure::{Failure, Outcome};
use output::Output;
use settings::Settings;

/// The exit codes for `--help`.
const EXIT_CODES: &str = "\
Exit codes:
    0  success
    1  failure
    2  invalid arguments or settings
    3  the thread or checkpoint does not exist
    4  conflict: the target exists, or another writer was faster
    5  the server is unavailable: try again
    6  nothing was changed, because --yes is missing
    7  doctor: problems were found and not fixed; reseal: something cannot be read
    8  import: the file is damaged
  130  interrupted by Ctrl-C";

/// What `--version` says after the name.
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nrevision ",
    env!("BUILD_REVISION"),
    "\nrustc ",
    env!("BUILD_RUSTC"),
);

/// Inspect and maintain LangGraph checkpoints in Redis
#[derive(Parser)]
#[command(
    name = "langgraph-redis",
    version,
    long_version = VERSION,
    after_help = EXIT_CODES
)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
    #[command(flatten)]
    settings: Settings,
    /// The configuration file (TOML): settings of this group in [redis], options of `serve` in
    /// [serve] [env: LANGGRAPH_REDIS_CONFIG]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Connection and store"
    )]
    config: Option<PathBuf>,
    /// Print JSON: one document, or one per line for commands that print many
    #[arg(long, global = true)]
    json: bool,
    /// Colours: auto is on a terminal, unless NO_COLOR is set; JSON has none
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    color: style::Color,
    /// Read an id that starts with a quote as a JSON string, as unusual ids are printed
    #[arg(long, global = true)]
    quoted: bool,
}

/// Why there are no arguments.
enum Refused {
    /// Those of the command line cannot be read, or ask for help.
    Arguments(clap::Error),
    /// Those of the environment or the configuration file cannot be.
    Settings(Failure),
}

impl From<clap::Error> for Refused {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(error)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Settings(failure)
    }
}

impl Arguments {
    /// The command line, of which the help names the variables as well.
    fn command() -> clap::Command {
        sources::named(<Self as CommandFactory>::command())
    }

    /// Reads the command line, the environment and the configuration file.
    fn read() -> Result<Self, Refused> {
        let matches = Self::command().try_get_matches()?;
        let mut arguments = Self::from_arg_matches(&matches)?;
        // These need no settings, and must work where there are wrong ones.
        if arguments.command.is_without_settings() {
            return Ok(arguments);
        }
        let file = sources::config_file(arguments.config.as_deref())?;
        #[cfg(feature = "server")]
        {
            let mut found = Vec::new();
            let command = sources::with_values(Self::command(), &file, &mut found)?;
            if let Action::Serve(_) = arguments.command {
                let matches = command.clone().try_get_matches()?;
                arguments = Self::from_arg_matches(&matches)?;
                if let Action::Serve(serve) = &mut arguments.command {
                    serve.effective = sources::effective(&command, &matches, &found);
                }
            }
        }
        let redis = file.redis.into_iter();
        let redis = redis.map(|(key, entry)| (key, entry.value)).collect();
        arguments.settings.take_file(redis);
        Ok(arguments)
    }
}

/// The commands, each in a module of its own.
#[derive(Subcommand)]
enum Action {
    Setup(setup::Setup),
    Threads(threads::Threads),
    History(history::History),
    Show(show::Show),
    Diff(diff::Diff),
    Delete(delete::Delete),
    Prune(prune::Prune),
    Copy(copy::Copy),
    Pin(pin::Pin),
    Unpin(pin::Unpin),
    Touch(pin::Touch),
    Export(export::Export),
    Import(import::Import),
    Migrate(migrate::Migrate),
    Gc(gc::Gc),
    Stats(stats::Stats),
    Doctor(doctor::Doctor),
    Reseal(reseal::Reseal),
    Bench(bench::Bench),
    #[cfg(feature = "server")]
    Serve(Box<serve::Serve>),
    #[cfg(feature = "server")]
    Inspect(inspect::Inspect),
    #[cfg(feature = "server")]
    HashKey(hash_key::HashKey),
    #[cfg(feature = "server")]
    Health(health::Health),
    #[cfg(feature = "server")]
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApi),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Action {
    /// The message when Ctrl-C interrupts the command.
    fn on_interrupt(&self) -> &'static str {
        match self {
            Self::Delete(_)
            | Self::Prune(_)
            | Self::Copy(_)
            | Self::Doctor(_)
            | Self::Gc(_)
            | Self::Reseal(_) => "interrupted; run the same command again to continue",
            Self::Pin(_) | Self::Unpin(_) | Self::Touch(_) => {
                "interrupted; run the same command again for the remaining threads"
            }
            Self::Export(_) => {
                "interrupted; with --output, add --resume to continue after the last complete thread"
            }
            Self::Import(_) | Self::Migrate(_) => {
                "interrupted; run the same command again, which skips what is stored already"
            }
            _ => "interrupted; nothing was changed",
        }
    }

    /// Whether the command has no use for a server, nor for settings.
    fn is_without_settings(&self) -> bool {
        match self {
            Self::Completions(_) | Self::Man(_) => true,
            #[cfg(feature = "server")]
            Self::HashKey(_) | Self::Health(_) => true,
            _ => false,
        }
    }

    /// Whether the command handles Ctrl-C itself.
    fn handles_interrupts(&self) -> bool {
        match self {
            Self::Bench(_) => true,
            #[cfg(feature = "server")]
            Self::Serve(_) | Self::Inspect(_) => true,
            _ => false,
        }
    }

    /// The number of worker threads of the runtime; `None` for one per core.
    #[cfg_attr(not(feature = "server"), allow(clippy::unnecessary_wraps))] // As with it.
    fn workers(&self) -> Option<usize> {
        match self {
            #[cfg(feature = "server")]
            Self::Serve(_) => None,
            _ => Some(2),
        }
    }

    /// Starts to log.
    #[cfg_attr(not(feature = "server"), allow(clippy::unnecessary_wraps))] // As with it.
    fn start_log(&self) -> Outcome {
        match self {
            #[cfg(feature = "server")]
            Self::Serve(serve) => serve.prepare(),
            _ => {
                log_warnings();
                Ok(())
            }
        }
    }

    async fn run(self, context: &mut Context) -> Outcome {
        match self {
            Self::Setup(command) => command.run(context).await,
            Self::Threads(command) => command.run(context).await,
            Self::History(command) => command.run(context).await,
            Self::Show(command) => command.run(context).await,
            Self::Diff(command) => command.run(context).await,
            Self::Delete(command) => command.run(context).await,
            Self::Prune(command) => command.run(context).await,
            Self::Copy(command) => command.run(context).await,
            Self::Pin(command) => command.run(context).await,
            Self::Unpin(command) => command.run(context).await,
            Self::Touch(command) => command.run(context).await,
            Self::Export(command) => command.run(context).await,
            Self::Import(command) => command.run(context).await,
            Self::Migrate(command) => command.run(context).await,
            Self::Gc(command) => command.run(context).await,
            Self::Stats(command) => command.run(context).await,
            Self::Doctor(command) => command.run(context).await,
            Self::Reseal(command) => command.run(context).await,
            Self::Bench(command) => command.run(context).await,
            #[cfg(feature = "server")]
            Self::Serve(command) => command.run(context).await,
            #[cfg(feature = "server")]
            Self::Inspect(command) => command.run(context).await,
            // These run without Redis.
            #[cfg(feature = "server")]
            Self::HashKey(_) | Self::Health(_) | Self::OpenApi(_) => Ok(()),
            Self::Completions(_) | Self::Man(_) => Ok(()),
        }
    }
}

/// Runs the command that the arguments of the process name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(Refused::Arguments(error)) => return refused(&error),
        Err(Refused::Settings(failure)) => {
            output::print_failure(&failure, wants_json());
            return ExitCode::from(failure.code());
        }
    };
    let json = arguments.json;
    match run(arguments) {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print_failure(&failure, json);
            ExitCode::from(failure.code())
        }
    }
}

/// Prints help, or the problem with the arguments, which may contain a URL with a password.
fn refused(error: &clap::Error) -> ExitCode {
    let message = error.render().to_string();
    if error.use_stderr() {
        if wants_json() {
            let failure = Failure::Usage(one_line(&message));
            output::print_failure(&failure, true);
            return ExitCode::from(failure.code());
        }
        output::note(text::printable(&message).trim_end());
        return ExitCode::from(2);
    }
    let message = text::printable(&message);
    // A closed pipe is not a failure.
    let _ = std::io::stdout().write_all(message.as_bytes());
    ExitCode::SUCCESS
}

/// Whether `--json` is among arguments that could not be parsed.
fn wants_json() -> bool {
    let mut options = std::env::args_os().skip(1).take_while(|one| one != "--");
    options.any(|one| one == "--json")
}

/// The problem with the arguments on one line, without the usage.
fn one_line(message: &str) -> String {
    let message = message.split("\n\nUsage:").next().unwrap_or(message);
    let message = message
        .split("\n\nFor more information")
        .next()
        .unwrap_or(message);
    let words: Vec<_> = message.split_whitespace().collect();
    let sentence = words.join(" ");
    sentence
        .strip_prefix("error: ")
        .map_or_else(|| sentence.clone(), str::to_owned)
}

fn run(arguments: Arguments) -> Outcome {
    match arguments.command {
        Action::Completions(completions) => return completions.run(Arguments::command()),
        #[cfg(feature = "server")]
        Action::HashKey(hash_key) => return hash_key.run(arguments.json),
        #[cfg(feature = "server")]
        Action::Health(health) => return health.run(arguments.json),
        #[cfg(feature = "server")]
        Action::OpenApi(_) => return openapi::OpenApi::run(),
        Action::Man(man) => return man.run(Arguments::command()),
        #[cfg(feature = "server")]
        Action::Serve(serve) if serve.check => {
            return serve.print(&arguments.settings, arguments.json);
        }
        _ => {}
    }
    arguments.command.start_log()?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = arguments.command.workers() {
        builder.worker_threads(workers);
    }
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::File(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(connected(arguments));
    // A pending read of a prompt or a pipe must not block the exit.
    runtime.shutdown_background();
    outcome
}

async fn connected(arguments: Arguments) -> Outcome {
    let hint = arguments.command.on_interrupt();
    let handles_interrupts = arguments.command.handles_interrupts();
    let work = async {
        #[cfg(feature = "server")]
        let demo = match &arguments.command {
            Action::Inspect(inspect) => inspect.demo(&arguments.settings).await?,
            _ => None,
        };
        #[cfg(feature = "server")]
        let given = demo.as_ref().map(|demo| demo.saver.clone());
        #[cfg(not(feature = "server"))]
        let given = None;
        let saver = match given {
            Some(saver) => saver,
            None => saver(&arguments).await?,
        };
        let mut context = Context {
            saver,
            settings: arguments.settings,
            output: Output::new(arguments.json).in_color(arguments.color),
            quoted: arguments.quoted,
        };
        let outcome = arguments.command.run(&mut context).await;
        let flushed = context.output.flush();
        context.saver.close().await;
        outcome.and(flushed)
    };
    tokio::select! {
        outcome = work => outcome,
        interrupted = tokio::signal::ctrl_c(), if !handles_interrupts => match interrupted {
            Ok(()) => Err(Failure::Interrupted(hint.to_owned())),
            Err(error) => Err(Failure::File(format!("cannot listen for Ctrl-C: {error}"))),
        },
    }
}

async fn saver(arguments: &Arguments) -> Outcome<crate::RedisSaver> {
    let mut builder = arguments.settings.builder();
    if let Action::Migrate(_) = arguments.command {
        builder = builder.keys_for_both_layouts();
    }
    Ok(builder.build().await?)
}

/// Writes warnings of the library to stderr, each once.
fn log_warnings() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(output::Warnings::default())
        .with_ansi(false)
        .without_time()
        .with_level(false)
        .with_target(false)
        .finish();
    // It is the only subscriber of the process.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
