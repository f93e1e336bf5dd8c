//! The Lua scripts, and what each is handed and returns. Only this module makes a command of one.
//!
//! A call is a struct with named fields. Its `KEYS` and `ARGV` are made from it in one place,
//! beside the struct, and the reply is read in one place as well. There are three kinds:
//!
//! - An [`Op`] touches several keys of a thread. Where these are in several slots it has a
//!   non-atomic run, in `nonatomic`, which takes the same struct and returns the same reply.
//! - A [`OneKey`] touches one key, so it runs wherever that key is.
//! - A [`OneSlot`] needs all of its keys in one slot and is refused where they are not: those of
//!   shallow mode and of the doctor.
//!
//! The layouts of what is stored share `script`, [`Step`], [`Call`], the three kinds and
//! [`RunOnKey`]. The operations in `checkpoints`, `registries`, `blobs` and `removal` are those of
//! the JSON layout; those of the compact layout are [`OneSlot`]s, which `compact_saver/scripts.rs`
//! calls.

mod blobs;
mod checkpoints;
mod key;
mod one_slot;
mod registries;
mod removal;
mod script;
mod ttl;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use bytes::Bytes;

use super::driver::{Command, Reply};
pub(crate) use blobs::{ForgetBlobsCall, MarkBlobsCall, PutBlobCall, RegisterBlobsCall};
pub(crate) use checkpoints::{
    Ancestor, FoundCheckpoint, HistoryCall, HistoryReply, PutCall, PutReply, PutWritesCall,
    PutWritesReply, ReadCall, ReadReply, RegisteredWrites, RegistryWrites, WritesCall,
    WritesPageCall, WritesPageReply, WritesReply, expected_parent,
};
pub(crate) use key::{
    AdvancePointerCall, DiscardCall, RegisterIfNewestCall, RemoveKeyCall, RunOnKey,
};
pub(crate) use one_slot::*;
pub(crate) use registries::{
    Contents, NamespacesCall, NamespacesReply, PageCall, PageReply, RegisterCall, UnlistCall,
    UnregisterCall,
};
pub(crate) use removal::{RemoveCall, RemoveReply, RemoveUnregisteredCall};
use script::{Effect, Script};
pub(crate) use script::{Request, ScriptCall};
pub(crate) use ttl::{ThreadTtl, TtlCall, TtlReply, TtlVerb, in_milliseconds};

/// What stands in front of every script.
const PRELUDE: &str = include_str!("../lua/prelude.lua");

