//! Writes a server's configuration file.

use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, RandomState};

use crate::error::Error;

/// Directives that decide how the server is reached and where it keeps its files. The builder
/// sets them, and a second opinion would make the server unreachable or outlive its folder.
const RESERVED: [&str; 14] = [
    "port",
    "tls-port",
    "tls-cert-file",
    "tls-key-file",
    "tls-ca-cert-file",
    "tls-auth-clients",
    "user",
    "bind",
    "dir",
    "logfile",
    "daemonize",
    "requirepass",
    "unixsocket",
    "aclfile",
];

/// The lines of a configuration file. Its `Debug` shows no values, since they may be secrets.
#[derive(Clone, Default)]
pub(crate) struct Directives(Vec<(String, String)>);

impl Directives {
    /// Adds a directive whose value is one argument, whatever its characters.
    pub(crate) fn quoted(&mut self, key: &str, value: &str) {
        self.0.push((key.to_owned(), quote(value)));
    }

    /// Adds a directive with its arguments as they stand in a configuration file.
    pub(crate) fn raw(&mut self, key: &str, arguments: &str) {
        let arguments = if arguments.is_empty() {
            "\"\""
        } else {
            arguments
        };
        self.0.push((key.to_owned(), arguments.to_owned()));
    }

    /// Adds all lines of `other`.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Refuses what a caller of the builder must not set.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (key, value) in &self.0 {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if key.is_empty() || !key.chars().all(plain) {
                return Err(Error::InvalidConfig(format!(
                    "{key:?} is not the name of a Redis directive"
                )));
            }
            if value.contains(['\n', '\r', '\0']) {
                return Err(Error::InvalidConfig(format!(
                    "the value of {key} must be one line"
                )));
            }
            if RESERVED
                .iter()
                .any(|reserved| reserved.eq_ignore_ascii_case(key))
            {
                return Err(Error::InvalidConfig(format!(
                    "{key} is set by the builder itself and cannot be overridden"
                )));
            }
        }
        Ok(())
    }

    /// The text of the configuration file.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.0 {
            text.push_str(key);
            text.push(' ');
            text.push_str(value);
            text.push('\n');
        }
        text
    }
}

impl fmt::Debug for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| key))
            .finish()
    }
}

/// A password. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl Secret {
    /// One that nobody knows. It guards throwaway servers on the loopback address only.
    pub(crate) fn random() -> Self {
        // Each state is made of random numbers of the system.
        let words = [0, 1].map(|word: u8| RandomState::new().hash_one(word));
        Self(format!("{:016x}{:016x}", words[0], words[1]))
    }

    /// The password in the form that a URL wants.
    pub(crate) fn percent_encoded(&self) -> String {
        let mut text = String::new();
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a String does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    }

    /// The password as one argument of a directive.
    pub(crate) fn quoted(&self) -> String {
        quote(&self.0)
    }

    /// `text` without the password.
    pub(crate) fn redact(&self, text: &str) -> String {
        if self.0.is_empty() {
            text.to_owned()
        } else {
            text.replace(&self.0, "***")
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One argument in the double quotes of a configuration file.
fn quote(value: &str) -> String {
    let mut text = String::from("\"");
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                // Writing to a String does not fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_quoting() {
        assert_eq!(quote(r#"a "b" \c"#), r#""a \"b\" \\c""#);
        assert_eq!(quote("ä\n"), r#""\xc3\xa4\x0a""#);
    }

    #[test]
    fn reserved_and_malformed_directives_are_refused() {
        for (key, value) in [
            ("port", "1"),
            ("Dir", "/"),
            ("", "x"),
            ("a b", "x"),
            ("hz", "1\ndir /"),
        ] {
            let mut directives = Directives::default();
            directives.raw(key, value);
            assert!(directives.check().is_err(), "{key} {value}");
        }
    }

    #[test]
    fn debug_shows_no_values() {
        let mut directives = Directives::default();
        directives.raw("user", "alice on >secret");
        assert_eq!(format!("{directives:?}"), r#"["user"]"#);
        assert_eq!(format!("{:?}", Secret("secret".to_owned())), "***");
    }

    #[test]
    fn passwords_are_encoded_for_urls() {
        assert_eq!(
            Secret("p@ss/wörd".to_owned()).percent_encoded(),
            "p%40ss%2Fw%C3%B6rd"
        );
    }
}
