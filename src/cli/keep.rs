//! `pin`, `unpin` and `touch`: how long threads stay.

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::select::Selection;
use super::text::{shown, ttl};
use super::threads::milliseconds;
use crate::id::ThreadId;
use crate::redis::ConfigKey;
use crate::saver::{CheckpointSaver, ThreadSummary};

/// Keep threads for ever, until they are unpinned
#[derive(Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    threads: Selection,
}

/// Give threads the TTL of --ttl, also those that are pinned or kept for ever
#[derive(Args)]
pub(crate) struct Unpin {
    #[command(flatten)]
    threads: Selection,
}

/// Give threads the TTL of --ttl anew; what is kept for ever stays so
#[derive(Args)]
pub(crate) struct Touch {
    #[command(flatten)]
    threads: Selection,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Pin,
    Unpin,
    Touch,
}

impl Pin {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        change(context, &self.threads, Verb::Pin).await
    }
}

impl Unpin {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        change(context, &self.threads, Verb::Unpin).await
    }
}

impl Touch {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        change(context, &self.threads, Verb::Touch).await
    }
}

async fn change(context: &mut Context, threads: &Selection, verb: Verb) -> Outcome {
    if verb != Verb::Pin {
        let ttl = context.settings.get(ConfigKey::Ttl);
        if ttl.is_none_or(|ttl| ttl == "none") {
            return Err(Failure::Usage(
                "no TTL is set: give the one that the threads should have with --ttl, such as --ttl 24h"
                    .to_owned(),
            ));
        }
    }
    for thread in threads.required(context).await? {
        let id = &thread.thread_id;
        let changed = match verb {
            Verb::Pin => context.saver.pin(id).await?,
            Verb::Unpin => context.saver.unpin(id).await?,
            Verb::Touch => context.saver.touch(id).await?,
        };
        let after = context.saver.thread(id).await?;
        say(context, id, verb, changed, after.as_ref())?;
    }
    Ok(())
}

fn say(
    context: &mut Context,
    thread: &ThreadId,
    verb: Verb,
    changed: bool,
    after: Option<&ThreadSummary>,
) -> Outcome {
    let left = after.and_then(|after| after.ttl);
    if context.output.is_json() {
        let name = match verb {
            Verb::Pin => "pinned",
            Verb::Unpin => "unpinned",
            Verb::Touch => "touched",
        };
        return context.output.json(&json!({
            "thread_id": thread,
            name: changed,
            "ttl_ms": left.map(milliseconds),
        }));
    }
    let thread = shown(thread.as_str());
    context.output.line(match (changed, after) {
        // It expired, or someone deleted it.
        (false, _) | (true, None) => format!("{thread} is gone"),
        (true, Some(_)) => format!("{thread} stays {}", ttl(left)),
    })
}
