//! The scripts of shallow mode and of the doctor, whose keys must be in one slot: shallow mode decides
//! by one document what becomes of the other keys, and the doctor corrects keys by what others say.

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
                let parts: Vec<&str> = $shared.into_iter().chain([body]).collect();
                OneSlotScript(Script::new(Effect::$effect, &parts))
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
