//! Ids in the members of sorted sets: in the same order as the ids themselves, with an end that
//! nothing in an id can be taken for.
//!
//! The byte 0 is written as 1 1 and the byte 1 as 1 2, so a 0 ends an id and sorts before all that
//! can follow.

use bytes::{BufMut, BytesMut};

/// Writes an id without its end.
pub(crate) fn put(out: &mut BytesMut, id: &str) {
    for byte in id.bytes() {
        match byte {
            0 => out.put_slice(&[1, 1]),
            1 => out.put_slice(&[1, 2]),
            byte => out.put_u8(byte),
        }
    }
}

/// Reads an id up to its end or that of the bytes; gives what follows the end. `None` if it is no
/// id.
pub(crate) fn take(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (id, rest) = match memchr::memchr(0, bytes) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &bytes[bytes.len()..]),
    };
    let mut read = Vec::with_capacity(id.len());
    let mut rest_of_id = id.iter();
    while let Some(byte) = rest_of_id.next() {
        read.push(match byte {
            1 => match rest_of_id.next()? {
                1 => 0,
                2 => 1,
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some((String::from_utf8(read).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(id: &str) -> BytesMut {
        let mut out = BytesMut::new();
        put(&mut out, id);
        out.put_u8(0);
        out
    }

    proptest! {
        #[test]
        fn ids_come_back_and_keep_their_order(one in "[\0-\x03a]{0,6}", other in "[\0-\x03a]{0,6}") {
            let members = [encoded(&one), encoded(&other)];
            prop_assert_eq!(take(&members[0]), Some((one.clone(), &[][..])));
            prop_assert_eq!(members[0].cmp(&members[1]), one.cmp(&other));
        }
    }
}
