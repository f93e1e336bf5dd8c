//! The command line, `langgraph-redis`: for the person on call, who does not know key names.
//!
//! One module a command. `output` is the only place that prints: nothing that is stored reaches
//! a terminal with its control characters. `failure` says which exit code stands for what.

mod bench;
mod completions;
mod context;
mod copy;
mod delete;
mod diff;
mod doctor;
mod export;
mod failure;
mod graph;
#[cfg(feature = "server")]
mod hash_key;
mod health;
mod history;
mod import;
mod json_eq;
mod output;
mod pin;
mod progress;
mod prune;
mod record;
mod selection;
#[cfg(feature = "server")]
mod serve;
mod settings;
mod setup;
mod show;
mod stats;
mod text;
mod threads;
mod ttl;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use context::Context;
use failure::{Failure, Outcome};
use output::Output;
use settings::Settings;

/// Exit codes, as `--help` tells them.
const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed
    2  the arguments or settings cannot be used
    3  there is no such thread or checkpoint
    4  something is in the way: a target that exists, another writer
    5  the server cannot be reached or cannot serve at the moment: try again
    6  nothing was changed, because --yes is missing
    7  doctor: something is wrong and was not put right
    8  import: the file is not what was exported
  130  ended by Ctrl-C";

/// Looks after LangGraph checkpoints in Redis.
#[derive(Parser)]
#[command(name = "langgraph-redis", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
    #[command(flatten)]
    settings: Settings,
    /// Answer in JSON: one document, or one a line where there are many
    #[arg(long, global = true)]
    json: bool,
    /// Take an id that starts with a quote as a JSON string, as unusual ids are printed
    #[arg(long, global = true)]
    quoted: bool,
}

/// What to do. Each command is a module of its own.
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
    Stats(stats::Stats),
    Doctor(doctor::Doctor),
    Bench(bench::Bench),
    #[cfg(feature = "server")]
    Serve(serve::Serve),
    #[cfg(feature = "server")]
    HashKey(hash_key::HashKey),
    Completions(completions::Completions),
}

impl Action {
    /// What to say when Ctrl-C ended the command.
    fn on_interrupt(&self) -> &'static str {
        match self {
            Self::Delete(_) | Self::Prune(_) | Self::Copy(_) | Self::Doctor(_) => {
                "ended before it was done; the same command again goes on where it stopped"
            }
            Self::Pin(_) | Self::Unpin(_) | Self::Touch(_) => {
                "ended before it was done; the same command again does the rest"
            }
            Self::Export(_) => {
                "ended before it was done; with --output, the same command with --resume goes on after the last whole thread"
            }
            Self::Import(_) => {
                "ended before it was done; the same command again leaves alone what is there and does the rest"
            }
            _ => "ended before it was done; nothing was changed",
        }
    }

    /// Whether the command hears Ctrl-C itself and ends in order.
    fn hears_interrupts(&self) -> bool {
        match self {
            Self::Bench(_) => true,
            #[cfg(feature = "server")]
            Self::Serve(_) => true,
            _ => false,
        }
    }

    /// How many threads the command works on; `None` for as many as there are cores.
    #[cfg_attr(not(feature = "server"), allow(clippy::unnecessary_wraps))] // As with it.
    fn workers(&self) -> Option<usize> {
        match self {
            #[cfg(feature = "server")]
            Self::Serve(_) => None,
            _ => Some(2),
        }
    }

    /// Begins to tell what the library has to say.
    #[cfg_attr(not(feature = "server"), allow(clippy::unnecessary_wraps))] // As with it.
    fn listen(&self) -> Outcome {
        match self {
            #[cfg(feature = "server")]
            Self::Serve(serve) => serve.prepare(),
            _ => {
                listen_to_warnings();
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
            Self::Stats(command) => command.run(context).await,
            Self::Doctor(command) => command.run(context).await,
            Self::Bench(command) => command.run(context).await,
            #[cfg(feature = "server")]
            Self::Serve(command) => command.run(context).await,
            // Are done without a server.
            #[cfg(feature = "server")]
            Self::HashKey(_) => Ok(()),
            Self::Completions(_) => Ok(()),
        }
    }
}

/// Runs the command that the arguments of the process name.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refused(&error),
    };
    let json = arguments.json;
    match run(arguments) {
        Ok(()) | Err(Failure::NobodyReads) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure, json);
            ExitCode::from(failure.code())
        }
    }
}

/// Help, or what is wrong with the arguments, which may hold a URL with a password.
fn refused(error: &clap::Error) -> ExitCode {
    let message = error.render().to_string();
    if error.use_stderr() {
        if asks_for_json() {
            let failure = Failure::Usage(in_a_sentence(&message));
            output::complain(&failure, true);
            return ExitCode::from(failure.code());
        }
        output::note(text::printable(&message).trim_end());
        return ExitCode::from(2);
    }
    let message = text::printable(&message);
    // Nobody may read the help, which is no failure.
    let _ = std::io::stdout().write_all(message.as_bytes());
    ExitCode::SUCCESS
}

/// Whether `--json` is among arguments that could not be read.
fn asks_for_json() -> bool {
    let mut options = std::env::args_os().skip(1).take_while(|one| one != "--");
    options.any(|one| one == "--json")
}

/// What is wrong with the arguments, without how they are used, on one line.
fn in_a_sentence(message: &str) -> String {
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
        Action::Completions(completions) => return completions.run(),
        #[cfg(feature = "server")]
        Action::HashKey(hash_key) => return hash_key.run(arguments.json),
        _ => {}
    }
    arguments.command.listen()?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = arguments.command.workers() {
        builder.worker_threads(workers);
    }
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::File(format!("the runtime cannot start: {error}")))?;
    let outcome = runtime.block_on(connected(arguments));
    // A prompt or a pipe that is still being read must not hold the process up.
    runtime.shutdown_background();
    outcome
}

async fn connected(arguments: Arguments) -> Outcome {
    let hint = arguments.command.on_interrupt();
    let hears = arguments.command.hears_interrupts();
    let work = async {
        let saver = arguments.settings.connect().await?;
        let mut context = Context {
            saver,
            settings: arguments.settings,
            output: Output::new(arguments.json),
            quoted: arguments.quoted,
        };
        let outcome = arguments.command.run(&mut context).await;
        let flushed = context.output.flush();
        context.saver.close().await;
        outcome.and(flushed)
    };
    tokio::select! {
        outcome = work => outcome,
        interrupted = tokio::signal::ctrl_c(), if !hears => match interrupted {
            Ok(()) => Err(Failure::Interrupted(hint.to_owned())),
            Err(error) => Err(Failure::File(format!("Ctrl-C cannot be heard: {error}"))),
        },
    }
}

/// What the library warns of goes to stderr, the same warning once.
fn listen_to_warnings() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(output::Warnings::default())
        .with_ansi(false)
        .without_time()
        .with_level(false)
        .with_target(false)
        .finish();
    // Only this process' own main sets one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
