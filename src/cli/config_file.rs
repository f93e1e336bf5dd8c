//! The configuration file: settings in TOML, each with the line that it is in.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::failure::{Failure, Outcome};
use super::text::shown;
use crate::redis::ConfigKey;

/// The table of the settings of the connection and the store.
const REDIS: &str = "redis";
/// The table of the options of `serve`.
const SERVE: &str = "serve";
/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The settings of a file; each is text, as on the command line.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    /// Of the connection and the store, checked.
    pub(crate) redis: Vec<(ConfigKey, Entry)>,
    /// Of `serve`, by their names. They are not checked.
    pub(crate) serve: Vec<(String, Entry)>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) value: String,
    pub(crate) line: usize,
}

impl ConfigFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Failure::Usage`] with the line and the key of what cannot be.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let mut text = String::new();
        let failed = |error: std::io::Error| {
            let path = path.display();
            Failure::Usage(format!(
                "the configuration file {path} cannot be read: {error}"
            ))
        };
        let mut file = File::open(path).map_err(failed)?;
        (&mut file)
            .take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(failed)?;
        let read = Self::parse(path, &text)?;
        read.check_private(&file)?;
        Ok(read)
    }

    fn parse(path: &Path, text: &str) -> Outcome<Self> {
        let mut read = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        let line = |span: Range<usize>| line_of(text, span.start);
        // Its own words would show the line, in which a password may be.
        let tables = DeTable::parse(text).map_err(|error| {
            read.refuse(line(error.span().unwrap_or_default()), error.message())
        })?;
        for (name, table) in tables.into_inner() {
            let at = line(name.span());
            let name = name.into_inner();
            let is_known = [REDIS, SERVE].contains(&&*name);
            let DeValue::Table(entries) = table.into_inner() else {
                let reason = if is_known {
                    format!("`{name}` is a table: write [{name}] on a line of its own")
                } else {
                    format!(
                        "{} is in no table: settings are in [{REDIS}] or [{SERVE}]",
                        shown(&name)
                    )
                };
                return Err(read.refuse(at, reason));
            };
            if !is_known {
                return Err(read.refuse(at, unknown("table", &name, [REDIS, SERVE])));
            }
            for (key, value) in entries {
                let at = line(key.span());
                let key = key.into_inner();
                let value = text_of(&value.into_inner())
                    .map_err(|reason| read.refuse(at, format!("{} {reason}", shown(&key))))?;
                let entry = Entry { value, line: at };
                if name == SERVE {
                    read.serve.push((key.into_owned(), entry));
                } else {
                    let known: ConfigKey = key.parse().map_err(|_| {
                        let names = ConfigKey::ALL.map(ConfigKey::as_str);
                        read.refuse(at, unknown("key", &key, names))
                    })?;
                    known
                        .check(&entry.value)
                        .map_err(|error| read.refuse(at, error.report()))?;
                    read.redis.push((known, entry));
                }
            }
        }
        Ok(read)
    }

    /// A failure with the name of the file and the line.
    pub(crate) fn refuse(&self, line: usize, reason: impl std::fmt::Display) -> Failure {
        Failure::Usage(format!("{} line {line}: {reason}", self.path.display()))
    }

    /// Refuses a file with a password that everybody on this machine may read.
    #[cfg(unix)]
    fn check_private(&self, file: &File) -> Outcome {
        use std::os::unix::fs::PermissionsExt;
        let mut secrets = self.redis.iter();
        let Some((_, entry)) = secrets.find(|(key, entry)| {
            *key == ConfigKey::Url && crate::redis::has_password(&entry.value)
        }) else {
            return Ok(());
        };
        let of_others = file
            .metadata()
            .map_or(0, |metadata| metadata.permissions().mode() & 0o007);
        if of_others == 0 {
            return Ok(());
        }
        let name = self.path.display();
        let reason = format!(
            "`url` has a password, and everybody may read the file: `chmod o= {name}` makes it private"
        );
        Err(self.refuse(entry.line, reason))
    }

    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, clippy::unused_self)] // As on Unix.
    fn check_private(&self, _: &File) -> Outcome {
        Ok(())
    }
}

/// Says that a name is unknown, and which known one is meant.
pub(crate) fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    let named = shown(name);
    let nearest = known
        .into_iter()
        .map(|one| (strsim::jaro_winkler(one, name), one))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((likeness, one)) if likeness > 0.7 => {
            format!("there is no {what} {named}; is `{one}` meant?")
        }
        _ => format!("there is no {what} {named}"),
    }
}

/// A value as it is written on the command line.
fn text_of(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "is a number that is too large"),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Datetime(_) => Err("is a date: write a text, a number or a truth value"),
        DeValue::Array(_) => Err("is an array: write a text, a number or a truth value"),
        DeValue::Table(_) => Err("is a table: write a text, a number or a truth value"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome<ConfigFile> {
        ConfigFile::parse(Path::new("file.toml"), text)
    }

    #[test]
    fn values_of_any_type_are_read_as_on_the_command_line() {
        let text = "[redis]\nttl = 90\npool_size = 1_0\nrefresh_on_read = true\n\n[serve]\nlisten = \"a:1\"\nx = 0x10\ny = 1.5";
        let file = parse(text).unwrap();
        let redis: Vec<_> = file
            .redis
            .iter()
            .map(|(key, entry)| (key.as_str(), &*entry.value, entry.line))
            .collect();
        for expected in [
            ("ttl", "90", 2),
            ("pool_size", "10", 3),
            ("refresh_on_read", "true", 4),
        ] {
            assert!(redis.contains(&expected), "{redis:?}");
        }
        let serve: Vec<_> = file
            .serve
            .iter()
            .map(|(key, entry)| (&**key, &*entry.value, entry.line))
            .collect();
        for expected in [("listen", "a:1", 7), ("x", "16", 8), ("y", "1.5", 9)] {
            assert!(serve.contains(&expected), "{serve:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_line_and_never_shown() {
        for (text, line, says) in [
            ("[redis]\nurll = \"x\"", 2, "`url`"),
            ("[redis]\n\nttl = \"soon\"", 3, "ttl"),
            ("[reddis]\nttl = 1", 1, "`redis`"),
            ("ttl = 1", 1, "[redis]"),
            ("serve = 1", 1, "[serve]"),
            ("[redis]\nttl = [1]", 2, "array"),
            ("[redis]\nttl = 1\nttl = 2", 3, "duplicate key"),
            ("[serve]\n\"a\\u001bb\" = {}", 2, "table"),
            ("[redis]\nurl = \"redis://:secret@host", 2, "string"),
            ("[redis]\nurl = \"http://:secret@host\"", 2, "url"),
        ] {
            let Failure::Usage(message) = parse(text).unwrap_err() else {
                panic!("{text}");
            };
            assert!(
                message.contains(&format!("line {line}:")),
                "{text}: {message}"
            );
            assert!(message.contains(says), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
            assert!(!message.contains('\u{1b}'), "{message}");
        }
    }
}