/// Names scripts by their files; each has the prelude in front.
macro_rules! scripts {
    ($($(#[$doc:meta])* $effect:ident $name:ident = $file:literal;)*) => {
        $(
            $(#[$doc])*
            static $name: LazyLock<Script> = LazyLock::new(|| {
                let body = include_str!(concat!("../lua/", $file, ".lua"));
                Script::new(Effect::$effect, &[PRELUDE], body)
            });
        )*
    };
}

scripts! {
    Writes PUT = "put";
    Writes PUT_WRITES = "put_writes";
    Reads READ = "read";
    Reads WRITES = "writes";
    Reads WRITES_PAGE = "writes_page";
    Reads HISTORY = "history";
    Reads PAGE = "page";
    Reads PAGE_CONTENTS = "page_contents";
    Reads NAMESPACES = "namespaces";
    Frees REGISTER = "register";
    Reads UNREGISTER = "unregister";
    Frees UNLIST = "unlist";
    Frees REMOVE = "remove";
    Frees REMOVE_UNREGISTERED = "remove_unregistered";
    Frees REMOVE_KEY = "remove_key";
    Frees DISCARD = "discard";
    Frees TTL = "ttl";
    Writes BLOB_PUT = "blob_put";
    Writes BLOB_REGISTER = "blob_register";
    Writes BLOB_MARK = "blob_mark";
    Frees BLOB_FORGET = "blob_forget";
    Writes RUN_ON_KEY = "run_on_key";
    /// The same for what is part of freeing memory.
    Frees RUN_ON_KEY_WHEN_FULL = "run_on_key";
    Frees ADVANCE_POINTER = "advance_pointer";
    Writes REGISTER_IF_NEWEST = "register_if_newest";
}

/// A call of a script.
pub(crate) trait Call: Into<Step> {
    /// What it returns.
    type Reply: From<Reply>;
}

/// Makes the enum of operations: their calls, with what each returns.
macro_rules! operations {
    ($($variant:ident($call:ty) -> $reply:ty;)*) => {
        /// An operation on several keys of a thread.
        #[derive(Debug, Clone)]
        pub(crate) enum Op {
            $($variant($call),)*
        }

        impl Op {
            /// The script that runs it where all keys are in one slot.
            pub(crate) fn script(&self) -> ScriptCall {
                match self {
                    $(Self::$variant(call) => call.script(),)*
                }
            }
        }

        $(
            impl From<$call> for Step {
                fn from(call: $call) -> Self {
                    Self::Op(Box::new(Op::$variant(call)))
                }
            }

            impl Call for $call {
                type Reply = $reply;
            }
        )*
    };
}

operations! {
    Put(PutCall) -> PutReply;
    PutWrites(PutWritesCall) -> PutWritesReply;
    Read(ReadCall) -> ReadReply;
    Writes(WritesCall) -> WritesReply;
    WritesPage(WritesPageCall) -> WritesPageReply;
    History(HistoryCall) -> HistoryReply;
    Page(PageCall) -> PageReply;
    Namespaces(NamespacesCall) -> NamespacesReply;
    Register(RegisterCall) -> Count;
    Unregister(UnregisterCall) -> Count;
    Unlist(UnlistCall) -> Count;
    Remove(RemoveCall) -> RemoveReply;
    RemoveUnregistered(RemoveUnregisteredCall) -> Count;
    Ttl(TtlCall) -> TtlReply;
}

/// A script on one key.
#[derive(Debug, Clone)]
pub(crate) struct OneKey(ScriptCall);

impl OneKey {
    fn new(script: &'static Script, key: Bytes, args: Vec<Bytes>) -> Self {
        Self(script.call(vec![key], args))
    }

    /// What is sent.
    pub(crate) fn script(self) -> ScriptCall {
        self.0
    }
}

/// Makes calls of scripts on one key steps of a pipeline.
macro_rules! one_key {
    ($($call:ty => $reply:ty;)*) => {
        $(
            impl From<$call> for Step {
                fn from(call: $call) -> Self {
                    Self::OneKey(call.into())
                }
            }

            impl Call for $call {
                type Reply = $reply;
            }
        )*
    };
}

one_key! {
    RemoveKeyCall => Count;
    DiscardCall => Count;
    PutBlobCall => Count;
    RegisterBlobsCall => Count;
    MarkBlobsCall => Count;
    ForgetBlobsCall => ForgetBlobsReply;
}

impl From<OneKey> for Request {
    fn from(call: OneKey) -> Self {
        Self::Script(call.0)
    }
}

/// A script whose keys must be in one slot.
#[derive(Debug, Clone)]
pub(crate) struct OneSlot(ScriptCall);

impl OneSlot {
    /// What is sent.
    pub(crate) fn script(self) -> ScriptCall {
        self.0
    }
}

impl Call for OneSlot {
    type Reply = Reply;
}

/// A step of a pipeline: a command or a call of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Command(Command),
    Op(Box<Op>),
    OneKey(OneKey),
    OneSlot(OneSlot),
}

impl From<Command> for Step {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl From<OneSlot> for Step {
    fn from(call: OneSlot) -> Self {
        Self::OneSlot(call)
    }
}

/// How many of something a script has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) i64);

impl From<Reply> for Count {
    fn from(reply: Reply) -> Self {
        Self(reply.as_int().unwrap_or(0))
    }
}

impl From<Count> for Reply {
    fn from(count: Count) -> Self {
        Self::Int(count.0)
    }
}

/// ForgetBlobsReply of a set or a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForgetBlobsReply(pub(crate) Vec<Bytes>);

impl From<Reply> for ForgetBlobsReply {
    fn from(reply: Reply) -> Self {
        let elements = reply.into_array().into_iter();
        Self(elements.filter_map(Reply::into_bytes).collect())
    }
}

/// The elements of a reply, in their order.
struct Elements(std::vec::IntoIter<Reply>);

impl From<Reply> for Elements {
    fn from(reply: Reply) -> Self {
        Self(reply.into_array().into_iter())
    }
}

impl Elements {
    fn reply(&mut self) -> Reply {
        self.0.next().unwrap_or(Reply::Nil)
    }

    /// The next element as a number, 0 for none.
    fn int(&mut self) -> i64 {
        self.reply().as_int().unwrap_or(0)
    }

    /// The same as a number that is never negative.
    fn count(&mut self) -> usize {
        usize::try_from(self.int()).unwrap_or(0)
    }

    fn flag(&mut self) -> bool {
        self.int() == 1
    }

    /// The next element as bytes, none for an empty string.
    fn bytes(&mut self) -> Option<Bytes> {
        self.reply().into_bytes().filter(|bytes| !bytes.is_empty())
    }

    /// All that is left.
    fn rest(self) -> Vec<Bytes> {
        self.0.filter_map(Reply::into_bytes).collect()
    }
}

/// A reply that is a list of elements, the last of which may be many.
fn list(first: impl IntoIterator<Item = Reply>, rest: impl IntoIterator<Item = Bytes>) -> Reply {
    let rest = rest.into_iter().map(Reply::Bytes);
    Reply::Array(first.into_iter().chain(rest).collect())
}

fn count(count: usize) -> Reply {
    Reply::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn flag(flag: bool) -> Reply {
    Reply::Int(i64::from(flag))
}
