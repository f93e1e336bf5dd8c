//! The Lua scripts. Only this module makes a command of one.

use std::sync::LazyLock;

use bytes::Bytes;

use super::driver::{Command, number};

/// A script as the server knows it.
#[derive(Debug)]
pub(crate) struct Script {
    name: &'static str,
    source: String,
    sha: String,
    /// Whether replicas may have to acknowledge what it did.
    writes: bool,
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $does:ident $name:ident = $file:literal;)*) => {
        $(
            $(#[$doc])*
            pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
                Script::new($file, scripts!($does), include_str!(concat!("lua/", $file, ".lua")))
            });
        )*
    };
    (reads) => { Does::Reads };
    (writes) => { Does::Writes };
    (frees) => { Does::Frees };
}

/// What a script does to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Reads,
    Writes,
    /// Removes or keeps what is there, also on a server that has no memory left: what little it
    /// stores on the way is part of it.
    Frees,
}

// A script that reads may mend a registry or give keys their TTL anew on its way: nothing that a
// replica would have to acknowledge.

scripts! {
    /// Stores a checkpoint.
    writes PUT = "put";
    /// Stores the writes of a task.
    writes PUT_WRITES = "put_writes";
    /// Reads a checkpoint with its writes.
    reads READ = "read";
    /// Reads a page of checkpoint ids.
    reads PAGE = "page";
    /// Reads the writes of several checkpoints.
    reads WRITES = "writes";
    /// Reads a page of the writes of one checkpoint.
    reads WRITES_PAGE = "writes_page";
    /// Tells a thread's namespaces.
    reads NAMESPACES = "namespaces";
    /// Removes checkpoints with their writes.
    frees REMOVE = "remove";
    /// Removes one key that says whose it is.
    frees REMOVE_KEY = "remove_key";
    /// Removes one key of another type than it should be of.
    frees DISCARD = "discard";
    /// Takes out of a thread's set of namespaces what stands for nothing more.
    frees UNLIST = "unlist";
    /// Tells the registry what another saver wrote.
    frees REGISTER = "register";
    /// Takes ids out of the registry whose documents are gone.
    reads FORGET = "forget";
    /// Walks the ancestors of a checkpoint.
    reads HISTORY = "history";
    /// Changes the TTL of checkpoints with their writes.
    frees TTL = "ttl";
    /// Stores a blob.
    writes BLOB_PUT = "blob_put";
    /// Registers blobs.
    writes BLOB_REGISTER = "blob_register";
    /// Notes that a namespace has blobs.
    writes BLOB_MARK = "blob_mark";
    /// Takes blobs that nothing names out of their registry.
    frees BLOB_FORGET = "blob_forget";
    /// Looks at one blob.
    writes DOCTOR_BLOB = "doctor_blob";
    /// Looks at the members of a registry of blobs.
    writes DOCTOR_BLOBS = "doctor_blobs";
    /// Stores the one checkpoint of a namespace in shallow mode.
    writes SHALLOW_PUT = "shallow_put";
    /// Stores the writes of a task in shallow mode.
    writes SHALLOW_PUT_WRITES = "shallow_put_writes";
    /// Reads the checkpoint of a namespace in shallow mode.
    reads SHALLOW_READ = "shallow_read";
    /// Removes the checkpoint of a namespace in shallow mode.
    frees SHALLOW_REMOVE = "shallow_remove";
    /// Changes the TTL of a namespace in shallow mode.
    frees SHALLOW_TTL = "shallow_ttl";
    /// Runs commands on one key.
    writes TOGETHER = "together";
    /// The same also on a server that has no memory left.
    frees TOGETHER_WHEN_FULL = "together";
    /// Lets a pointer name a newer checkpoint.
    frees ADVANCE = "advance";
    /// Registers a checkpoint if no newer one is registered than is expected.
    writes CLAIM = "claim";
    /// Looks at one write.
    writes DOCTOR_WRITE = "doctor_write";
    /// Looks at the members of a registry of writes.
    writes DOCTOR_WRITES = "doctor_writes";
    /// Looks at writes without a checkpoint.
    writes DOCTOR_ORPHAN = "doctor_orphan";
    /// Looks at one document of a checkpoint.
    writes DOCTOR_DOCUMENT = "doctor_document";
    /// Looks at a document without ids.
    writes DOCTOR_FLAG = "doctor_flag";
    /// Looks at a page of a registry of checkpoints.
    reads DOCTOR_REGISTRY = "doctor_registry";
    /// Looks at a pointer to the newest checkpoint.
    writes DOCTOR_NEWEST = "doctor_newest";
    /// Looks at a thread's set of namespaces.
    writes DOCTOR_NAMESPACES = "doctor_namespaces";
    /// Looks at the TTL of a shared key.
    writes DOCTOR_SHARED = "doctor_shared";
    /// Looks at a pointer that no registry stands behind.
    writes DOCTOR_POINTER = "doctor_pointer";
}

impl Script {
    fn new(name: &'static str, does: Does, body: &str) -> Self {
        let flags = match does {
            Does::Frees => {
                "#!lua flags=allow-oom
"
            }
            Does::Reads | Does::Writes => "",
        };
        let doctor = if name.starts_with("doctor_") {
            include_str!("lua/doctor.lua")
        } else {
            ""
        };
        let prelude = include_str!("lua/prelude.lua");
        let source = format!(
            "{flags}{prelude}
{doctor}{body}"
        );
        let sha = sha1_smol::Sha1::from(&source).digest().to_string();
        Self {
            name,
            source,
            sha,
            writes: does != Does::Reads,
        }
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
    /// The script's name.
    pub(crate) fn name(&self) -> &'static str {
        self.script.name
    }

    /// The keys.
    pub(crate) fn keys(&self) -> &[Bytes] {
        &self.keys
    }

    /// The arguments.
    pub(crate) fn args(&self) -> &[Bytes] {
        &self.args
    }

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
        Command {
            slot,
            writes: self.script.writes,
            ..Command::new(name).args(args)
        }
    }
}
