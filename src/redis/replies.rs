//! What small replies say.

use std::time::Duration;

use bytes::Bytes;

use super::driver::Reply;

/// The time that `PTTL` reports; `None` without a TTL.
pub(super) fn time_left(reply: &Reply) -> Option<Duration> {
    match reply.as_int()? {
        -1 => None,
        // What has expired by now was still there.
        left => Some(Duration::from_millis(
            u64::try_from(left).unwrap_or(0).max(1),
        )),
    }
}

/// The strings in a list.
pub(super) fn byte_strings(reply: Reply) -> Vec<Bytes> {
    let parts = reply.into_array().into_iter();
    parts.filter_map(Reply::into_bytes).collect()
}

/// The same as text, without those that are none.
pub(super) fn strings(reply: Reply) -> Vec<String> {
    let parts = reply.into_array().into_iter();
    parts
        .filter_map(|part| part.as_str().map(str::to_owned))
        .collect()
}
