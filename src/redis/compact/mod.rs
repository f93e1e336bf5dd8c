//! The compact layout without Redis: checkpoints and writes as heads, records and parts, and back.
//!
//! A *part* is a piece of the text of values, addressed by its digest; a thread has each part once.
//! A long value is a *rope*: a tree whose leaves are parts of its text and whose index parts name
//! their children. A *head* is all of a checkpoint but the ropes that it names, a *record* all of a
//! pending write. [`Codec`] is the way in: it encodes for a put and says which parts to send, and
//! reads back through a [`Reader`], which says which parts to fetch.

mod cache;
mod codec;
mod compress;
mod cursor;
mod cut;
mod damage;
mod digest;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod head;
pub(crate) mod ids;
mod part;
mod reader;
mod record;
mod rope;
mod seal;
mod value;

pub(crate) use self::{
    codec::{Codec, CodecOptions, NewParts, Sending, ThreadCodec},
    damage::Damage,
    digest::Digest,
    head::Head,
    reader::Reader,
    record::{WritePlace, WriteRecord},
    rope::Rope,
    seal::Sealer,
};

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod training;
