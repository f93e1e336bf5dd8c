//! `show`: prints a checkpoint.

use std::collections::BTreeMap;

use clap::Args;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::record::tuple_json;
use super::selection::NamespaceSelection;
use super::text::{bytes, count, cut, pretty, shown, shown_namespace, time};
use crate::checkpoint::{CheckpointTuple, PendingWrite};

/// The length to which a value is cut without `--full`, in characters.
const MAX_CHARS: usize = 2_000;

/// Show a checkpoint: its metadata, the values of its channels and its pending writes
#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    namespace: NamespaceSelection,
    /// The checkpoint [default: the newest]
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: Option<String>,
    /// Only the value of this channel, uncut
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Do not cut long values
    #[arg(long)]
    full: bool,
}

impl Show {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let mut config = self.namespace.config(context)?;
        if let Some(checkpoint) = &self.checkpoint {
            config = config.with_checkpoint(context.checkpoint_id(checkpoint)?);
        }
        let tuple = context.look(&config).await?;
        let output = &mut context.output;
        if let Some(channel) = &self.channel {
            let values = tuple.checkpoint.channel_values()?;
            let value = values.get(channel).ok_or_else(|| {
                Failure::NotFound(format!(
                    "the checkpoint has no value for the channel {}",
                    shown(channel)
                ))
            })?;
            return if output.is_json() {
                output.raw_json(value)
            } else {
                output.line(pretty(value.as_str()))
            };
        }
        if output.is_json() {
            return output.raw_json(&tuple_json(&tuple)?);
        }
        self.say(output, &tuple)
    }

    fn say(&self, output: &mut Output, tuple: &CheckpointTuple) -> Outcome {
        let checkpoint = &tuple.checkpoint;
        let parent = tuple.parent_config.as_ref();
        let parent = parent.and_then(|parent| parent.checkpoint_id.as_ref());
        let made = time(checkpoint.id(), checkpoint.ts().as_deref());
        for (name, value) in [
            ("thread", shown(tuple.config.thread_id.as_str())),
            ("namespace", shown_namespace(&tuple.config.namespace())),
            ("checkpoint", shown(checkpoint.id().as_str())),
            (
                "parent",
                parent.map_or("none".into(), |id| shown(id.as_str())),
            ),
            ("made (UTC)", made.into()),
        ] {
            output.line(format!("{name:<10}  {value}"))?;
        }
        output.line("metadata")?;
        self.value(output, tuple.metadata.to_json().as_str())?;
        let values = checkpoint.channel_values()?;
        // The values are shown even if the versions cannot be read.
        let versions: BTreeMap<_, _> = checkpoint.channel_versions().unwrap_or_default();
        output.line(count(values.len() as u64, "channel"))?;
        for (channel, value) in values.iter() {
            let version = versions
                .get(channel)
                .map(|version| format!(", version {}", shown(&version.to_string())))
                .unwrap_or_default();
            let size = bytes(value.bytes().len() as u64);
            output.line(format!("  {} ({size}{version})", shown(channel)))?;
            self.value(output, value.as_str())?;
        }
        output.line(count(tuple.pending_writes.len() as u64, "pending write"))?;
        for write in &tuple.pending_writes {
            self.write(output, write)?;
        }
        Ok(())
    }

    fn write(&self, output: &mut Output, write: &PendingWrite) -> Outcome {
        let path = if write.task_path.is_empty() {
            String::new()
        } else {
            format!(", path {}", shown(&write.task_path))
        };
        output.line(format!(
            "  {} (task {}{path}, index {}, {} of {})",
            shown(&write.channel),
            shown(write.task_id.as_str()),
            write.idx,
            shown(&write.value.type_name),
            bytes(write.value.blob.len() as u64),
        ))?;
        match std::str::from_utf8(&write.value.blob) {
            Ok(text) if write.value.type_name == "json" => self.value(output, text),
            // Other types can be decoded only by the writer's serializer.
            _ => Ok(()),
        }
    }

    fn value(&self, output: &mut Output, json: &str) -> Outcome {
        let text = pretty(json);
        let text = if self.full {
            text.into()
        } else {
            cut(&text, MAX_CHARS)
        };
        for line in text.lines() {
            output.line(format!("    {line}"))?;
        }
        Ok(())
    }
}
