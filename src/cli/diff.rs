//! `diff`: compares the state of two checkpoints.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::conversation::{Amount, say_message};
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::selection::NamespaceSelection;
use super::style::Ink;
use super::text::{bytes, count, cut, printable_json, shown};
use crate::checkpoint::CheckpointTuple;
use crate::codec::RawJson;
use crate::inspect::changes::{
    ChannelChange, Kind, Part, ValueChange, What, changes, value_changes,
};

/// The length to which a value is cut without `--full`, in characters.
const MAX_CHARS: usize = 400;

/// Show what changed in the state between two checkpoints, channel by channel
#[derive(Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    namespace: NamespaceSelection,
    /// The earlier checkpoint [default: the parent of the later]
    #[arg(value_name = "A")]
    from: Option<String>,
    /// The later checkpoint [default: the newest]
    #[arg(value_name = "B")]
    to: Option<String>,
    /// Do not cut long values
    #[arg(long)]
    full: bool,
    /// Compare the stored values as they are, messages too
    #[arg(long)]
    raw: bool,
}

impl Diff {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        let config = self.namespace.config(context)?;
        let mut later = config.clone();
        later.checkpoint_id = match &self.to {
            Some(id) => Some(context.checkpoint_id(id)?),
            None => None,
        };
        let later = context.look(&later).await?;
        let from = match (&self.from, &later.parent_config) {
            (Some(id), _) => context.checkpoint_id(id)?,
            (None, Some(parent)) => parent.required_checkpoint()?.clone(),
            (None, None) => {
                return Err(Failure::NotFound(format!(
                    "the checkpoint {} has no parent; give the checkpoint to compare it with",
                    shown(later.checkpoint.id().as_str())
                )));
            }
        };
        let earlier = context.look(&config.with_checkpoint(from)).await?;
        let output = &mut context.output;
        if output.is_json() {
            return document(output, &earlier, &later);
        }
        let (from, to) = (earlier.checkpoint.id(), later.checkpoint.id());
        output.spans(&[(Ink::Removed, &format!("--- {}", shown(from.as_str())))])?;
        output.spans(&[(Ink::Added, &format!("+++ {}", shown(to.as_str())))])?;
        if self.raw {
            return self.say_raw(output, &earlier, &later);
        }
        let changes = changes(&earlier.checkpoint, &later.checkpoint)?;
        let mut differences = 0;
        for change in &changes {
            output.spans(&[
                (Ink::Heading, &shown(&change.channel)),
                (Ink::Faint, &sizes(change)),
            ])?;
            differences += self.say(output, &change.what)?;
        }
        output.line(summary(differences, changes.len()))
    }

    /// Prints what differs in a channel, and returns how many differences that are.
    fn say(&self, output: &mut Output, what: &What) -> Outcome<usize> {
        match what {
            What::Messages { changes, unchanged } => {
                for change in changes {
                    for (sign, ink, message) in [
                        ("  - ", Ink::Removed, &change.from),
                        ("  + ", Ink::Added, &change.to),
                    ] {
                        if let Some(message) = message {
                            let amount = self.amount();
                            say_message(output, (sign, ink), change.position, message, amount)?;
                        }
                    }
                }
                if *unchanged > 0 {
                    let same = count(*unchanged as u64, "message");
                    let text = format!("    {same} the same");
                    output.spans(&[(Ink::Faint, &text)])?;
                }
                Ok(changes.len())
            }
            What::Values(changes) => {
                for change in changes {
                    self.say_value(output, change)?;
                }
                Ok(changes.len())
            }
            What::Opaque(from, to) => {
                for (sign, ink, value) in [("-", Ink::Removed, from), ("+", Ink::Added, to)] {
                    if let Some(value) = value {
                        self.say_side(output, (sign, ink), "", &value.text())?;
                    }
                }
                Ok(1)
            }
        }
    }

    fn say_value(&self, output: &mut Output, change: &ValueChange) -> Outcome {
        let place = match path(change).as_str() {
            "" => String::new(),
            path => format!("{path}: "),
        };
        let sides = [
            ("-", Ink::Removed, &change.from),
            ("+", Ink::Added, &change.to),
        ];
        for (sign, ink, value) in sides {
            if let Some(value) = value {
                self.say_side(output, (sign, ink), &place, value.as_str())?;
            }
        }
        Ok(())
    }

    fn say_side(
        &self,
        output: &mut Output,
        (sign, ink): (&str, Ink),
        place: &str,
        value: &str,
    ) -> Outcome {
        // On one line, so that no value looks like a second difference.
        let text = printable_json(value);
        let text = cut(&text, self.amount().chars);
        output.spans(&[(ink, &format!("  {sign} {place}{text}"))])
    }

    fn amount(&self) -> Amount {
        if self.full {
            Amount::ALL
        } else {
            Amount {
                chars: MAX_CHARS,
                ..Amount::ALL
            }
        }
    }

    /// Prints the places in the stored values that differ.
    fn say_raw(
        &self,
        output: &mut Output,
        earlier: &CheckpointTuple,
        later: &CheckpointTuple,
    ) -> Outcome {
        let stored = stored_changes(earlier, later)?;
        let mut differences = 0;
        for (channel, changes) in &stored {
            output.spans(&[(Ink::Heading, &shown(channel))])?;
            for change in changes {
                self.say_value(output, change)?;
            }
            differences += changes.len();
        }
        output.line(summary(differences, stored.len()))
    }
}

