//! `pin`, `unpin` and `touch`: change the TTL of threads.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::selection::Selection;
use super::text::{self, milliseconds, shown, thread_or_count};
use crate::id::ThreadId;
use crate::redis::{ConfigKey, duration};
use crate::saver::{CheckpointSaver, ThreadSummary};

/// Remove the TTL of threads until they are unpinned
#[derive(Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    threads: Selection,
}

/// Set the TTL of threads to --ttl, also of those that are pinned or have no TTL
#[derive(Args)]
pub(crate) struct Unpin {
    #[command(flatten)]
    threads: Selection,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Reset the TTL of threads to --ttl, except of what has no TTL
#[derive(Args)]
pub(crate) struct Touch {
    #[command(flatten)]
    threads: Selection,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Pin,
    Unpin,
    Touch,
}

impl Pin {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        // Pinning shortens nothing, so it needs no confirmation.
        change(context, &self.threads, Verb::Pin, true).await
    }
}

impl Unpin {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        change(context, &self.threads, Verb::Unpin, self.yes).await
    }
}

impl Touch {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        change(context, &self.threads, Verb::Touch, self.yes).await
    }
}

async fn change(context: &mut Context, threads: &Selection, verb: Verb, yes: bool) -> Outcome {
    let ttl = configured_ttl(context)?;
    if ttl.is_none() && verb != Verb::Pin {
        return Err(Failure::Usage(
            "no TTL is set: set it with --ttl, such as --ttl 24h".to_owned(),
        ));
    }
    let threads = threads.required(context).await?;
    if let Some(ttl) = ttl
        && verb != Verb::Pin
        && !threads.is_empty()
    {
        // Parts of a thread may have a longer TTL than its newest checkpoint, or none.
        let what = format!(
            "would set the TTL of {} to {}, also where more time is left",
            thread_or_count(threads.iter().map(|thread| thread.thread_id.as_str())),
            text::duration(ttl)
        );
        context.confirm(yes, &what).await?;
    }
    for thread in threads {
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

/// The TTL that the settings result in.
fn configured_ttl(context: &Context) -> Outcome<Option<Duration>> {
    let Some(ttl) = context.settings.get(ConfigKey::Ttl) else {
        return Ok(None);
    };
    if ttl == "none" {
        return Ok(None);
    }
    let ttl = duration(&ttl).map_err(Failure::Usage)?;
    // With the scope `thread`, keys live a quarter longer than the TTL.
    let scope = context.settings.get(ConfigKey::TtlScope);
    Ok(Some(match scope.as_deref() {
        Some("thread") => ttl + ttl / 4,
        _ => ttl,
    }))
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
        // It expired or was deleted since it was selected.
        (false, _) | (true, None) => format!("{thread} does not exist any more"),
        (true, Some(_)) => format!("{thread} {}", text::expiry(left)),
    })
}
