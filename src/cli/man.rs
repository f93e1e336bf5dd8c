//! `man`: the manual pages.

use std::path::PathBuf;

use clap::{Args, Command};

use super::failure::{Failure, Outcome};
use super::text::shown;

/// Write the manual pages, one for each command, into a directory
#[derive(Args)]
pub(crate) struct Man {
    /// The directory, such as /usr/local/share/man/man1; it is created if it does not exist
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self, command: Command) -> Outcome {
        std::fs::create_dir_all(&self.directory)
            .and_then(|()| clap_mangen::generate_to(command, &self.directory))
            .map_err(|error| {
                Failure::File(format!(
                    "the manual pages cannot be written to {}: {error}",
                    shown(&self.directory.to_string_lossy())
                ))
            })
    }
}
