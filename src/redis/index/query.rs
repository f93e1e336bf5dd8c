//! What a search asks for, and what its rows say.

use bytes::Bytes;

use crate::id::ThreadId;
use crate::redis::args::{number, text};
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::CheckpointRef;

/// Past its own time limit a search gives what it has so far and does not say so; ours is that of
/// the command.
pub(super) const NO_TIME_LIMIT: [&str; 2] = ["TIMEOUT", "0"];

/// The fields that a search for checkpoints returns.
pub(super) const CHECKPOINT_LOAD: &[&str] = &["@thread_id", "@checkpoint_ns", "@checkpoint_id"];

/// The fields that a search for writes returns.
pub(super) const WRITE_LOAD: &[&str] =
    &["@__key", "@thread_id", "@checkpoint_ns", "@checkpoint_id"];

/// A row: names and values.
pub(crate) type Row = Vec<Reply>;

pub(super) fn aggregate(index: &str, query: &'static str, fields: &[&'static str]) -> Command {
    load(
        Command::new("FT.AGGREGATE").arg(text(index)).arg(query),
        fields,
    )
}

/// Fields of the documents that are left at this step.
pub(super) fn load(command: Command, fields: &[&'static str]) -> Command {
    let names = fields
        .iter()
        .map(|name| Bytes::from_static(name.as_bytes()));
    command.arg("LOAD").arg(number(fields.len())).args(names)
}

/// The same about one thread.
pub(super) fn of_thread(command: Command, piece: &str) -> Command {
    command
        .args(["PARAMS", "2", "thread"].map(Bytes::from))
        .arg(text(piece))
        .args(["DIALECT", "2"].map(Bytes::from))
}

/// The rows of a reply, whose first element counts them.
pub(super) fn rows_of(reply: Reply) -> Vec<Row> {
    let rows = reply.into_array().into_iter().skip(1);
    rows.map(Reply::into_array).collect()
}

/// Whether a row says nothing of its document, which is gone or cannot be opened.
pub(super) fn is_silent(row: &[Reply]) -> bool {
    field(row, "thread_id").is_none()
}

/// The checkpoint that a row names; `None` for one whose ids are no ids.
pub(crate) fn indexed(row: &[Reply]) -> Option<CheckpointRef> {
    CheckpointRef::from_stored(
        &field(row, "thread_id")?,
        &field(row, "checkpoint_ns")?,
        &field(row, "checkpoint_id")?,
    )
}

/// The thread that a row names.
pub(crate) fn thread(row: &[Reply]) -> Option<ThreadId> {
    ThreadId::new(field(row, "thread_id")?).ok()
}

pub(super) fn field(row: &[Reply], name: &str) -> Option<String> {
    row.chunks_exact(2)
        .find(|pair| pair[0].as_str() == Some(name))
        .and_then(|pair| pair[1].as_str())
        .map(str::to_owned)
}
