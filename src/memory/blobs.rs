//! The blobs of a namespace in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::lifetime::Lifetime;
use crate::blobs::{ChannelBlob, named_by};
use crate::checkpoint::Checkpoint;

/// The blobs of a namespace, by channel and version.
#[derive(Debug, Clone, Default)]
pub(super) struct Blobs(BTreeMap<(String, String), StoredBlob>);

#[derive(Debug, Clone)]
struct StoredBlob {
    blob: ChannelBlob,
    lifetime: Lifetime,
}

impl Blobs {
    /// Adds the blobs that are not there yet, and keeps those and the ones that their checkpoint
    /// names at least for a lifetime.
    pub(super) fn put(
        &mut self,
        blobs: &[ChannelBlob],
        checkpoint: &Checkpoint,
        lifetime: Lifetime,
    ) {
        for blob in blobs {
            let key = (blob.channel.clone(), blob.version.clone());
            let stored = self.0.entry(key).or_insert_with(|| StoredBlob {
                blob: blob.clone(),
                lifetime,
            });
            stored.lifetime.extend(lifetime);
        }
        self.extend(checkpoint, lifetime);
    }

    /// Keeps the blobs that a checkpoint names at least for a lifetime.
    pub(super) fn extend(&mut self, checkpoint: &Checkpoint, lifetime: Lifetime) {
        for key in named_by(checkpoint) {
            if let Some(stored) = self.0.get_mut(&key) {
                stored.lifetime.extend(lifetime);
            }
        }
    }

    /// The length of all blobs, in base64.
    pub(super) fn bytes(&self) -> usize {
        let lengths = self
            .0
            .values()
            .filter_map(|stored| stored.blob.blob.as_ref());
        lengths.map(String::len).sum()
    }

    /// The blobs that a checkpoint names.
    pub(super) fn of(&self, checkpoint: &Checkpoint) -> Vec<ChannelBlob> {
        named_by(checkpoint)
            .iter()
            .filter_map(|key| Some(self.0.get(key)?.blob.clone()))
            .collect()
    }

    /// The channels of a checkpoint whose values are blobs.
    pub(super) fn channels_of(&self, checkpoint: &Checkpoint) -> Vec<Box<str>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        named_by(checkpoint)
            .into_iter()
            .filter(|key| self.0.get(key).is_some_and(|one| !one.blob.is_empty()))
            .map(|(channel, _)| channel.into_boxed_str())
            .collect()
    }

    /// Removes the blobs that none of these checkpoints names.
    pub(super) fn retain_named<'a>(&mut self, checkpoints: impl Iterator<Item = &'a Checkpoint>) {
        if !self.0.is_empty() {
            let named: BTreeSet<_> = checkpoints.flat_map(named_by).collect();
            self.0.retain(|key, _| named.contains(key));
        }
    }

    /// Removes what has expired.
    pub(super) fn retain_alive(&mut self, now: Instant) {
        self.0.retain(|_, stored| !stored.lifetime.is_over(now));
    }

    /// Adds the blobs of a copied namespace; those that are there already stay.
    pub(super) fn merge(&mut self, copied: Self, lifetime: Lifetime) {
        for (key, mut stored) in copied.0 {
            stored.lifetime = lifetime;
            let kept = self.0.entry(key).or_insert(stored);
            kept.lifetime.extend(lifetime);
        }
    }

    pub(super) fn lifetimes(&self) -> impl Iterator<Item = Lifetime> {
        self.0.values().map(|stored| stored.lifetime)
    }

    pub(super) fn lifetimes_mut(&mut self) -> impl Iterator<Item = &mut Lifetime> {
        self.0.values_mut().map(|stored| &mut stored.lifetime)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn checkpoint(version: &str) -> Checkpoint {
        let text = format!(r#"{{"id":"1","channel_versions":{{"c":"{version}","d":"1"}}}}"#);
        Checkpoint::from_json(text).unwrap()
    }

    fn blob(channel: &str, version: &str, type_name: &str) -> ChannelBlob {
        ChannelBlob {
            channel: channel.to_owned(),
            version: version.to_owned(),
            type_name: type_name.to_owned(),
            blob: None,
        }
    }

    #[test]
    fn blobs_live_as_long_as_the_longest_checkpoint_that_names_them() {
        let now = Instant::now();
        let until = |seconds| Lifetime(Some(now + Duration::from_secs(seconds)));
        let mut blobs = Blobs::default();
        let both = [blob("c", "1", "json"), blob("d", "1", "json")];
        blobs.put(&both, &checkpoint("1"), until(10));
        blobs.put(&[blob("c", "2", "json")], &checkpoint("2"), until(20));
        blobs.put(&[], &checkpoint("2"), until(5));
        blobs.retain_alive(now + Duration::from_secs(15));
        assert_eq!(blobs.of(&checkpoint("1")), [blob("d", "1", "json")]);
        assert_eq!(blobs.of(&checkpoint("2")).len(), 2);
        blobs.put(&[], &checkpoint("2"), Lifetime(None));
        blobs.retain_alive(now + Duration::from_secs(1_000));
        assert_eq!(blobs.of(&checkpoint("2")).len(), 2);
    }

    #[test]
    fn the_first_blob_of_a_version_stays() {
        let mut blobs = Blobs::default();
        for type_name in ["json", "msgpack"] {
            blobs.put(
                &[blob("c", "1", type_name)],
                &checkpoint("1"),
                Lifetime(None),
            );
        }
        assert_eq!(blobs.of(&checkpoint("1")), [blob("c", "1", "json")]);
    }

    #[test]
    fn a_channel_without_a_value_has_none_in_a_blob() {
        let mut blobs = Blobs::default();
        let both = [blob("c", "1", "json"), blob("d", "1", "empty")];
        blobs.put(&both, &checkpoint("1"), Lifetime(None));
        assert_eq!(blobs.channels_of(&checkpoint("1")), [Box::<str>::from("c")]);
    }
}
