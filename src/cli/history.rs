//! `history`: lists the checkpoints of a thread with the tree of its forks.

use clap::Args;
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::graph::draw;
use super::output::Output;
use super::text::{shown, shown_namespace, time};
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::filter::MetadataFilter;
use crate::id::CheckpointNamespace;
use crate::inspect::lanes::Lanes;
use crate::options::ListOptions;
use crate::saver::CheckpointSaver;

/// Show the checkpoints of a thread, newest first, with the tree of its forks
#[derive(Args)]
pub(crate) struct History {
    /// The thread
    #[arg(value_name = "THREAD")]
    thread: String,
    /// Only this namespace; "" is the root graph's
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only checkpoints older than this one
    #[arg(long, value_name = "CHECKPOINT")]
    before: Option<String>,
    /// Only checkpoints whose metadata contains these members, as JSON: {"source":"fork"}
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// At most this many checkpoints of each namespace
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 50,
        conflicts_with = "every"
    )]
    limit: usize,
    /// All checkpoints
    #[arg(long)]
    every: bool,
}

impl History {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let thread_id = context.thread_id(&self.thread)?;
        let namespaces = match &self.namespace {
            Some(namespace) => vec![context.namespace(namespace)?],
            None => context.saver.namespaces(&thread_id).await?,
        };
        let mut options = ListOptions::default();
        if let Some(before) = &self.before {
            options = options.with_before(context.checkpoint_id(before)?);
        }
        if let Some(filter) = self.filter.clone() {
            options = options.with_filter(MetadataFilter::from_json(filter)?);
        }
        // One more, to find out whether there are more.
        if !self.every {
            options = options.with_limit(self.limit.saturating_add(1));
        }
        if context.saver.thread(&thread_id).await?.is_none() {
            return Err(Failure::no_such_thread(&thread_id));
        }
        if self.namespace.is_some() {
            let there = context.saver.namespaces(&thread_id).await?;
            if let Some(missing) = namespaces.iter().find(|one| !there.contains(one)) {
                return Err(Failure::no_checkpoint(&thread_id, missing));
            }
        }
        for namespace in namespaces {
            let mut config = CheckpointConfig::of_thread(thread_id.clone());
            config.checkpoint_ns = Some(namespace.clone());
            let checkpoints = context.saver.list(Some(&config), options.clone());
            self.say(&mut context.output, &namespace, checkpoints)
                .await?;
        }
        Ok(())
    }

    async fn say(
        &self,
        output: &mut Output,
        namespace: &CheckpointNamespace,
        mut checkpoints: crate::SaverStream<CheckpointTuple>,
    ) -> Outcome {
        let mut lanes = Lanes::default();
        let mut left = if self.every { usize::MAX } else { self.limit };
        let mut first = true;
        while let Some(tuple) = checkpoints.try_next().await? {
            if left == 0 {
                if !output.is_json() {
                    output.line(
                        "… there are more: --every shows all, --before the ones before a checkpoint",
                    )?;
                }
                return Ok(());
            }
            left -= 1;
            if output.is_json() {
                output.json(&document(&tuple))?;
                continue;
            }
            if first {
                output.line(format!("namespace {}", shown_namespace(namespace)))?;
                output.line(format!(
                    "{:<36}  {:<19}  {:>5}  {:<8}  {:>6}  TREE",
                    "CHECKPOINT", "MADE (UTC)", "STEP", "SOURCE", "WRITES"
                ))?;
                first = false;
            }
            row(output, &mut lanes, &tuple)?;
        }
        Ok(())
    }
}

fn row(output: &mut Output, lanes: &mut Lanes, tuple: &CheckpointTuple) -> Outcome {
    let id = tuple.checkpoint.id();
    let parent = tuple
        .parent_config
        .as_ref()
        .and_then(|parent| parent.checkpoint_id.as_ref());
    let place = lanes.place(id, parent);
    let drawn = draw(&place);
    if let Some(joint) = &drawn.joint {
        output.line(format!("{:<84}{joint}", ""))?;
    }
    let meets = if place.children.len() > 1 {
        format!("  {} branches start here", place.children.len())
    } else {
        String::new()
    };
    let step = tuple.metadata.get::<i64>("step").ok().flatten();
    output.line(format!(
        "{:<36}  {:<19}  {:>5}  {:<8}  {:>6}  {}{meets}",
        shown(id.as_str()),
        time(id, tuple.checkpoint.ts().as_deref()),
        step.map_or_else(|| "-".to_owned(), |step| step.to_string()),
        source(tuple).as_deref().map_or("-".into(), shown),
        tuple.pending_writes.len(),
        drawn.line.trim_end(),
    ))
}

fn source(tuple: &CheckpointTuple) -> Option<String> {
    tuple.metadata.get("source").ok().flatten()
}

fn document(tuple: &CheckpointTuple) -> Value {
    let parent = tuple.parent_config.as_ref();
    json!({
        "thread_id": tuple.config.thread_id,
        "checkpoint_ns": tuple.config.namespace(),
        "checkpoint_id": tuple.checkpoint.id(),
        "parent_checkpoint_id": parent.and_then(|parent| parent.checkpoint_id.as_ref()),
        "ts": tuple.checkpoint.ts(),
        "step": tuple.metadata.get::<i64>("step").ok().flatten(),
        "source": source(tuple),
        "run_id": tuple.metadata.get::<String>("run_id").ok().flatten(),
        "pending_writes": tuple.pending_writes.len(),
    })
}
