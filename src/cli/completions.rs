//! `completions`: shell completions.

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::{Failure, Outcome};

/// Print the completions for a shell
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = shells())]
    shell: Shell,
}

fn shells() -> impl TypedValueParser<Value = Shell> {
    PossibleValuesParser::new(["bash", "elvish", "fish", "powershell", "zsh"])
        .try_map(|name| name.parse::<Shell>())
}

impl Completions {
    pub(crate) fn run(self, mut command: Command) -> Outcome {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "langgraph-redis", &mut text);
        std::io::stdout()
            .write_all(&text)
            .map_err(|error| Failure::output(&error))
    }
}
