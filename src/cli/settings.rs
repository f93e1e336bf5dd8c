//! The settings of the saver as options of the command line.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::redis::{ConfigKey, RedisSaverBuilder};
use crate::{RedisSaver, Result};

/// The settings from the command line.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    prefix: Option<String>,
    values: Vec<(ConfigKey, String)>,
    /// The settings of the configuration file.
    file: Vec<(ConfigKey, String)>,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "server"), allow(dead_code))] // `serve --check` shows it.
pub(crate) enum Source {
    Flag,
    Variable(String),
    File,
}

/// The name, value name and help of each setting.
const HELP: &[(&str, &str, &str)] = &[
    (
        "url",
        "URL",
        "The server: redis://, rediss://, redis+unix://, redis-sentinel:// or redis-cluster://. \
         Other users of this machine can see arguments, but not REDIS_URL",
    ),
    (
        "checkpoint_prefix",
        "NAME",
        "The prefix and index name of checkpoints [default: checkpoint]",
    ),
    (
        "checkpoint_write_prefix",
        "NAME",
        "The prefix and index name of writes [default: checkpoint_write]",
    ),
    (
        "ttl",
        "TIME",
        "The TTL of what is written, such as 90m or 24h, or none [default: none]",
    ),
    (
        "refresh_on_read",
        "BOOL",
        "Whether reading a checkpoint resets its TTL [default: false]",
    ),
    (
        "ttl_scope",
        "SCOPE",
        "What expires together: checkpoint or thread [default: checkpoint]",
    ),
    (
        "pool_size",
        "NUMBER",
        "The number of connections [default: 2]",
    ),
    (
        "command_timeout",
        "TIME",
        "The time limit of a command [default: 10s]",
    ),
    (
        "connect_timeout",
        "TIME",
        "The time limit to connect [default: 5s]",
    ),
    (
        "layout",
        "LAYOUT",
        "How checkpoints are stored: json or compact [default: json]",
    ),
    (
        "max_document_bytes",
        "BYTES",
        "The largest document to store [default: 67108864]",
    ),
    (
        "hash_tag_threads",
        "BOOL",
        "Whether keys have the thread id as a hash tag, as a cluster needs it [default: false]",
    ),
    (
        "page_size",
        "NUMBER",
        "The number of checkpoints per page [default: 32]",
    ),
    (
        "recent_threads",
        "BOOL",
        "Whether threads are kept by the time of their last write [default: true]",
    ),
    (
        "search",
        "MODE",
        "Whether RediSearch is used: auto, required or off [default: auto]",
    ),
    (
        "wait_replicas",
        "NUMBER",
        "The number of replicas that must acknowledge a write [default: 0]",
    ),
    (
        "wait_replicas_timeout",
        "TIME",
        "The time limit of that acknowledgement [default: 1s]",
    ),
    (
        "tls_ca_file",
        "FILE",
        "Certificates (PEM) of additional certificate authorities",
    ),
    ("tls_cert_file", "FILE", "The client certificate (PEM)"),
    (
        "tls_key_file",
        "FILE",
        "The private key of the client certificate (PEM, not encrypted)",
    ),
    (
        "client_name",
        "NAME",
        "The name of connections in CLIENT LIST [default: langgraph-checkpoint-redis]",
    ),
    (
        "encryption_keys_file",
        "FILE",
        "Keys that the layout compact seals with: ID:KEY a line, the key in base64, the first one seals. \
         The keys themselves may be in LANGGRAPH_REDIS_ENCRYPTION_KEYS instead",
    ),
    (
        "allow_unsealed",
        "BOOL",
        "Whether data that is not sealed is read where there are keys [default: false]",
    ),
];

