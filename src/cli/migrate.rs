//! `migrate`: copies threads to another layout, and checks each copy by its digest.

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::item_store::{ItemStore, Tally};
use super::items::{TakeItems, read_thread};
use super::progress::Meter;
use super::record::{Counts, Item};
use super::selection::Selection;
use super::text::{count, shown};
use super::ttl::TtlArgs;
use crate::RedisSaver;
use crate::id::ThreadId;
use crate::options::DeleteOptions;
use crate::redis::{ConfigKey, Layout};
use crate::saver::CheckpointSaver;

/// The variable with the URL of the server that threads are copied to.
const TO_URL: &str = "LANGGRAPH_REDIS_TO_URL";

/// Copy threads to another layout, on the same server or another, and check each copy by its digest
///
/// Idempotent: an interrupted run can be repeated, and a later one copies what came since.
/// Everything keeps the TTL that it has left, unless --ttl or --forever is given.
#[derive(Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    threads: Selection,
    /// The layout to copy to: json or compact
    #[arg(long, value_name = "LAYOUT", value_parser = layout)]
    to_layout: Layout,
    /// The prefix to copy to, as --prefix has it; one prefix holds one layout
    #[arg(long, value_name = "NAME")]
    to_prefix: Option<String>,
    /// The server to copy to [default: the same] [env: LANGGRAPH_REDIS_TO_URL]
    #[arg(long, value_name = "URL")]
    to_url: Option<String>,
    /// Delete each thread after its copy was checked; nothing may write to it here any more
    #[arg(long)]
    delete_source: bool,
    #[command(flatten)]
    ttl: TtlArgs,
    /// Do not ask for confirmation; for --delete-source
    #[arg(long)]
    yes: bool,
    /// Only print what would be copied
    #[arg(long)]
    dry_run: bool,
}

fn layout(name: &str) -> Result<Layout, &'static str> {
    let mut layouts = [Layout::Json, Layout::Compact].into_iter();
    let found = layouts.find(|layout| layout.as_str() == name);
    found.ok_or("it is json or compact")
}

impl Migrate {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let rule = self.ttl.rule(&context.settings)?;
        let threads = self.threads.required(context).await?;
        let checkpoints = threads.iter().map(|thread| thread.checkpoints).sum();
        let selected = format!(
            "{} with {}",
            count(threads.len() as u64, "thread"),
            count(checkpoints, "checkpoint")
        );
        let target = self.target(context).await?;
        if self.dry_run {
            target.close().await;
            if context.output.is_json() {
                return context.output.json(&json!({
                    "threads": threads.len(),
                    "checkpoints": checkpoints,
                    "migrated": false,
                }));
            }
            let line = format!("would copy {selected} to the layout {}", self.to_layout);
            return context.output.line(line);
        }
        if self.delete_source {
            let what = format!("would delete {selected} after they were copied");
            context.confirm(self.yes, &what).await?;
        }
        target.setup().await?;
        let meter = Meter::bar("checkpoints migrated", checkpoints);
        let mut store = ItemStore::new(&target, rule);
        let mut deleted = 0_u64;
        for thread in &threads {
            let copied = copy(&context.saver, &thread.thread_id, &mut store, &meter).await?;
            check(&target, &thread.thread_id, copied).await?;
            if self.delete_source {
                delete(&context.saver, &thread.thread_id, copied).await?;
                deleted += 1;
            }
        }
        drop(meter);
        let tally = store.tally;
        target.close().await;
        self.say(context, tally, deleted)
    }

    /// The saver that stores the copies.
    async fn target(&self, context: &Context) -> Outcome<RedisSaver> {
        let url = self.to_url.clone().or_else(|| std::env::var(TO_URL).ok());
        if url.is_none() && self.to_prefix.is_none() {
            return Err(Failure::Usage(
                "one prefix holds one layout: give the prefix to copy to with --to-prefix, or another server with --to-url"
                    .to_owned(),
            ));
        }
        let layout = context.saver.layout();
        if layout == self.to_layout {
            return Err(Failure::Usage(format!(
                "the threads are in the layout {layout} already: `export` and `import` copy them as they are, and --layout says which layout they have"
            )));
        }
        let mut builder = context.settings.builder().keys_for_both_layouts();
        builder = builder.set(ConfigKey::Layout, self.to_layout.as_str());
        if let Some(url) = &url {
            builder = builder.url(url);
        }
        if let Some(prefix) = &self.to_prefix {
            builder = builder.prefix(prefix);
        }
        let target = builder.build().await?;
        if target.layout() != self.to_layout {
            return Err(Failure::Usage(format!(
                "the URL has the layout {}: take it out of the URL, and give the layouts with --layout and --to-layout",
                target.layout()
            )));
        }
        Ok(target)
    }

    fn say(&self, context: &mut Context, tally: Tally, deleted: u64) -> Outcome {
        if context.output.is_json() {
            return context.output.json(&json!({
                "threads": tally.threads,
                "checkpoints": tally.stored.checkpoints,
                "writes": tally.stored.writes,
                "blobs": tally.stored.blobs,
                "there_already": tally.there,
                "deleted": deleted,
                "migrated": true,
            }));
        }
        let mut parts = vec![format!(
            "copied {} with {} to the layout {}, checked by digest",
            count(tally.threads, "thread"),
            tally.stored.text(),
            self.to_layout
        )];
        if tally.there > 0 {
            parts.push(format!(
                "{} stored there already",
                count(tally.there, "checkpoint")
            ));
        }
        if self.delete_source {
            parts.push(format!("deleted {}", count(deleted, "thread")));
        }
        context.output.line(parts.join("; "))
    }
}

