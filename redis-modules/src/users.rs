//! Users of a server, and what they may do.

use crate::directives::{Directives, Secret};
use crate::error::Error;

/// What a saver needs, see `acl/README.md`.
const SAVER: &str = include_str!("../acl/saver.acl");

/// What somebody needs who mends what a saver keeps.
const DOCTOR: &str = include_str!("../acl/doctor.acl");

/// What a client needs of a sentinel.
const SENTINEL: &str = include_str!("../acl/sentinel.acl");

/// What a replica needs of its primary.
const REPLICA: &str = "+ping +psync +replconf";

/// What a sentinel needs of the servers that it watches.
const WATCHER: &str = "&* +multi +exec +slaveof +ping +subscribe +config|rewrite +role +publish \
    +info +client|setname +client|kill +script|kill";

const REPLICA_NAME: &str = "replica";
const WATCHER_NAME: &str = "watcher";

/// The rules of the file `acl/saver.acl`: the least that a user needs who runs a saver with the
/// default prefixes, without a name and a password.
#[must_use]
pub fn saver_rules() -> &'static str {
    rules(SAVER)
}

/// The rules of the file `acl/doctor.acl`: the least for a saver whose `doctor` is called.
#[must_use]
pub fn doctor_rules() -> &'static str {
    rules(DOCTOR)
}

/// What follows the name in the one line of an ACL file.
fn rules(file: &'static str) -> &'static str {
    file.trim_end().splitn(4, ' ').nth(3).unwrap_or_default()
}

/// Somebody who may sign in.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: Secret,
    rules: String,
}

impl User {
    pub(crate) fn new(name: &str, password: &str, rules: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: Secret(password.to_owned()),
            rules: rules.to_owned(),
        }
    }

    /// Adds the directive that makes the user.
    pub(crate) fn write(&self, lines: &mut Directives) {
        let password = Secret(format!(">{}", self.password.0)).quoted();
        lines.raw(
            "user",
            &format!("{} on {password} {}", self.name, self.rules),
        );
    }

    /// Refuses what would become another line or another argument.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(Error::InvalidConfig(format!(
                "{:?} is not the name of a user: use letters, digits, `-`, `_` and `.`",
                self.name
            )));
        }
        if ["default", REPLICA_NAME, WATCHER_NAME].contains(&self.name.as_str()) {
            return Err(Error::InvalidConfig(format!(
                "the user {} is there already",
                self.name
            )));
        }
        if self.rules.contains(['\n', '\r', '\0']) {
            return Err(Error::InvalidConfig(format!(
                "the rules of the user {} must be one line",
                self.name
            )));
        }
        Ok(())
    }
}

/// The users that the servers of one deployment have for each other, made when it has users at
/// all.
#[derive(Debug, Clone)]
pub(crate) struct Staff {
    /// The password of the default user, if the caller chose none.
    pub(crate) administrator: Secret,
    pub(crate) replica: User,
    pub(crate) watcher: User,
}

impl Staff {
    pub(crate) fn new() -> Self {
        let user = |name, rules| User::new(name, &Secret::random().0, rules);
        Self {
            administrator: Secret::random(),
            replica: user(REPLICA_NAME, REPLICA),
            watcher: user(WATCHER_NAME, WATCHER),
        }
    }
}

/// A client of a sentinel.
pub(crate) fn client_of_sentinel(name: &str, password: &str) -> User {
    User::new(name, password, rules(SENTINEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_hold_one_user_each_without_a_password() {
        for (file, name) in [(SAVER, "saver"), (DOCTOR, "doctor"), (SENTINEL, "client")] {
            assert_eq!(file.lines().count(), 1);
            assert!(file.starts_with(&format!("user {name} on ")), "{file}");
            assert!(!file.contains(['>', '#', '<', '!']), "{file}");
            assert!(!file.contains("nopass"), "{file}");
        }
        assert!(saver_rules().contains("+evalsha"), "{}", saver_rules());
    }

    #[test]
    fn a_user_that_would_be_something_else_is_refused() {
        for (name, rules) in [
            ("", "+@all"),
            ("a b", "+@all"),
            ("default", "+@all"),
            ("a", "+@all\nuser b on nopass"),
        ] {
            assert!(
                User::new(name, "p", rules).check().is_err(),
                "{name} {rules}"
            );
        }
    }
}
