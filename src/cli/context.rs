//! The saver, the settings and the output of a command.

use std::io::{self, BufRead, IsTerminal, Write};

use super::failure::{Failure, Outcome};
use super::output::{Output, note};
use super::settings::Settings;
use super::text::{shown, shown_namespace, unquoted};
use crate::config::CheckpointConfig;
use crate::id::{CheckpointId, CheckpointNamespace, RunId, ThreadId};
use crate::inspect::read;
use crate::{CheckpointTuple, RedisSaver};

/// The saver, the settings and the output of a command.
pub(crate) struct Context {
    pub(crate) saver: RedisSaver,
    pub(crate) settings: Settings,
    pub(crate) output: Output,
    /// Whether ids may be given in quotes, as unusual ids are printed.
    pub(crate) quoted: bool,
}

impl Context {
    /// A thread id from an argument.
    pub(crate) fn thread_id(&self, argument: &str) -> Outcome<ThreadId> {
        Ok(ThreadId::new(self.id(argument)?)?)
    }

    /// A checkpoint id from an argument.
    pub(crate) fn checkpoint_id(&self, argument: &str) -> Outcome<CheckpointId> {
        Ok(CheckpointId::new(self.id(argument)?)?)
    }

    /// A run id from an argument.
    pub(crate) fn run_id(&self, argument: &str) -> Outcome<RunId> {
        Ok(RunId::new(self.id(argument)?)?)
    }

    /// A namespace from an argument.
    pub(crate) fn namespace(&self, argument: &str) -> Outcome<CheckpointNamespace> {
        Ok(CheckpointNamespace::new(self.id(argument)?)?)
    }

    fn id(&self, argument: &str) -> Outcome<String> {
        if self.quoted {
            Ok(unquoted(argument)?)
        } else {
            Ok(argument.to_owned())
        }
    }

    /// Reads a checkpoint, or the newest of its namespace. This does not refresh its TTL, whatever
    /// `refresh_on_read` is.
    pub(crate) async fn look(&self, config: &CheckpointConfig) -> Outcome<CheckpointTuple> {
        let found = read::look(&self.saver, config).await?;
        found.ok_or_else(|| match &config.checkpoint_id {
            Some(id) => Failure::NotFound(format!(
                "thread {} has no checkpoint {} in the namespace {}",
                shown(config.thread_id.as_str()),
                shown(id.as_str()),
                shown_namespace(&config.namespace()),
            )),
            None => Failure::no_checkpoint(&config.thread_id, &config.namespace()),
        })
    }

    /// Continues only if the user agrees: by `--yes`, or at a prompt on a terminal.
    pub(crate) async fn confirm(&self, yes: bool, what: &str) -> Outcome {
        if yes {
            return Ok(());
        }
        let asked = io::stdin().is_terminal() && io::stderr().is_terminal();
        if asked && !self.output.is_json() {
            note(&format!("This {what}."));
            let _ = write!(io::stderr(), "Continue? [y/N] ");
            let _ = io::stderr().flush();
            // On a blocking thread, so that Ctrl-C is handled.
            let answer = tokio::task::spawn_blocking(|| {
                let mut answer = String::new();
                io::stdin().lock().read_line(&mut answer).map(|_| answer)
            });
            if let Ok(Ok(answer)) = answer.await
                && matches!(answer.trim(), "y" | "Y" | "yes")
            {
                return Ok(());
            }
            return Err(Failure::NotConfirmed("nothing was changed".to_owned()));
        }
        Err(Failure::NotConfirmed(format!(
            "nothing was changed, because this {what}: add --yes to do it"
        )))
    }
}