/// What differs in what is stored, by channel; only channels that differ.
fn stored_changes(
    earlier: &CheckpointTuple,
    later: &CheckpointTuple,
) -> Outcome<BTreeMap<String, Vec<ValueChange>>> {
    let from = earlier.checkpoint.channel_values()?;
    let to = later.checkpoint.channel_values()?;
    let channels = from.iter().chain(to.iter()).map(|(name, _)| name);
    let mut changes = BTreeMap::new();
    for channel in channels {
        let found = value_changes(from.get(channel), to.get(channel));
        if !found.is_empty() {
            changes.insert(channel.to_owned(), found);
        }
    }
    Ok(changes)
}

/// One difference, in JSON.
#[derive(Serialize)]
struct Change<'a> {
    channel: &'a str,
    /// Where in the channel's value; "" is all of it.
    path: String,
    #[serde(rename = "change")]
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: &'a Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: &'a Option<RawJson>,
}

fn document(output: &mut Output, earlier: &CheckpointTuple, later: &CheckpointTuple) -> Outcome {
    #[derive(Serialize)]
    struct Document<'a> {
        thread_id: &'a str,
        from: &'a str,
        to: &'a str,
        changes: Vec<Change<'a>>,
    }
    let stored = stored_changes(earlier, later)?;
    let changes = stored.iter().flat_map(|(channel, changes)| {
        changes.iter().map(|change| Change {
            channel,
            path: path(change),
            kind: change.kind,
            from: &change.from,
            to: &change.to,
        })
    });
    output.json(&Document {
        thread_id: later.config.thread_id.as_str(),
        from: earlier.checkpoint.id().as_str(),
        to: later.checkpoint.id().as_str(),
        changes: changes.collect(),
    })
}

/// The place of a difference in the value of its channel: `.member[3]`; "" is all of it.
fn path(change: &ValueChange) -> String {
    let part = |part: &Part| match part {
        Part::Member(name) => format!(".{}", shown(name)),
        Part::Item(position) => format!("[{position}]"),
    };
    change.path.iter().map(part).collect()
}

/// The sizes of a channel's value before and after.
fn sizes(change: &ChannelChange) -> String {
    match (change.bytes_before, change.bytes_after) {
        (Some(before), Some(after)) => format!(" ({} → {})", bytes(before), bytes(after)),
        (Some(only), None) | (None, Some(only)) => format!(" ({})", bytes(only)),
        (None, None) => String::new(),
    }
}

fn summary(differences: usize, channels: usize) -> String {
    if differences == 0 {
        return "the state is the same".to_owned();
    }
    format!(
        "{} in {}",
        count(differences as u64, "difference"),
        count(channels as u64, "channel")
    )
}
