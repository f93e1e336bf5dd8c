//! What differs between the states of two checkpoints: messages as messages, other values by the
//! places in them.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::messages::{Message, message};
use super::values::{self, Channel, Readable};
use crate::checkpoint::Checkpoint;
use crate::codec::{RawJson, RawObject};
use crate::error::Result;

/// The depth to which values are compared; deeper ones are compared as a whole.
const MAX_DEPTH: usize = 64;

/// What happened to a channel, a message or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Added,
    Removed,
    Changed,
}

impl Kind {
    fn of<T>(from: Option<T>, to: Option<T>) -> Option<Self> {
        match (from, to) {
            (None, None) => None,
            (None, Some(_)) => Some(Self::Added),
            (Some(_), None) => Some(Self::Removed),
            (Some(_), Some(_)) => Some(Self::Changed),
        }
    }
}

/// A channel whose value differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelChange {
    pub(crate) channel: String,
    pub(crate) kind: Kind,
    /// The length of the stored value before; `None` if there was none.
    pub(crate) bytes_before: Option<u64>,
    /// The length of the stored value after; `None` if there is none.
    pub(crate) bytes_after: Option<u64>,
    pub(crate) what: What,
}

/// What differs in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Messages, of a channel that holds nothing else.
    Messages {
        changes: Vec<MessageChange>,
        /// How many are the same.
        unchanged: usize,
    },
    /// Parts of a value.
    Values(Vec<ValueChange>),
    /// A value that cannot be looked into.
    Opaque(Option<Readable>, Option<Readable>),
}

/// A message that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageChange {
    pub(crate) kind: Kind,
    /// Its position, counted from 0, where it is, or was if it was removed.
    pub(crate) position: usize,
    /// As it was.
    pub(crate) from: Option<Message>,
    /// As it is.
    pub(crate) to: Option<Message>,
}

/// A part of a value that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValueChange {
    pub(crate) kind: Kind,
    /// The way to it; empty for the whole value.
    pub(crate) path: Vec<Part>,
    pub(crate) from: Option<RawJson>,
    pub(crate) to: Option<RawJson>,
}

/// A step on the way into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The member of an object.
    Member(String),
    /// The item of a list, counted from 0.
    Item(usize),
}

/// The channels that differ from one checkpoint to another, by name.
///
/// # Errors
/// [`Error::InvalidInput`](crate::Error::InvalidInput) if the values of either are no object.
pub(crate) fn changes(from: &Checkpoint, to: &Checkpoint) -> Result<Vec<ChannelChange>> {
    let (from, to) = (by_name(from)?, by_name(to)?);
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let (before, after) = (from.get(name), to.get(name));
        if before.map(|one| &one.value) == after.map(|one| &one.value) {
            continue;
        }
        let Some(kind) = Kind::of(before, after) else {
            continue;
        };
        let what = what(before.map(|one| &one.value), after.map(|one| &one.value));
        changes.push(ChannelChange {
            channel: name.clone(),
            kind,
            bytes_before: before.map(|one| one.bytes),
            bytes_after: after.map(|one| one.bytes),
            what,
        });
    }
    Ok(changes)
}

fn by_name(checkpoint: &Checkpoint) -> Result<HashMap<String, Channel>> {
    let channels = values::channels(checkpoint)?.into_iter();
    Ok(channels.map(|one| (one.name.clone(), one)).collect())
}

fn what(from: Option<&Readable>, to: Option<&Readable>) -> What {
    let sides = [from, to].map(|side| side.map(Readable::json));
    let [from_json, to_json] = sides.map(Option::flatten);
    if sides.contains(&Some(None)) {
        return What::Opaque(from.cloned(), to.cloned());
    }
    message_changes(from_json, to_json)
        .unwrap_or_else(|| What::Values(value_changes(from_json, to_json)))
}

