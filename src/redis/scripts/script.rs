//! Scripts as a server knows them, and what is sent to run one: no script in particular.

use std::collections::HashSet;

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
    /// A script, with what it needs of the files that several share.
    pub(super) fn new(effect: Effect, shared: &[&str], body: &str) -> Self {
        let flags = match effect {
            Effect::Frees => "#!lua flags=allow-oom\n",
            Effect::Reads | Effect::Writes => "",
        };
        let source = format!("{flags}{}{body}", needed(shared, body).concat());
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

/// The locals of shared files that a script names, and those that these name, in their order. A
/// server makes every local again each time that it runs the script.
fn needed<'a>(shared: &[&'a str], body: &str) -> Vec<&'a str> {
    let mut named: HashSet<&str> = words(body).collect();
    let mut needed = Vec::new();
    let locals: Vec<_> = shared.iter().flat_map(|text| locals(text)).collect();
    // A local names only those that come before it.
    for local in locals.into_iter().rev() {
        if names_of(local).any(|name| named.contains(name)) {
            named.extend(words(local));
            needed.push(local);
        }
    }
    needed.reverse();
    needed
}

/// The locals of a shared file, each with the comment before it. Nothing else stands at the start
/// of a line.
fn locals(text: &str) -> Vec<&str> {
    let (mut starts, mut comment, mut offset) = (Vec::new(), None, 0);
    for line in text.split_inclusive('\n') {
        if line.starts_with("--") {
            comment.get_or_insert(offset);
        } else {
            if line.starts_with("local ") {
                starts.push(comment.unwrap_or(offset));
            }
            comment = None;
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let locals = starts.iter().zip(ends);
    locals.map(|(start, end)| &text[*start..end]).collect()
}

/// The names that a local defines.
fn names_of(local: &str) -> impl Iterator<Item = &str> {
    let line = local.lines().find_map(|line| line.strip_prefix("local "));
    let line = line.unwrap_or_default();
    let names = match line.strip_prefix("function ") {
        Some(function) => function.split('(').next(),
        None => line.split('=').next(),
    };
    words(names.unwrap_or_default())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| !word.is_empty())
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

#[cfg(test)]
mod tests {
    const SHARED: &str = "-- About the file.\n\n\
        local a, b = KEYS[1], KEYS[2]\n\n\
        -- Uses a.\n\
        local function first()\n  return a\nend\n\n\
        local function second()\n  return first()\nend\n\
        local LAST = 1\n";

    #[test]
    fn a_script_has_the_locals_that_it_needs_in_their_order() {
        let needed = |body| super::needed(&[SHARED], body).concat();
        assert_eq!(needed("return 1"), "");
        assert_eq!(needed("return LAST"), "local LAST = 1\n");
        assert_eq!(needed("return b"), "local a, b = KEYS[1], KEYS[2]\n\n");
        let all = needed("return second(LAST)");
        assert_eq!(all, SHARED.strip_prefix("-- About the file.\n\n").unwrap());
        assert!(needed("first()").contains("-- Uses a.\nlocal function first()"));
        assert!(!needed("second_of_first()").contains("local"));
    }

    #[test]
    fn shared_files_hold_locals_and_nothing_else() {
        for text in [
            include_str!("../lua/prelude.lua"),
            include_str!("../lua/doctor.lua"),
            include_str!("../lua/compact.lua"),
        ] {
            for line in text.lines() {
                let is_inside = line.is_empty() || line.starts_with([' ', '-']);
                let is_local = line.starts_with("local ") || line == "end" || line == "}";
                assert!(is_inside || is_local, "{line}");
            }
        }
    }
}
