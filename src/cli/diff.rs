//! `diff`: compares the state of two checkpoints.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::selection::NamespaceSelection;
use super::text::{count, cut, printable_json, shown};
use crate::codec::{RawJson, RawObject};
use crate::error::Result;

/// The depth to which values are compared; deeper ones are compared as a whole.
const MAX_DEPTH: usize = 64;
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
}

/// One difference.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    channel: String,
    /// Where in the channel's value; "" is all of it.
    path: String,
    #[serde(rename = "change")]
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<RawJson>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Added,
    Removed,
    Changed,
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
        let changes = changes(
            &earlier.checkpoint.channel_values()?,
            &later.checkpoint.channel_values()?,
        )?;
        let output = &mut context.output;
        let (from, to) = (earlier.checkpoint.id(), later.checkpoint.id());
        if output.is_json() {
            #[derive(Serialize)]
            struct Document<'a> {
                thread_id: &'a str,
                from: &'a str,
                to: &'a str,
                changes: &'a [Change],
            }
            return output.json(&Document {
                thread_id: later.config.thread_id.as_str(),
                from: from.as_str(),
                to: to.as_str(),
                changes: &changes,
            });
        }
        output.line(format!("--- {}", shown(from.as_str())))?;
        output.line(format!("+++ {}", shown(to.as_str())))?;
        let mut channel = None;
        for change in &changes {
            if channel != Some(&change.channel) {
                output.line(shown(&change.channel))?;
                channel = Some(&change.channel);
            }
            let place = if change.path.is_empty() {
                String::new()
            } else {
                format!("{}: ", change.path)
            };
            let values = [("-", &change.from), ("+", &change.to)];
            for (sign, value) in values {
                if let Some(value) = value {
                    // On one line, so that no value looks like a second difference.
                    let text = printable_json(value.as_str());
                    let text = if self.full {
                        text
                    } else {
                        cut(&text, MAX_CHARS).into_owned().into()
                    };
                    output.line(format!("  {sign} {place}{text}"))?;
                }
            }
        }
        let channels: BTreeSet<_> = changes.iter().map(|change| &change.channel).collect();
        output.line(match changes.len() {
            0 => "the state is the same".to_owned(),
            number => format!(
                "{} in {}",
                count(number as u64, "difference"),
                count(channels.len() as u64, "channel")
            ),
        })
    }
}

/// What differs from one set of channel values to another, by channel.
fn changes(from: &RawObject, to: &RawObject) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let channels: BTreeSet<&str> = from.iter().chain(to.iter()).map(|(name, _)| name).collect();
    for channel in channels {
        let mut walk = Walk {
            channel,
            changes: &mut changes,
        };
        walk.compare(from.get(channel), to.get(channel), "", 0)?;
    }
    Ok(changes)
}

struct Walk<'a> {
    channel: &'a str,
    changes: &'a mut Vec<Change>,
}

impl Walk<'_> {
    fn compare(
        &mut self,
        from: Option<&RawJson>,
        to: Option<&RawJson>,
        path: &str,
        level: usize,
    ) -> Result<()> {
        let (Some(one), Some(other)) = (from, to) else {
            let kind = match (from, to) {
                (None, None) => return Ok(()),
                (None, Some(_)) => Kind::Added,
                (Some(_), _) => Kind::Removed,
            };
            self.found(kind, path, from, to);
            return Ok(());
        };
        if one == other {
            return Ok(());
        }
        let starts = |json: &RawJson| json.bytes().first().copied();
        match (starts(one), starts(other)) {
            (Some(b'{'), Some(b'{')) if level < MAX_DEPTH => {
                let (one, other): (RawObject, RawObject) = (one.decode()?, other.decode()?);
                for (name, value) in one.iter() {
                    let path = format!("{path}.{}", shown(name));
                    self.compare(Some(value), other.get(name), &path, level + 1)?;
                }
                for (name, value) in other.iter().filter(|(name, _)| one.get(name).is_none()) {
                    let path = format!("{path}.{}", shown(name));
                    self.compare(None, Some(value), &path, level + 1)?;
                }
            }
            (Some(b'['), Some(b'[')) if level < MAX_DEPTH => {
                let (one, other): (Vec<RawJson>, Vec<RawJson>) = (one.decode()?, other.decode()?);
                for position in 0..one.len().max(other.len()) {
                    let path = format!("{path}[{position}]");
                    let (one, other) = (one.get(position), other.get(position));
                    self.compare(one, other, &path, level + 1)?;
                }
            }
            _ => self.found(Kind::Changed, path, from, to),
        }
        Ok(())
    }

    fn found(&mut self, kind: Kind, path: &str, from: Option<&RawJson>, to: Option<&RawJson>) {
        self.changes.push(Change {
            channel: self.channel.to_owned(),
            path: path.to_owned(),
            kind,
            from: from.cloned(),
            to: to.cloned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(from: &'static str, to: &'static str) -> Vec<String> {
        let (from, to) = (
            RawObject::parse(from).unwrap(),
            RawObject::parse(to).unwrap(),
        );
        changes(&from, &to)
            .unwrap()
            .iter()
            .map(|change| {
                let text =
                    |value: &Option<RawJson>| value.as_ref().map(|value| value.as_str().to_owned());
                format!(
                    "{}{} {:?} {} {}",
                    change.channel,
                    change.path,
                    change.kind,
                    text(&change.from).unwrap_or_default(),
                    text(&change.to).unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn what_was_added_removed_and_changed_is_told_with_its_place() {
        assert_eq!(
            described(
                r#"{"gone":1,"list":[1,{"a":1,"b":2}],"same":{"x":[1, 2]}}"#,
                r#"{"list":[1,{"a":2,"c":3},4],"new":null,"same":{"x":[1,2]}}"#
            ),
            [
                "gone Removed 1 ",
                "list[1].a Changed 1 2",
                "list[1].b Removed 2 ",
                "list[1].c Added  3",
                "list[2] Added  4",
                "new Added  null",
            ]
        );
    }

    #[test]
    fn numbers_are_compared_to_the_last_digit() {
        assert_eq!(
            described(
                r#"{"n":100000000000000000000000001,"f":1.0}"#,
                r#"{"n":100000000000000000000000002,"f":1}"#
            ),
            [
                "f Changed 1.0 1",
                "n Changed 100000000000000000000000001 100000000000000000000000002",
            ]
        );
    }

    #[test]
    fn what_is_nested_very_deep_is_compared_as_a_whole() {
        let deep = |last: &str| {
            let text = format!("{}{last}{}", "[".repeat(500), "]".repeat(500));
            RawObject::from_iter([("c", RawJson::parse(text).unwrap())])
        };
        let found = changes(&deep("1"), &deep("2")).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, Kind::Changed);
    }
}
