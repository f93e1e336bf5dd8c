//! The pointer to the newest checkpoint of a namespace.

use bytes::Bytes;

use super::super::driver::number;
use super::super::scripts;
use super::flight::Part;

/// A pointer, as it was a moment ago.
pub(super) struct Pointer<'a> {
    pub(super) key: &'a Bytes,
    /// How the keys of the namespace's documents start.
    pub(super) prefix: &'a Bytes,
    /// The id that it names.
    pub(super) names: Option<&'a Bytes>,
    /// Whether that one's document is gone, or about to go.
    pub(super) is_stale: bool,
}

impl Pointer<'_> {
    /// The part that lets it name a checkpoint, unless it names a newer one that is not stale.
    pub(super) fn advance(&self, id: &Bytes, ttl: i64) -> Part {
        let gone = self.names.filter(|_| self.is_stale);
        let args = vec![
            super::join(&[self.prefix, id]),
            self.prefix.clone(),
            id.clone(),
            number(ttl),
            gone.cloned().unwrap_or_default(),
        ];
        Part::script(scripts::ADVANCE.call(vec![self.key.clone()], args))
    }
}