/// The digest of all of a thread, whatever order its parts come in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ThreadDigest {
    counts: Counts,
    /// The sum of the digests of its parts, in two halves.
    sum: [u128; 2],
}

impl ThreadDigest {
    /// Adds a part, and returns how many bytes it has.
    fn add(&mut self, item: &Item) -> Outcome<usize> {
        self.counts += item.counts();
        let (digest, bytes) = item.digest()?;
        let (halves, _) = digest.as_chunks::<16>();
        for (sum, half) in self.sum.iter_mut().zip(halves) {
            *sum = sum.wrapping_add(u128::from_be_bytes(*half));
        }
        Ok(bytes)
    }
}

impl TakeItems for ThreadDigest {
    async fn take(&mut self, item: Item) -> Outcome {
        self.add(&item).map(drop)
    }
}

async fn digest(saver: &RedisSaver, thread: &ThreadId) -> Outcome<ThreadDigest> {
    let mut digest = ThreadDigest::default();
    read_thread(saver, thread, &mut digest).await?;
    Ok(digest)
}

/// A thread on its way.
struct Copying<'a, 'b> {
    store: &'a mut ItemStore<'b>,
    digest: ThreadDigest,
    meter: &'a Meter,
}

impl TakeItems for Copying<'_, '_> {
    async fn take(&mut self, item: Item) -> Outcome {
        let bytes = self.digest.add(&item)?;
        self.meter.add(item.counts().checkpoints);
        self.store.take(item, bytes).await
    }
}

/// Copies a thread, and returns the digest of what was read.
async fn copy(
    source: &RedisSaver,
    thread: &ThreadId,
    store: &mut ItemStore<'_>,
    meter: &Meter,
) -> Outcome<ThreadDigest> {
    let mut copying = Copying {
        store,
        digest: ThreadDigest::default(),
        meter,
    };
    read_thread(source, thread, &mut copying).await?;
    let digest = copying.digest;
    store.end_thread().await?;
    Ok(digest)
}

/// Fails unless a copy has the digest of what was read.
async fn check(target: &RedisSaver, thread: &ThreadId, copied: ThreadDigest) -> Outcome {
    let found = digest(target, thread).await?;
    if found == copied {
        return Ok(());
    }
    Err(Failure::Conflict(format!(
        "the copy of thread {} has {}, and {} were read: it was written to there or is another thread, so delete it there and run the command again",
        shown(thread.as_str()),
        found.counts.text(),
        copied.counts.text(),
    )))
}

/// Deletes a thread, unless it was written to since it was read.
async fn delete(source: &RedisSaver, thread: &ThreadId, copied: ThreadDigest) -> Outcome {
    if digest(source, thread).await? != copied {
        return Err(Failure::Conflict(format!(
            "thread {} was written to while it was copied, and is not deleted: run the command again when nothing writes to it here",
            shown(thread.as_str()),
        )));
    }
    source
        .delete_thread(thread, &DeleteOptions::default())
        .await?;
    Ok(())
}
