//! The Lua scripts. Only this module makes a command of one.

use std::sync::LazyLock;

use bytes::Bytes;

use super::driver::{Command, number};

/// A script as the server knows it.
#[derive(Debug)]
pub(crate) struct Script {
    source: String,
    sha: String,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $file:literal;)*) => {
        $(
            $(#[$doc])*
            pub(crate) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(include_str!(concat!("lua/", $file, ".lua"))));
        )*
    };
}

scripts! {
    /// Stores a checkpoint.
    PUT = "put";
    /// Stores the writes of a task.
    PUT_WRITES = "put_writes";
    /// Reads a checkpoint with its writes.
    READ = "read";
    /// Reads a page of checkpoint ids.
    PAGE = "page";
    /// Reads the writes of several checkpoints.
    WRITES = "writes";
    /// Tells a thread's namespaces.
    NAMESPACES = "namespaces";
    /// Removes checkpoints with their writes.
    REMOVE = "remove";
    /// Tells the registry what another saver wrote.
    REGISTER = "register";
    /// Takes ids out of the registry whose documents are gone.
    FORGET = "forget";
    /// Walks the ancestors of a checkpoint.
    HISTORY = "history";
    /// Changes the TTL of checkpoints with their writes.
    TTL = "ttl";
    /// Stores a blob.
    BLOB_PUT = "blob_put";
    /// Registers blobs.
    BLOB_REGISTER = "blob_register";
    /// Notes that a namespace has blobs.
    BLOB_MARK = "blob_mark";
    /// Takes blobs that nothing names out of their registry.
    BLOB_FORGET = "blob_forget";
    /// Looks at one blob.
    DOCTOR_BLOB = "doctor_blob";
    /// Looks at the members of a registry of blobs.
    DOCTOR_BLOBS = "doctor_blobs";
    /// Stores the one checkpoint of a namespace in shallow mode.
    SHALLOW_PUT = "shallow_put";
    /// Stores the writes of a task in shallow mode.
    SHALLOW_PUT_WRITES = "shallow_put_writes";
    /// Reads the checkpoint of a namespace in shallow mode.
    SHALLOW_READ = "shallow_read";
    /// Removes the checkpoint of a namespace in shallow mode.
    SHALLOW_REMOVE = "shallow_remove";
    /// Changes the TTL of a namespace in shallow mode.
    SHALLOW_TTL = "shallow_ttl";
    /// Looks at one write.
    DOCTOR_WRITE = "doctor_write";
    /// Looks at the members of a registry of writes.
    DOCTOR_WRITES = "doctor_writes";
    /// Looks at writes without a checkpoint.
    DOCTOR_ORPHAN = "doctor_orphan";
    /// Looks at one document of a checkpoint.
    DOCTOR_DOCUMENT = "doctor_document";
    /// Looks at a document that is not where its ids say.
    DOCTOR_MISPLACED = "doctor_misplaced";
    /// Looks at a page of a registry of checkpoints.
    DOCTOR_REGISTRY = "doctor_registry";
    /// Looks at a thread's set of namespaces.
    DOCTOR_NAMESPACES = "doctor_namespaces";
    /// Looks at the TTL of a shared key.
    DOCTOR_SHARED = "doctor_shared";
    /// Looks at a pointer that no registry stands behind.
    DOCTOR_POINTER = "doctor_pointer";
}

impl Script {
    fn new(body: &str) -> Self {
        let source = format!("{}\n{body}", include_str!("lua/prelude.lua"));
        let sha = sha1_smol::Sha1::from(&source).digest().to_string();
        Self { source, sha }
    }

    /// The call of the script that the server should know already.
    pub(crate) fn call(&'static self, keys: Vec<Bytes>, args: Vec<Bytes>) -> ScriptCall {
        ScriptCall {
            script: self,
            keys,
            args,
        }
    }
}

/// A script with its keys and arguments.
#[derive(Debug, Clone)]
pub(crate) struct ScriptCall {
    script: &'static Script,
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
}

impl ScriptCall {
    /// The command that runs the script by its hash.
    pub(crate) fn by_hash(&self) -> Command {
        self.command("EVALSHA", &self.script.sha)
    }

    /// The command that sends the script along, so that the server knows it afterwards.
    pub(crate) fn by_source(&self) -> Command {
        self.command("EVAL", &self.script.source)
    }

    fn command(&self, name: &'static str, script: &'static str) -> Command {
        let slot = self.keys.first().map(|key| super::slots::slot(key));
        let mut args = Vec::with_capacity(2 + self.keys.len() + self.args.len());
        args.push(Bytes::from_static(script.as_bytes()));
        args.push(number(self.keys.len()));
        args.extend_from_slice(&self.keys);
        args.extend_from_slice(&self.args);
        Command { name, args, slot }
    }
}
