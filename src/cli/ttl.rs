//! The TTL of what `copy`, `import` and `migrate` store: the remaining TTL of the original, unless
//! an option says otherwise.

use std::time::Duration;

use clap::Args;

use super::failure::{Failure, Outcome};
use super::settings::Settings;
use crate::options::TtlChoice;
use crate::redis::ConfigKey;

/// The TTL options of `copy`, `import` and `migrate`.
#[derive(Args)]
pub(crate) struct TtlArgs {
    /// Store without a TTL instead of the remaining TTL
    #[arg(long)]
    forever: bool,
}

impl TtlArgs {
    /// The rule that the options result in.
    ///
    /// A TTL in the environment is meant for the application's writes: only the option of this
    /// command replaces the remaining TTL.
    pub(crate) fn rule(&self, settings: &Settings) -> Outcome<TtlRule> {
        match (self.forever, settings.is_option(ConfigKey::Ttl)) {
            (true, true) => Err(Failure::Usage(
                "--forever contradicts --ttl: use one of them".to_owned(),
            )),
            (true, false) => Ok(TtlRule::None),
            (false, true) => Ok(TtlRule::Option),
            (false, false) => Ok(TtlRule::Remaining),
        }
    }
}

/// Which TTL is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TtlRule {
    /// None.
    None,
    /// That of `--ttl`.
    Option,
    /// The remaining TTL, if there is one.
    Remaining,
}

impl TtlRule {
    /// The TTL of a copy of what has a remaining TTL, or none.
    pub(crate) fn ttl(self, remaining: Option<Duration>) -> TtlChoice {
        match (self, remaining) {
            (Self::Option, _) => TtlChoice::Default,
            (Self::Remaining, Some(remaining)) => TtlChoice::For(remaining),
            (Self::None, _) | (Self::Remaining, None) => TtlChoice::Forever,
        }
    }
}
