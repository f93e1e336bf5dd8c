//! `gc`: removes what nothing refers to any more.

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::progress::Meter;
use super::selection::Selection;
use super::text::{count, shown};
use crate::id::ThreadId;
use crate::redis::Layout;

/// Remove the parts and blobs of threads that no checkpoint refers to any more
///
/// `prune` and `delete --run` do this for the threads that they change. What is removed is no part
/// of any checkpoint, so there is nothing to confirm; `doctor` counts it and removes nothing.
#[derive(Args)]
pub(crate) struct Gc {
    #[command(flatten)]
    threads: Selection,
}

impl Gc {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let threads = self.threads.required(context).await?;
        let what = match context.saver.layout() {
            Layout::Compact => "part",
            Layout::Json => "blob",
        };
        let meter = Meter::bar("threads examined", threads.len() as u64);
        let mut removed = 0_u64;
        let mut written: Vec<ThreadId> = Vec::new();
        for thread in &threads {
            match context.saver.collect(&thread.thread_id).await? {
                Some(more) => removed += more,
                None => written.push(thread.thread_id.clone()),
            }
            meter.add(1);
        }
        drop(meter);
        if context.output.is_json() {
            context.output.json(&json!({
                "threads": threads.len(),
                "removed": removed,
                "being_written": written,
            }))?;
        } else {
            let threads = count(threads.len() as u64, "thread");
            context
                .output
                .line(format!("removed {} of {threads}", count(removed, what)))?;
        }
        match written.first() {
            None => Ok(()),
            Some(first) => Err(Failure::Unavailable(format!(
                "{} {} being written to, {} first: run the command again",
                count(written.len() as u64, "thread"),
                if written.len() == 1 { "is" } else { "are" },
                shown(first.as_str()),
            ))),
        }
    }
}