/// The messages that differ, found by their ids; `None` if a value is no list of messages, or if
/// all that differs is their order or what is not shown of them.
fn message_changes(from: Option<&RawJson>, to: Option<&RawJson>) -> Option<What> {
    let (from, to) = (message_list(from)?, message_list(to)?);
    let mut by_id: HashMap<&str, usize> = HashMap::new();
    for (position, (_, message)) in from.iter().enumerate() {
        if let Some(id) = &message.id
            && by_id.insert(id, position).is_some()
        {
            // Ids that stand for two messages tell nothing.
            return None;
        }
    }
    let mut known = vec![false; from.len()];
    let mut changes = Vec::new();
    let mut unchanged = 0;
    for (position, (json, message)) in to.iter().enumerate() {
        let before = match &message.id {
            Some(id) => by_id.get(id.as_str()).copied(),
            // A message without an id is known by its place.
            None => (from.get(position)).and_then(|(_, old)| old.id.is_none().then_some(position)),
        };
        let before = before.filter(|before| !known[*before]);
        let Some(before) = before else {
            changes.push(MessageChange {
                kind: Kind::Added,
                position,
                from: None,
                to: Some(message.clone()),
            });
            continue;
        };
        known[before] = true;
        let (old_json, old) = &from[before];
        if old_json == json {
            unchanged += 1;
        } else {
            changes.push(MessageChange {
                kind: Kind::Changed,
                position,
                from: Some(old.clone()),
                to: Some(message.clone()),
            });
        }
    }
    let gone = from.into_iter().enumerate().zip(known);
    let gone = gone.filter(|(_, known)| !known);
    let removed = gone.map(|((position, (_, message)), _)| MessageChange {
        kind: Kind::Removed,
        position,
        from: Some(message),
        to: None,
    });
    let mut all: Vec<_> = removed.collect();
    all.extend(changes);
    let told = |change: &MessageChange| change.from != change.to;
    (!all.is_empty() && all.iter().all(told)).then_some(What::Messages {
        changes: all,
        unchanged,
    })
}

/// The messages of a list with their text; a value that is not there is an empty list.
fn message_list(value: Option<&RawJson>) -> Option<Vec<(RawJson, Message)>> {
    let Some(value) = value else {
        return Some(Vec::new());
    };
    if value.bytes().first() != Some(&b'[') {
        return None;
    }
    let items: Vec<RawJson> = value.decode().ok()?;
    let items = items.into_iter().map(|json| {
        let message = message(&json)?;
        Some((json, message))
    });
    items.collect()
}

/// The places at which two values differ; `None` is a value that is not there.
pub(crate) fn value_changes(from: Option<&RawJson>, to: Option<&RawJson>) -> Vec<ValueChange> {
    let mut walk = Walk {
        path: Vec::new(),
        changes: Vec::new(),
    };
    walk.compare(from, to);
    walk.changes
}

struct Walk {
    path: Vec<Part>,
    changes: Vec<ValueChange>,
}

impl Walk {
    fn compare(&mut self, from: Option<&RawJson>, to: Option<&RawJson>) {
        let (Some(one), Some(other)) = (from, to) else {
            self.found(from, to);
            return;
        };
        if one == other {
            return;
        }
        let starts = |json: &RawJson| json.bytes().first().copied();
        let deep = self.path.len() >= MAX_DEPTH;
        match (starts(one), starts(other)) {
            (Some(b'{'), Some(b'{')) if !deep => {
                let parse = |json: &RawJson| RawObject::parse(json.bytes().clone());
                let (Ok(one), Ok(other)) = (parse(one), parse(other)) else {
                    return self.found(from, to);
                };
                for (name, value) in one.iter() {
                    self.part(Part::Member(name.to_owned()), Some(value), other.get(name));
                }
                for (name, value) in other.iter().filter(|(name, _)| one.get(name).is_none()) {
                    self.part(Part::Member(name.to_owned()), None, Some(value));
                }
            }
            (Some(b'['), Some(b'[')) if !deep => {
                let (Ok(one), Ok(other)) =
                    (one.decode::<Vec<RawJson>>(), other.decode::<Vec<RawJson>>())
                else {
                    return self.found(from, to);
                };
                for position in 0..one.len().max(other.len()) {
                    let (one, other) = (one.get(position), other.get(position));
                    self.part(Part::Item(position), one, other);
                }
            }
            _ => self.found(from, to),
        }
    }

    fn part(&mut self, part: Part, from: Option<&RawJson>, to: Option<&RawJson>) {
        self.path.push(part);
        self.compare(from, to);
        self.path.pop();
    }

