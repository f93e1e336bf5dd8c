//! The schema of the indexes: how they are made, and how one that is there differs.

use bytes::Bytes;

use crate::redis::args::text;
use crate::redis::driver::{Command, Reply};

/// The separator of tags in our own indexes: a character that an id hardly holds.
pub(super) const SEPARATOR: char = '\u{1}';

/// How a field of an index differs from ours.
pub(super) fn difference(info: &Reply, field: &str, kind: &Field) -> Option<String> {
    let attributes = value_of(info.clone(), "attributes")?.into_array();
    let Some(attribute) = attributes
        .into_iter()
        .map(Reply::into_array)
        .find(|attribute| {
            let name = value_of(Reply::Array(attribute.clone()), "attribute");
            name.is_some_and(|name| name.as_str() == Some(field))
        })
    else {
        return Some(format!("it has no field `{field}`"));
    };
    let has = |flag: &str| attribute.iter().any(|part| part.as_str() == Some(flag));
    match kind {
        Field::Numeric => (!has("NUMERIC")).then(|| format!("`{field}` is no number")),
        Field::Tag | Field::SortedTag if !has("TAG") => Some(format!("`{field}` is no tag")),
        Field::Tag | Field::SortedTag => {
            let separator = value_of(Reply::Array(attribute.clone()), "SEPARATOR");
            let separator = separator.as_ref().and_then(Reply::as_str).unwrap_or(",");
            if separator != SEPARATOR.to_string() {
                Some(format!("`{field}` is split at {separator:?}"))
            } else if has("CASESENSITIVE") {
                let sorted = matches!(kind, Field::SortedTag);
                (sorted && !has("SORTABLE")).then(|| format!("`{field}` is not sortable"))
            } else {
                Some(format!("`{field}` folds case"))
            }
        }
    }
}

pub(super) fn value_of(info: Reply, name: &str) -> Option<Reply> {
    let info = info.into_array();
    let position = info.iter().position(|part| part.as_str() == Some(name))?;
    info.into_iter().nth(position + 1)
}

/// The separator that an index has for a field.
pub(super) fn separator_of(info: Reply, field: &str) -> Option<char> {
    let attributes = value_of(info, "attributes")?.into_array();
    let attribute = attributes
        .into_iter()
        .map(Reply::into_array)
        .find(|attribute| attribute.iter().any(|part| part.as_str() == Some(field)))?;
    value_of(Reply::Array(attribute), "SEPARATOR")?
        .as_str()?
        .chars()
        .next()
}

pub(super) enum Field {
    Tag,
    /// A tag that is sorted by, kept as it is.
    SortedTag,
    Numeric,
}

/// The schema of the index of checkpoints; the names are those of the Python saver's.
pub(super) const CHECKPOINT_FIELDS: &[(&str, Field)] = &[
    ("thread_id", Field::Tag),
    ("run_id", Field::Tag),
    ("checkpoint_ns", Field::Tag),
    ("checkpoint_id", Field::SortedTag),
    ("parent_checkpoint_id", Field::Tag),
    ("checkpoint_ts", Field::Numeric),
    ("source", Field::Tag),
    ("step", Field::Numeric),
    ("has_writes", Field::Tag),
];

/// The schema of the index of writes.
pub(super) const WRITE_FIELDS: &[(&str, Field)] = &[
    ("thread_id", Field::Tag),
    ("checkpoint_ns", Field::Tag),
    ("checkpoint_id", Field::Tag),
    ("task_id", Field::Tag),
    ("idx", Field::Numeric),
    ("channel", Field::Tag),
    ("type", Field::Tag),
];

pub(super) fn create(prefix: &str, fields: &[(&str, Field)]) -> Command {
    let mut command = Command::new("FT.CREATE")
        .arg(text(prefix))
        .args(["ON", "JSON", "PREFIX", "1"].map(Bytes::from))
        .arg(format!("{prefix}:"))
        .arg("SCHEMA");
    for (name, kind) in fields {
        command = command
            .arg(format!("$.{name}"))
            .arg("AS")
            .arg((*name).to_owned());
        command = match kind {
            Field::Numeric => command.arg("NUMERIC"),
            Field::Tag | Field::SortedTag => command
                .args(["TAG", "SEPARATOR"].map(Bytes::from))
                .arg(SEPARATOR.to_string())
                .arg("CASESENSITIVE"),
        };
        if matches!(kind, Field::SortedTag) {
            command = command.arg("SORTABLE").arg("UNF");
        }
    }
    command
}
