//! JSON as it passes through: verbatim text, and what RedisJSON cannot keep exactly.

#[cfg(feature = "redis")]
pub(crate) mod exact;
mod object;
mod raw;
#[cfg(feature = "wire")]
pub(crate) mod strict;

pub use object::RawObject;
#[cfg(feature = "redis")]
pub(crate) use object::{Members, write_string};
pub use raw::RawJson;
