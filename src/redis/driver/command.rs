//! Commands.

use bytes::Bytes;

use crate::redis::slots::slot;

/// The commands that change what is stored. What a script does is said by its call.
const WRITES: [&str; 18] = [
    "DEL",
    "EXEC",
    "EXPIRE",
    "JSON.DEL",
    "JSON.MERGE",
    "JSON.SET",
    "PERSIST",
    "PEXPIRE",
    "RENAME",
    "SADD",
    "SET",
    "SREM",
    "UNLINK",
    "ZADD",
    "ZREM",
    "ZREMRANGEBYLEX",
    "ZREMRANGEBYRANK",
    "ZREMRANGEBYSCORE",
];

/// One command. It is idempotent unless it says otherwise, so it may be sent again after an error.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// The name.
    pub(crate) name: &'static str,
    /// The arguments.
    pub(crate) args: Vec<Bytes>,
    /// The slot of the keys; `None` for a command without keys.
    pub(crate) slot: Option<u16>,
    /// Whether it changes what is stored, so that replicas may have to acknowledge it.
    pub(crate) writes: bool,
    /// Whether it is sent once at most, because a second reply would differ from the first.
    pub(crate) once: bool,
}

impl Command {
    /// A command without keys.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            args: Vec::new(),
            slot: None,
            writes: WRITES.contains(&name),
            once: false,
        }
    }

    /// A command on a key.
    pub(crate) fn on(name: &'static str, key: Bytes) -> Self {
        let slot = slot(&key);
        Self {
            args: vec![key],
            slot: Some(slot),
            ..Self::new(name)
        }
    }

    /// What a key takes in memory, as the server reports it.
    pub(crate) fn memory_usage(key: Bytes) -> Self {
        Self {
            args: vec![Bytes::from_static(b"USAGE"), key.clone()],
            ..Self::on("MEMORY", key)
        }
    }

    /// Appends an argument.
    pub(crate) fn arg(mut self, arg: impl Into<Bytes>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Appends arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = Bytes>) -> Self {
        self.args.extend(args);
        self
    }

    /// Whether the server may serve others while this one waits for its reply: WAIT, and searches,
    /// which RediSearch may run in threads of their own.
    pub(super) fn may_wait(&self) -> bool {
        self.name == "WAIT" || self.name.starts_with("FT.")
    }

    /// Lets the command be sent once at most.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }
}
