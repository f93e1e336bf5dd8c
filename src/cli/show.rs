//! `show`: prints a checkpoint.

use std::collections::BTreeMap;

use clap::Args;

use super::context::Context;
use super::conversation::{Amount, say_messages, say_value};
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::record::tuple_json;
use super::selection::NamespaceSelection;
use super::style::Ink;
use super::text::{bytes, count, cut, pretty, printable_json, shown, shown_namespace, time};
use crate::checkpoint::{Checkpoint, CheckpointTuple, PendingWrite};
use crate::inspect::interrupts::{python_command, python_config};
use crate::inspect::messages::{Message, messages};
use crate::inspect::status::{self, Status};
use crate::inspect::values::{Channel, Readable, channels, readable};

/// The length to which a text or a value is cut without `--full`, in characters.
const MAX_CHARS: usize = 2_000;
/// How many messages of a channel are shown without `--full`.
const MAX_MESSAGES: usize = 20;

/// Show a checkpoint: its status, the values of its channels and its pending writes
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
    /// Show values as they are stored, messages too
    #[arg(long)]
    raw: bool,
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
        if !self.raw {
            say_state(output, tuple)?;
        }
        output.spans(&[(Ink::Heading, "metadata")])?;
        let amount = self.amount();
        say_value(output, &Readable::Json(tuple.metadata.to_json()), amount)?;
        // The values are shown even if the versions cannot be read.
        let versions: BTreeMap<_, _> = checkpoint.channel_versions().unwrap_or_default();
        let channels = if self.raw {
            stored(checkpoint)?
        } else {
            channels(checkpoint)?
        };
        let number = count(channels.len() as u64, "channel");
        output.spans(&[(Ink::Heading, &number)])?;
        for channel in &channels {
            let version = versions
                .get(&channel.name)
                .map(|version| format!(", version {}", shown(&version.to_string())))
                .unwrap_or_default();
            let messages = self.messages_of(&channel.value);
            let holds = messages
                .as_ref()
                .map(|messages| format!(": {}", count(messages.len() as u64, "message")))
                .unwrap_or_default();
            output.line(format!(
                "  {} ({}{version}){holds}",
                shown(&channel.name),
                bytes(channel.bytes)
            ))?;
            self.value(output, &channel.value, messages.as_deref())?;
        }
        let number = count(tuple.pending_writes.len() as u64, "pending write");
        output.spans(&[(Ink::Heading, &number)])?;
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
        if self.raw && write.value.type_name != "json" {
            return Ok(());
        }
        match readable(&write.value) {
            // The line above says it.
            Readable::Json(json) if json.as_str() == "null" => Ok(()),
            value => {
                let messages = self.messages_of(&value);
                self.value(output, &value, messages.as_deref())
            }
        }
    }

    fn messages_of(&self, value: &Readable) -> Option<Vec<Message>> {
        if self.raw {
            return None;
        }
        messages(value.json()?)
    }

    fn value(
        &self,
        output: &mut Output,
        value: &Readable,
        messages: Option<&[Message]>,
    ) -> Outcome {
        match messages {
            Some(messages) => say_messages(output, messages, self.amount()),
            None => say_value(output, value, self.amount()),
        }
    }

    fn amount(&self) -> Amount {
        if self.full {
            Amount::ALL
        } else {
            Amount {
                chars: MAX_CHARS,
                messages: MAX_MESSAGES,
            }
        }
    }
}

/// The values as they are stored, whatever they hold.
fn stored(checkpoint: &Checkpoint) -> Outcome<Vec<Channel>> {
    let values = checkpoint.channel_values()?;
    let channels = values.iter().map(|(name, value)| Channel {
        name: name.to_owned(),
        bytes: value.bytes().len() as u64,
        value: Readable::Json(value.clone()),
    });
    Ok(channels.collect())
}

/// Says what the run of a checkpoint came to: the status, the nodes to run, what failed, and what
/// is waited for with what to paste.
fn say_state(output: &mut Output, tuple: &CheckpointTuple) -> Outcome {
    let state = status::of_checkpoint(tuple);
    let ink = match state.status {
        Status::Idle | Status::Unfinished => Ink::Plain,
        Status::Interrupted => Ink::Attention,
        Status::Error => Ink::Bad,
    };
    output.spans(&[(Ink::Plain, "status      "), (ink, state.status.as_str())])?;
    if !state.next.is_empty() {
        let nodes: Vec<_> = state.next.iter().map(|node| shown(node)).collect();
        output.line(format!("{:<10}  {}", "next", nodes.join(", ")))?;
    }
    for error in &state.errors {
        let node = error.node.as_deref().map_or("?".into(), shown);
        let text = printable_json(&error.error.text()).into_owned();
        let text = cut(&text, MAX_CHARS);
        output.spans(&[
            (Ink::Plain, "failed      "),
            (Ink::Bad, &format!("{node}: {text}")),
        ])?;
    }
    for interrupt in &state.interrupts {
        let node = interrupt.node.as_deref().map_or("?".into(), shown);
        let text = printable_json(&interrupt.value.text()).into_owned();
        let text = cut(&text, MAX_CHARS);
        let word = if interrupt.answered {
            "answered"
        } else {
            "waits"
        };
        output.spans(&[
            (Ink::Plain, &format!("{word:<10}  ")),
            (Ink::Attention, &format!("{node}: {text}")),
        ])?;
        // A run is resumed at the root graph.
        if tuple.config.namespace().is_root()
            && let Some(command) = python_command(&state.interrupts, interrupt)
        {
            let config = python_config(&tuple.config);
            output.line(format!("{:<12}graph.invoke({command}, {config})", ""))?;
        }
    }
    Ok(())
}
