//! Cluster slots: which keys live on one node.

use std::sync::LazyLock;

use bytes::Bytes;

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key: CRC16 of its hash tag, or of all of it, as the cluster specification says.
pub(crate) fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

/// Whether all keys are in one slot, and with them all that start as one of them does: they have
/// one hash tag, which what follows cannot change.
pub(crate) fn share_a_tag(keys: &[Bytes]) -> bool {
    let first = keys.first().and_then(|key| hash_tag(key));
    first.is_some() && keys.iter().all(|key| hash_tag(key) == first)
}

/// A number whose digits, as a hash tag, are in a slot.
pub(crate) fn tag_in(slot: u16) -> u32 {
    // Found once: some hundred thousand numbers meet every slot.
    static TAGS: LazyLock<Box<[u32]>> = LazyLock::new(|| {
        let mut tags = vec![u32::MAX; usize::from(SLOTS)];
        let mut missing = tags.len();
        for number in 0.. {
            let tag = &mut tags[usize::from(crc16(number.to_string().as_bytes()) % SLOTS)];
            if *tag == u32::MAX {
                *tag = number;
                missing -= 1;
                if missing == 0 {
                    break;
                }
            }
        }
        tags.into()
    });
    TAGS[usize::from(slot % SLOTS)]
}

/// What stands in the first pair of braces, unless it is empty.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let rest = &key[open + 1..];
    let close = rest.iter().position(|byte| *byte == b'}')?;
    (close > 0).then(|| &rest[..close])
}

/// CRC16-CCITT (XMODEM): polynomial 0x1021, no reflection, start 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{{bar}"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"foo{bar"), crc16(b"foo{bar") % SLOTS);
    }

    #[test]
    fn only_one_hash_tag_keeps_keys_together() {
        let share = |keys: &[&'static str]| {
            share_a_tag(&keys.iter().copied().map(Bytes::from).collect::<Vec<_>>())
        };
        assert!(share(&["p:{a}:x", "q:{a}"]));
        assert!(!share(&["p:{a}:x", "q:a"]));
        assert!(!share(&["p:{}:{a}", "q:{}:{a}"]));
        assert!(!share(&["p:a", "p:a"]), "what follows may be a tag");
        assert!(!share(&["p:{a:b}", "q:{a"]));
    }

    #[test]
    fn every_slot_has_a_tag() {
        for wanted in 0..SLOTS {
            let key = format!("key:{{{}}}", tag_in(wanted));
            assert_eq!(slot(key.as_bytes()), wanted);
        }
    }
}
