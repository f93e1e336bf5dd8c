//! Every setting of the saver as an option of the command line.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::redis::{ConfigKey, RedisSaverBuilder};
use crate::{RedisSaver, Result};

/// What the command line says of the connection and the store.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    prefix: Option<String>,
    values: Vec<(ConfigKey, String)>,
}

/// What each setting means, and how its value is called.
const HELP: &[(ConfigKey, &str, &str)] = &[
    (
        ConfigKey::Url,
        "URL",
        "The server: redis://, rediss://, redis+unix://, redis-sentinel:// or redis-cluster://. \
         Other users of this machine may see it here; REDIS_URL they do not",
    ),
    (
        ConfigKey::CheckpointPrefix,
        "NAME",
        "The prefix of checkpoints and the name of their index [default: checkpoint]",
    ),
    (
        ConfigKey::CheckpointWritePrefix,
        "NAME",
        "The prefix of writes and the name of their index [default: checkpoint_write]",
    ),
    (
        ConfigKey::Ttl,
        "TIME",
        "How long what is written is kept, such as 90m or 24h; none for ever [default: none]",
    ),
    (
        ConfigKey::RefreshOnRead,
        "BOOL",
        "Whether reading a checkpoint gives it its TTL anew [default: false]",
    ),
    (
        ConfigKey::TtlScope,
        "SCOPE",
        "What a TTL keeps together: checkpoint or thread [default: checkpoint]",
    ),
    (
        ConfigKey::PoolSize,
        "NUMBER",
        "How many connections are kept [default: 2]",
    ),
    (
        ConfigKey::CommandTimeout,
        "TIME",
        "How long a command may take [default: 10s]",
    ),
    (
        ConfigKey::ConnectTimeout,
        "TIME",
        "How long making a connection may take [default: 5s]",
    ),
    (
        ConfigKey::MaxDocumentBytes,
        "BYTES",
        "The largest document that is stored [default: 67108864]",
    ),
    (
        ConfigKey::HashTagThreads,
        "BOOL",
        "Whether the thread stands in braces in every key, as a cluster needs it [default: false]",
    ),
    (
        ConfigKey::PageSize,
        "NUMBER",
        "How many checkpoints are read at once [default: 32]",
    ),
];

impl Settings {
    /// A builder with what the environment says, and over it what the command line says.
    pub(crate) fn builder(&self) -> RedisSaverBuilder {
        let mut builder = RedisSaver::builder();
        for key in ConfigKey::ALL {
            if let Ok(value) = std::env::var(key.variable()) {
                builder = builder.set(key, value);
            }
        }
        if let Some(prefix) = &self.prefix {
            builder = builder.prefix(prefix);
        }
        for (key, value) in &self.values {
            builder = builder.set(*key, value);
        }
        builder
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<RedisSaver> {
        self.builder().build().await
    }

    /// The value of a setting that the command line or the environment gives.
    pub(crate) fn get(&self, key: ConfigKey) -> Option<String> {
        let given = self.values.iter().find(|(one, _)| *one == key);
        given
            .map(|(_, value)| value.clone())
            .or_else(|| std::env::var(key.variable()).ok())
    }
}

fn option(key: ConfigKey) -> Arg {
    let found = HELP.iter().find(|(one, _, _)| *one == key);
    let (value, help) = found.map_or(("VALUE", ""), |(_, value, help)| (value, help));
    let arg = Arg::new(key.as_str())
        .long(key.as_str().replace('_', "-"))
        .value_name(value)
        .help(format!("{help} [env: {}]", key.variable()))
        .help_heading("Connection and store")
        .hide_short_help(true)
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
                    .any(|(one, _, help)| *one == key && !help.is_empty()),
                "{key} has no help"
            );
            assert!(arg.is_global_set());
        }
    }
}
