//! `pin`, `unpin` and `touch`: how long threads stay.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::delete::named;
use super::failure::{Failure, Outcome};
use super::selection::Selection;
use super::text::{self, shown};
use super::threads::milliseconds;
use crate::id::ThreadId;
use crate::redis::{ConfigKey, duration};
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
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

/// Give threads the TTL of --ttl anew; what is kept for ever stays so
#[derive(Args)]
pub(crate) struct Touch {
    #[command(flatten)]
    threads: Selection,
    /// Do it without asking
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
        // What is pinned loses nothing.
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
    let ttl = given_ttl(context)?;
    if ttl.is_none() && verb != Verb::Pin {
        return Err(Failure::Usage(
            "no TTL is set: give the one that the threads should have with --ttl, such as --ttl 24h"
                .to_owned(),
        ));
    }
    let threads = threads.required(context).await?;
    if let Some(ttl) = ttl
        && verb != Verb::Pin
        && !threads.is_empty()
    {
        // Some of a thread may stay longer now, or for ever, than its newest checkpoint tells.
        let what = format!(
            "would let {} stay {}, also what stays longer now",
            named(threads.iter().map(|thread| thread.thread_id.as_str())),
            text::ttl(Some(ttl))
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

/// How long the TTL that is set keeps what it is given to.
fn given_ttl(context: &Context) -> Outcome<Option<Duration>> {
    let Some(ttl) = context.settings.get(ConfigKey::Ttl) else {
        return Ok(None);
    };
    if ttl == "none" {
        return Ok(None);
    }
    let ttl = duration(&ttl).map_err(Failure::Usage)?;
    // A thread that is kept whole gets a quarter more than was asked for.
    let is_whole = context.settings.get(ConfigKey::TtlScope);
    Ok(Some(match is_whole.as_deref() {
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
        // It expired, or someone deleted it.
        (false, _) | (true, None) => format!("{thread} is gone"),
        (true, Some(_)) => format!("{thread} stays {}", text::ttl(left)),
    })
}
