//! The pointer to the newest checkpoint of a namespace.

use bytes::Bytes;

use super::super::driver::{Command, number};
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
        let document = super::join(&[self.prefix, id]);
        let gone = self.names.filter(|_| self.is_stale);
        let args = vec![
            document.clone(),
            self.prefix.clone(),
            id.clone(),
            number(ttl),
            gone.cloned().unwrap_or_default(),
        ];
        let mut instead = Vec::new();
        if self.is_stale || self.names.is_none_or(|named| named <= id) {
            let set = Command::on("SET", self.key.clone()).arg(document);
            instead.push(if ttl > 0 {
                set.arg("PX").arg(number(ttl))
            } else {
                set
            });
        }
        Part::script(scripts::ADVANCE.call(vec![self.key.clone()], args), instead)
    }
}
