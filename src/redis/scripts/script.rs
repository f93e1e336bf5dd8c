//! Scripts as a server knows them, and what is sent to run one: no script in particular.

use bytes::Bytes;

use super::super::args::number;
use super::super::driver::Command;
use super::super::slots::slot;

/// A script.
#[derive(Debug)]
pub(super) struct Script {
    source: String,
    sha: String,
    /// Whether replicas may have to acknowledge what it did.
    writes: bool,
}

/// What a script does to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It reads. It may mend a registry or refresh TTLs on its way: nothing that a replica would
    /// have to acknowledge.
    Reads,
    /// It stores something.
    Writes,
    /// It removes or keeps what is there, also on a server without free memory: what little it
    /// stores on the way is part of it.
    Frees,
}

impl Script {
    /// A script of some parts, of which the first are shared by several.
    pub(super) fn new(effect: Effect, parts: &[&str]) -> Self {
        let flags = match effect {
            Effect::Frees => "#!lua flags=allow-oom\n",
            Effect::Reads | Effect::Writes => "",
        };
        let source = format!("{flags}{}", parts.join("\n"));
        let sha = sha1_smol::Sha1::from(&source).digest().to_string();
        Self {
            source,
            sha,
            writes: effect != Effect::Reads,
        }
    }

    pub(super) fn call(&'static self, keys: Vec<Bytes>, args: Vec<Bytes>) -> ScriptCall {
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
    /// The keys.
    pub(crate) fn keys(&self) -> &[Bytes] {
        &self.keys
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
        let slot = self.keys.first().map(|key| slot(key));
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

/// What is sent as one of a batch. Each is atomic.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Command(Command),
    Script(ScriptCall),
}

impl Request {
    /// A command on a key, with arguments.
    pub(crate) fn on<'a>(
        name: &'static str,
        key: &Bytes,
        args: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        let args = args.into_iter().map(Bytes::copy_from_slice);
        Self::Command(Command::on(name, key.clone()).args(args))
    }

    /// The first key.
    pub(crate) fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Command(command) => command.args.first(),
            Self::Script(script) => script.keys.first(),
        }
    }

    /// The command that is sent to a server that should know the script already.
    pub(crate) fn by_hash(&self) -> Command {
        match self {
            Self::Command(command) => command.clone(),
            Self::Script(script) => script.by_hash(),
        }
    }
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}
