//! Places: what precedes heads and records in the members of a thread's sorted sets.

use bytes::{BufMut, Bytes, BytesMut};

use crate::id::{CheckpointId, CheckpointNamespace, TaskId};
use crate::redis::compact::ids;
use crate::redis::keys::CheckpointRef;

/// How many bytes an index has.
const INDEX: usize = 8;

/// The place of a namespace, in which all of its members start.
pub(super) fn of_namespace(namespace: &CheckpointNamespace) -> Bytes {
    joined(&[namespace.as_str()])
}

/// The place of a checkpoint, of its head and of its writes.
pub(super) fn of_checkpoint(at: &CheckpointRef) -> Bytes {
    joined(&[at.namespace.as_str(), at.checkpoint_id.as_str()])
}

/// The place of a write behind that of its checkpoint.
pub(super) fn of_write(task: &TaskId, idx: i64) -> Bytes {
    let mut place = BytesMut::from(&joined(&[task.as_str()])[..]);
    place.put_u64(idx.cast_unsigned() ^ 1 << 63);
    place.freeze()
}

/// The place of a blob behind that of all blobs of its namespace.
pub(super) fn of_blob(channel: &str, version: &str) -> Bytes {
    joined(&[channel, version])
}

/// The place of all blobs of a namespace, which stand among the writes without a checkpoint.
pub(super) fn of_blobs(namespace: &CheckpointNamespace) -> Bytes {
    joined(&[namespace.as_str(), ""])
}

/// An id as it is in members, without its end.
pub(super) fn id(id: &str) -> Bytes {
    let mut text = BytesMut::with_capacity(id.len() + 2);
    ids::put(&mut text, id);
    text.freeze()
}

fn joined(texts: &[&str]) -> Bytes {
    let mut place = BytesMut::with_capacity(texts.iter().map(|text| text.len() + 2).sum());
    for text in texts {
        ids::put(&mut place, text);
        place.put_u8(0);
    }
    place.freeze()
}

/// The id that a script names.
pub(super) fn read_id(text: &[u8]) -> Option<CheckpointId> {
    let (id, rest) = ids::take(text)?;
    rest.is_empty()
        .then(|| CheckpointId::new(id).ok())
        .flatten()
}

/// The namespace that a script names.
pub(super) fn read_namespace(text: &[u8]) -> Option<CheckpointNamespace> {
    let (namespace, rest) = ids::take(text)?;
    rest.is_empty()
        .then(|| CheckpointNamespace::new(namespace).ok())
        .flatten()
}

/// The checkpoint whose place this is.
pub(super) fn read_checkpoint(place: &[u8]) -> Option<(CheckpointNamespace, CheckpointId)> {
    let (namespace, rest) = ids::take(place)?;
    let (id, rest) = ids::take(rest)?;
    if !rest.is_empty() {
        return None;
    }
    let namespace = CheckpointNamespace::new(namespace).ok()?;
    Some((namespace, CheckpointId::new(id).ok()?))
}

/// The place of the checkpoint in a member, without an id for blobs.
pub(super) fn checkpoint_in(member: &Bytes) -> Option<Bytes> {
    let (_, rest) = ids::take(member)?;
    let (_, rest) = ids::take(rest)?;
    let place = member.slice(..member.len() - rest.len());
    // The second id has an end, too.
    place.ends_with(b"\0").then_some(place)
}

/// The namespace of the place of all blobs; `None` if it is the place of a checkpoint.
pub(super) fn read_blobs(place: &[u8]) -> Option<CheckpointNamespace> {
    read_namespace(place.strip_suffix(b"\0\0")?)
}

/// The task, the index and the record of a write, of a member behind the place of its checkpoint.
pub(super) fn read_write(member: &Bytes, checkpoint: &[u8]) -> Option<(TaskId, i64, Bytes)> {
    let rest = member.strip_prefix(checkpoint)?;
    let (task, rest) = ids::take(rest)?;
    let (index, record) = rest.split_at_checked(INDEX)?;
    let index = u64::from_be_bytes(index.try_into().ok()?);
    let idx = (index ^ 1 << 63).cast_signed();
    Some((TaskId::new(task).ok()?, idx, member.slice_ref(record)))
}

/// The channel and the version of a blob and its record, of a member behind the place of all blobs.
pub(super) fn read_blob(member: &Bytes, blobs: &[u8]) -> Option<(String, String, Bytes)> {
    let rest = member.strip_prefix(blobs)?;
    let (channel, rest) = ids::take(rest)?;
    let (version, record) = ids::take(rest)?;
    Some((channel, version, member.slice_ref(record)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ThreadId;

    #[test]
    fn members_sort_as_ids_do_and_are_read_back() {
        let mut places = Vec::new();
        for namespace in ["", "\u{1}", "a", "a\u{1}", "ab", "é"] {
            for id in ["\0", "1", "1\0", "1\u{1}", "10", "2"] {
                let namespace = CheckpointNamespace::new(namespace).unwrap();
                let at = CheckpointRef::new(
                    &ThreadId::new("t").unwrap(),
                    &namespace,
                    &CheckpointId::new(id).unwrap(),
                );
                let place = of_checkpoint(&at);
                assert!(place.starts_with(&of_namespace(&namespace)));
                let read = read_checkpoint(&place);
                assert_eq!(read, Some((at.namespace, at.checkpoint_id)));
                places.push(place);
            }
        }
        assert!(places.is_sorted(), "{places:?}");
        let mut places = Vec::new();
        for task in ["a", "a\0", "b"] {
            for idx in [i64::MIN, -4, -1, 0, 1, 256, i64::MAX] {
                let task = TaskId::new(task).unwrap();
                let member = [b"x\0y\0", &of_write(&task, idx)[..], b"record"].concat();
                let member = Bytes::from(member);
                let read = read_write(&member, b"x\0y\0");
                let record = Bytes::from_static(b"record");
                assert_eq!(read, Some((task, idx, record)));
                places.push(member);
            }
        }
        assert!(places.is_sorted(), "{places:?}");
    }
}
