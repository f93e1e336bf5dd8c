//! Where the options of `serve` come from: a flag, else a variable of the environment, else the
//! configuration file.
//!
//! An option is declared once, as a flag. Its other names follow from it: `--max-body-bytes` is
//! `LANGGRAPH_REDIS_SERVE_MAX_BODY_BYTES` in the environment and `max_body_bytes` in the file.

use std::ffi::OsString;
use std::path::Path;

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::config_file::{ConfigFile, unknown};
use super::failure::{Failure, Outcome};

/// The command whose options have three names.
pub(crate) const SERVE: &str = "serve";
/// The variable that names the configuration file.
pub(crate) const CONFIG: &str = "LANGGRAPH_REDIS_CONFIG";
/// What starts the names of variables.
const START: &str = "LANGGRAPH_REDIS_SERVE_";
/// Variables that do not follow from the name of their flag.
const OTHER_VARIABLES: [(&str, &str); 1] = [("api_keys", "LANGGRAPH_REDIS_API_KEYS_FILE")];
/// What is only a flag: it says what to do now, not how to run.
const ONLY_FLAGS: [&str; 2] = ["check", "help"];

/// An option, its value and where that comes from.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    pub(crate) name: String,
    /// `None` if it is not set, and has no default.
    pub(crate) value: Option<String>,
    pub(crate) source: String,
}

/// Adds the names of the variables to the help, and lets every switch be turned off.
pub(crate) fn named(command: Command) -> Command {
    // It would make one that is missing.
    if command.find_subcommand(SERVE).is_none() {
        return command;
    }
    command.mut_subcommand(SERVE, |serve| {
        serve.mut_args(|arg| {
            let Some(variable) = variable(&arg) else {
                return arg;
            };
            let help = arg.get_help().map(ToString::to_string);
            let help = format!("{} [env: {variable}]", help.unwrap_or_default());
            let arg = arg.help(help);
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                arg.action(ArgAction::Set)
                    .value_parser(ValueParser::bool())
                    .value_name("BOOL")
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .default_value("false")
                    .hide_default_value(true)
            } else {
                arg
            }
        })
    })
}

/// Gives the options the values of the environment, else those of the file, as their defaults.
/// Where each comes from is added to `sources`.
pub(crate) fn with_values(
    command: Command,
    file: &ConfigFile,
    sources: &mut Vec<(String, String)>,
) -> Outcome<Command> {
    let Some(serve) = command.find_subcommand(SERVE).cloned() else {
        return Ok(command);
    };
    let names: Vec<_> = serve
        .get_arguments()
        .filter(|arg| variable(arg).is_some())
        .collect();
    let known = || names.iter().map(|arg| arg.get_id().as_str());
    for (name, entry) in &file.serve {
        if !known().any(|one| one == name) {
            return Err(file.refuse(entry.line, unknown("key", name, known())));
        }
    }
    let mut defaults: Vec<(String, OsString)> = Vec::new();
    for arg in &names {
        let id = arg.get_id().as_str();
        let variable = variable(arg).unwrap_or_default();
        let entry = file.serve.iter().find(|(name, _)| name == id);
        // A value that a variable hides must be right as well.
        if let Some((_, entry)) = entry {
            check(&serve, arg, entry.value.as_ref())
                .map_err(|reason| file.refuse(entry.line, format!("{id}: {reason}")))?;
        }
        if let Some(value) = std::env::var_os(&variable) {
            check(&serve, arg, &value)
                .map_err(|reason| Failure::Usage(format!("{variable}: {reason}")))?;
            sources.push((id.to_owned(), variable));
            defaults.push((id.to_owned(), value));
        } else if let Some((_, entry)) = entry {
            sources.push((id.to_owned(), format!("line {} of the file", entry.line)));
            defaults.push((id.to_owned(), entry.value.clone().into()));
        }
    }
    Ok(command.mut_subcommand(SERVE, |serve| {
        serve.mut_args(|arg| {
            let found = defaults.iter().find(|(id, _)| id == arg.get_id().as_str());
            match found {
                Some((_, value)) => arg.default_value(clap::builder::OsStr::from(value.clone())),
                None => arg,
            }
        })
    }))
}

/// The options of `serve` as they are in force.
pub(crate) fn effective(
    command: &Command,
    matches: &ArgMatches,
    sources: &[(String, String)],
) -> Vec<Effective> {
    let Some((serve, given)) = command
        .find_subcommand(SERVE)
        .zip(matches.subcommand_matches(SERVE))
    else {
        return Vec::new();
    };
    let options = serve.get_arguments().filter(|arg| variable(arg).is_some());
    options
        .map(|arg| {
            let id = arg.get_id().as_str();
            let value = given.get_raw(id).and_then(|mut values| values.next());
            let source = if given.value_source(id) == Some(ValueSource::CommandLine) {
                format!("--{}", arg.get_long().unwrap_or_default())
            } else {
                let found = sources.iter().find(|(name, _)| name == id);
                found.map_or("default", |(_, source)| source).to_owned()
            };
            Effective {
                name: id.to_owned(),
                value: value.map(|value| value.to_string_lossy().into_owned()),
                source,
            }
        })
        .collect()
}

/// The file that the command line names, else the environment.
pub(crate) fn config_file(given: Option<&Path>) -> Outcome<ConfigFile> {
    let variable = std::env::var_os(CONFIG).map(std::path::PathBuf::from);
    match given.map(Path::to_owned).or(variable) {
        Some(path) => ConfigFile::read(&path),
        None => Ok(ConfigFile::default()),
    }
}

/// The variable of an option; `None` if it is only a flag.
fn variable(arg: &Arg) -> Option<String> {
    let id = arg.get_id().as_str();
    let long = arg.get_long()?;
    if ONLY_FLAGS.contains(&id) {
        return None;
    }
    let other = OTHER_VARIABLES.iter().find(|(name, _)| *name == id);
    Some(other.map_or_else(
        || format!("{START}{}", long.replace('-', "_").to_uppercase()),
        |(_, variable)| (*variable).to_owned(),
    ))
}

/// Reads a value as the flag does; gives what is wrong with it.
fn check(serve: &Command, arg: &Arg, value: &std::ffi::OsStr) -> Result<(), String> {
    let mut given = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
    given.push(value);
    let read = serve
        .clone()
        .no_binary_name(true)
        .try_get_matches_from([given]);
    read.map(|_| ()).map_err(|error| {
        let reason = std::error::Error::source(&error).map(ToString::to_string);
        reason.unwrap_or_else(|| super::one_line(&error.render().to_string()))
    })
}