    fn found(&mut self, from: Option<&RawJson>, to: Option<&RawJson>) {
        self.changes
            .extend(Kind::of(from, to).map(|kind| ValueChange {
                kind,
                path: self.path.clone(),
                from: from.cloned(),
                to: to.cloned(),
            }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(from: &'static str, to: &'static str) -> Vec<String> {
        let parse = |json| RawJson::parse(json).unwrap();
        value_changes(Some(&parse(from)), Some(&parse(to)))
            .iter()
            .map(|change| {
                let path: String = change
                    .path
                    .iter()
                    .map(|part| match part {
                        Part::Member(name) => format!(".{name}"),
                        Part::Item(position) => format!("[{position}]"),
                    })
                    .collect();
                let text = |value: &Option<RawJson>| match value {
                    Some(value) => value.as_str().to_owned(),
                    None => String::new(),
                };
                let (from, to) = (text(&change.from), text(&change.to));
                format!("{path} {:?} {from} {to}", change.kind)
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
                ".gone Removed 1 ",
                ".list[1].a Changed 1 2",
                ".list[1].b Removed 2 ",
                ".list[1].c Added  3",
                ".list[2] Added  4",
                ".new Added  null",
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
                ".n Changed 100000000000000000000000001 100000000000000000000000002",
                ".f Changed 1.0 1",
            ]
        );
    }

    #[test]
    fn what_is_nested_very_deep_is_compared_as_a_whole() {
        let deep = |last: &str| {
            let text = format!("{}{last}{}", "[".repeat(500), "]".repeat(500));
            RawJson::parse(text).unwrap()
        };
        let found = value_changes(Some(&deep("1")), Some(&deep("2")));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, Kind::Changed);
        assert_eq!(found[0].path.len(), MAX_DEPTH);
    }

    /// What differs between two values of the channel `messages`.
    fn messages(from: &str, to: &str) -> What {
        let checkpoint = |value: &str| {
            let json = format!(r#"{{"id":"1","channel_values":{{"messages":{value}}}}}"#);
            Checkpoint::from_json(json).unwrap()
        };
        let mut changes = changes(&checkpoint(from), &checkpoint(to)).unwrap();
        assert_eq!(changes.len(), 1, "{changes:?}");
        changes.remove(0).what
    }

    /// The kind, the position, and the texts before and after.
    type Told = (Kind, usize, Option<String>, Option<String>);

    fn told(what: What) -> (Vec<Told>, usize) {
        let What::Messages { changes, unchanged } = what else {
            panic!("{what:?}");
        };
        let text = |message: &Option<Message>| message.as_ref().map(Message::text);
        let told = changes
            .iter()
            .map(|change| {
                let (from, to) = (text(&change.from), text(&change.to));
                (change.kind, change.position, from, to)
            })
            .collect();
        (told, unchanged)
    }

    #[test]
    fn messages_are_compared_by_their_ids() {
        let (told, unchanged) = told(messages(
            r#"[{"type":"human","id":"1","content":"a"},{"type":"ai","id":"2","content":"b"},
            {"type":"ai","id":"3","content":"c"}]"#,
            r#"[{"type":"ai","id":"2","content":"B"},{"type":"ai","id":"3","content":"c"},
            {"type":"human","id":"4","content":"d"}]"#,
        ));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            told,
            [
                (Kind::Removed, 0, text("a"), None),
                (Kind::Changed, 0, text("b"), text("B")),
                (Kind::Added, 2, None, text("d")),
            ]
        );
        assert_eq!(unchanged, 1);
    }

    #[test]
    fn messages_without_ids_are_compared_by_their_places() {
        let (told, unchanged) = told(messages(
            r#"[{"role":"user","content":"a"}]"#,
            r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]"#,
        ));
        assert_eq!(told, [(Kind::Added, 1, None, Some("b".to_owned()))]);
        assert_eq!(unchanged, 1);
    }

    #[test]
    fn what_a_message_does_not_show_is_told_as_a_value() {
        let what = messages(
            r#"[{"type":"ai","id":"1","content":"a","extra":1}]"#,
            r#"[{"type":"ai","id":"1","content":"a","extra":2}]"#,
        );
        let What::Values(changes) = what else {
            panic!("{what:?}");
        };
        let path = [Part::Item(0), Part::Member("extra".to_owned())];
        assert_eq!(changes[0].path, path);
        let twice =
            r#"[{"type":"ai","id":"1","content":"a"},{"type":"ai","id":"1","content":"b"}]"#;
        let what = messages(twice, r#"[{"type":"ai","id":"1","content":"b"}]"#);
        assert!(matches!(what, What::Values(_)), "{what:?}");
    }
}