impl Settings {
    /// A builder with the settings of the configuration file, overridden by those of the
    /// environment, and these by those of the command line.
    pub(crate) fn builder(&self) -> RedisSaverBuilder {
        let mut builder = RedisSaver::builder();
        for (key, value, source) in self.given() {
            if let Source::Flag = source {
                continue;
            }
            builder = builder.set(key, value);
        }
        builder = builder.encryption_keys_from_env();
        if let Some(prefix) = &self.prefix {
            builder = builder.prefix(prefix);
        }
        for (key, value) in &self.values {
            builder = builder.set(*key, value);
        }
        builder
    }

    /// Takes the settings of a configuration file.
    pub(crate) fn take_file(&mut self, file: Vec<(ConfigKey, String)>) {
        self.file = file;
    }

    /// The settings that are given, each from where it is taken.
    pub(crate) fn given(&self) -> Vec<(ConfigKey, String, Source)> {
        let found = ConfigKey::ALL.into_iter().filter_map(|key| {
            let (value, source) = self.find(key)?;
            Some((key, value, source))
        });
        found.collect()
    }

    fn find(&self, key: ConfigKey) -> Option<(String, Source)> {
        let of = |values: &[(ConfigKey, String)]| {
            let found = values.iter().find(|(one, _)| *one == key);
            found.map(|(_, value)| value.clone())
        };
        let variable = |name: String| {
            let value = std::env::var(&name).ok()?;
            Some((value, Source::Variable(name)))
        };
        // The URL has a second variable.
        let second = || (key == ConfigKey::Url).then(|| variable("REDIS_URL".to_owned()))?;
        of(&self.values)
            .map(|value| (value, Source::Flag))
            .or_else(|| variable(key.variable()))
            .or_else(second)
            .or_else(|| of(&self.file).map(|value| (value, Source::File)))
    }

    /// Whether a setting is given on the command line.
    pub(crate) fn is_option(&self, key: ConfigKey) -> bool {
        self.values.iter().any(|(one, _)| *one == key)
    }

    /// Whether any setting is given on the command line.
    #[cfg(feature = "server")]
    pub(crate) fn is_any_option(&self) -> bool {
        self.prefix.is_some() || !self.values.is_empty()
    }

    /// The value of a setting on the command line, else in the environment, else in the
    /// configuration file.
    pub(crate) fn get(&self, key: ConfigKey) -> Option<String> {
        self.find(key).map(|(value, _)| value)
    }
}

fn option(key: ConfigKey) -> Arg {
    let found = HELP.iter().find(|(name, _, _)| *name == key.as_str());
    let (value, help) = found.map_or(("VALUE", ""), |(_, value, help)| (value, help));
    let arg = Arg::new(key.as_str())
        .long(key.as_str().replace('_', "-"))
        .value_name(value)
        .help(format!("{help} [env: {}]", key.variable()))
        .help_heading("Connection and store")
        .hide_short_help(key != ConfigKey::Url)
        .global(true)
        .action(ArgAction::Set);
    if value == "BOOL" {
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else {
        arg
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let prefix = Arg::new("prefix")
            .long("prefix")
            .value_name("NAME")
            .help("One prefix for both: NAME:checkpoint and NAME:checkpoint_write")
            .help_heading("Connection and store")
            .hide_short_help(true)
            .global(true);
        ConfigKey::ALL
            .into_iter()
            .fold(command, |command, key| command.arg(option(key)))
            .arg(prefix)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut settings = Self::default();
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.prefix = matches.get_one::<String>("prefix").cloned();
        self.values = ConfigKey::ALL
            .into_iter()
            .filter_map(|key| Some((key, matches.get_one::<String>(key.as_str())?.clone())))
            .collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_an_option_with_help() {
        let command = Settings::augment_args(Command::new("test"));
        for key in ConfigKey::ALL {
            let arg = command
                .get_arguments()
                .find(|arg| arg.get_id() == key.as_str())
                .unwrap();
            assert!(
                HELP.iter()
                    .any(|(name, _, help)| *name == key.as_str() && !help.is_empty()),
                "{key} has no help"
            );
            assert!(arg.is_global_set());
        }
    }
}
