//! The scripts whose keys must be in one slot: shallow mode decides by one document what becomes of
//! the other keys, the doctor corrects keys by what others say, and in the compact layout all keys
//! of a thread are in one slot.

use std::sync::LazyLock;

use bytes::Bytes;

use super::script::{Effect, Script};
use super::{OneSlot, PRELUDE};

/// A script that is called with `KEYS` and `ARGV` as its file says.
#[derive(Debug)]
pub(crate) struct OneSlotScript(Script);

impl OneSlotScript {
    pub(crate) fn call(&'static self, keys: Vec<Bytes>, args: Vec<Bytes>) -> OneSlot {
        OneSlot(self.0.call(keys, args))
    }
}

/// What stands in front of the doctor's scripts, behind the prelude.
const DOCTOR: &str = include_str!("../lua/doctor.lua");

macro_rules! one_slot_scripts {
    ($shared:expr; $($effect:ident $name:ident = $file:literal;)*) => {
        $(
            pub(crate) static $name: LazyLock<OneSlotScript> = LazyLock::new(|| {
                let body = include_str!(concat!("../lua/", $file, ".lua"));
                OneSlotScript(Script::new(Effect::$effect, &$shared, body))
            });
        )*
    };
}

one_slot_scripts! {
    [PRELUDE];
    Writes SHALLOW_PUT = "shallow_put";
    Writes SHALLOW_PUT_WRITES = "shallow_put_writes";
    Reads SHALLOW_READ = "shallow_read";
    Frees SHALLOW_REMOVE = "shallow_remove";
    Frees SHALLOW_TTL = "shallow_ttl";
}

one_slot_scripts! {
    [PRELUDE, DOCTOR];
    Writes DOCTOR_BLOB = "doctor_blob";
    Writes DOCTOR_BLOBS = "doctor_blobs";
    Writes DOCTOR_WRITE = "doctor_write";
    Writes DOCTOR_WRITES = "doctor_writes";
    Writes DOCTOR_ORPHAN = "doctor_orphan";
    Writes DOCTOR_DOCUMENT = "doctor_document";
    Writes DOCTOR_FLAG = "doctor_flag";
    Reads DOCTOR_REGISTRY = "doctor_registry";
    Writes DOCTOR_NEWEST = "doctor_newest";
    Writes DOCTOR_NAMESPACES = "doctor_namespaces";
    Writes DOCTOR_SHARED = "doctor_shared";
    Writes DOCTOR_POINTER = "doctor_pointer";
}

/// What stands in front of the scripts of the compact layout.
const COMPACT: &str = include_str!("../lua/compact.lua");

// None has flags, which servers before Redis 7 do not know. Those that only remove or keep what is
// there use no command that a server without free memory refuses.
one_slot_scripts! {
    [COMPACT];
    Writes COMPACT_PUT = "compact_put";
    Writes COMPACT_PUT_WRITES = "compact_put_writes";
    Reads COMPACT_READ = "compact_read";
    Reads COMPACT_WRITES = "compact_writes";
    Reads COMPACT_PAGE = "compact_page";
    Reads COMPACT_NAMESPACES = "compact_namespaces";
    Reads COMPACT_EARLY = "compact_early";
    Reads COMPACT_HISTORY = "compact_history";
    Writes COMPACT_REMOVE = "compact_remove";
    Writes COMPACT_DELETE = "compact_delete";
    Writes COMPACT_TTL = "compact_ttl";
    Reads COMPACT_ROOTS = "compact_roots";
    Reads COMPACT_CHILDREN = "compact_children";
    Reads COMPACT_DIGESTS = "compact_digests";
    Writes COMPACT_COLLECT = "compact_collect";
    Writes COMPACT_FORGET_WRITES = "compact_forget_writes";
    Reads COMPACT_BLOBS = "compact_blobs";
    Writes COMPACT_COLLECT_BLOBS = "compact_collect_blobs";
    Writes COMPACT_RESEAL = "compact_reseal";
}
