//! How long what a command stores is kept: as long as what it was made from, unless it is said.

use std::time::Duration;

use clap::Args;

use super::failure::{Failure, Outcome};
use super::settings::Settings;
use crate::options::TtlChoice;
use crate::redis::ConfigKey;

/// What `import` and `copy` say of TTLs.
#[derive(Args)]
pub(crate) struct Lifetime {
    /// Store everything without a TTL, not with the time that it has left
    #[arg(long)]
    forever: bool,
}

impl Lifetime {
    /// Which rule holds.
    ///
    /// A TTL of the environment is that of the application's own writes: only one that was given
    /// with this command takes the place of the time that is left.
    pub(crate) fn rule(&self, settings: &Settings) -> Outcome<Rule> {
        match (self.forever, settings.is_option(ConfigKey::Ttl)) {
            (true, true) => Err(Failure::Usage(
                "--forever contradicts --ttl: give one of them".to_owned(),
            )),
            (true, false) => Ok(Rule::Forever),
            (false, true) => Ok(Rule::Given),
            (false, false) => Ok(Rule::Left),
        }
    }
}

/// Which TTL is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// None.
    Forever,
    /// That of `--ttl`.
    Given,
    /// The time that is left, or none if there is none.
    Left,
}

impl Rule {
    /// The TTL of what has some time left; `None` if it has no TTL.
    pub(crate) fn ttl(self, left: Option<Duration>) -> TtlChoice {
        match (self, left) {
            (Self::Given, _) => TtlChoice::Default,
            (Self::Left, Some(left)) => TtlChoice::For(left),
            (Self::Forever, _) | (Self::Left, None) => TtlChoice::Forever,
        }
    }
}
