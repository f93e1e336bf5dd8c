//! Scripts on one key.

use bytes::Bytes;

use super::super::args::number;
use super::super::driver::Command;
use super::{OneKey, Request};

/// Removes a document or a write, if it says that it is a thread's. Returns 1 if it was removed, 0
/// if it is another's, -1 if it is gone.
#[derive(Debug, Clone)]
pub(crate) struct RemoveKeyCall {
    pub(crate) key: Bytes,
    pub(crate) thread: Bytes,
    /// The checkpoint that it must be of, with its namespace as it is stored; `None` for any.
    pub(crate) checkpoint: Option<(Bytes, Bytes)>,
    /// Whether it may also say nothing of itself.
    pub(crate) or_nameless: bool,
}

impl From<RemoveKeyCall> for OneKey {
    fn from(call: RemoveKeyCall) -> Self {
        let nameless: &[u8] = if call.or_nameless { b"nameless" } else { b"" };
        let (namespace, checkpoint) = call.checkpoint.unwrap_or_default();
        let args = vec![
            call.thread,
            namespace,
            checkpoint,
            Bytes::from_static(nameless),
        ];
        Self::new(&super::REMOVE_KEY, call.key, args)
    }
}

/// Removes a key that holds a value of another type than it should. Returns 1 if it was removed,
/// else 0.
#[derive(Debug, Clone)]
pub(crate) struct DiscardCall {
    pub(crate) key: Bytes,
    /// The type that it should be of.
    pub(crate) wanted: &'static str,
}

impl From<DiscardCall> for OneKey {
    fn from(call: DiscardCall) -> Self {
        Self::new(&super::DISCARD, call.key, vec![Bytes::from(call.wanted)])
    }
}

/// Lets a pointer name a newer checkpoint; never an older one than it names.
#[derive(Debug, Clone)]
pub(crate) struct AdvancePointerCall {
    pub(crate) pointer: Bytes,
    /// How the keys of the namespace's documents start.
    pub(crate) documents: Bytes,
    pub(crate) id: Bytes,
    /// In milliseconds, 0 for none.
    pub(crate) ttl: i64,
    /// An id whose document is gone, so that the pointer may leave it.
    pub(crate) gone: Option<Bytes>,
}

impl From<AdvancePointerCall> for OneKey {
    fn from(call: AdvancePointerCall) -> Self {
        let args = vec![
            Bytes::from([&call.documents[..], &call.id].concat()),
            call.documents,
            call.id,
            number(call.ttl),
            call.gone.unwrap_or_default(),
        ];
        Self::new(&super::ADVANCE_POINTER, call.pointer, args)
    }
}

/// Registers a checkpoint unless the registry names a newer one than the caller expects. Returns
/// newer ids, the newest first; none if the checkpoint is registered.
#[derive(Debug, Clone)]
pub(crate) struct RegisterIfNewestCall {
    pub(crate) registry: Bytes,
    pub(crate) id: Bytes,
    /// The expected newest, empty for none.
    pub(crate) expected: Bytes,
    /// In milliseconds, 0 for none.
    pub(crate) ttl: i64,
    /// Ids that are newer than the expected one and whose documents are gone.
    pub(crate) gone: Vec<Bytes>,
}

impl From<RegisterIfNewestCall> for OneKey {
    fn from(call: RegisterIfNewestCall) -> Self {
        let mut args = vec![call.id, call.expected, number(call.ttl)];
        args.extend(call.gone);
        Self::new(&super::REGISTER_IF_NEWEST, call.registry, args)
    }
}

/// Runs commands on one key and sets its TTL, all as one step: so that the key is never there
/// without its TTL. Returns what each command returned, up to the one that did nothing.
#[derive(Debug, Clone)]
pub(crate) struct RunOnKey {
    key: Bytes,
    actions: Vec<Action>,
    when_full: bool,
}

#[derive(Debug, Clone)]
enum Action {
    Run(&'static str, Vec<Bytes>),
    StopIfNothingDone,
    /// The TTL in milliseconds.
    SetTtl {
        ttl: i64,
        /// Whether things of different TTLs share the key, which gets the longest.
        is_shared: bool,
        /// Whether the key may have been there before, with a TTL of its own.
        was_there: bool,
    },
}

impl RunOnKey {
    pub(crate) fn new(key: &Bytes) -> Self {
        Self {
            key: key.clone(),
            actions: Vec::new(),
            when_full: false,
        }
    }

    /// Runs also on a server without free memory: for what is part of freeing some.
    pub(crate) fn even_when_full(mut self) -> Self {
        self.when_full = true;
        self
    }

    /// Runs a command on the key.
    pub(crate) fn run(mut self, name: &'static str, args: impl IntoIterator<Item = Bytes>) -> Self {
        self.actions
            .push(Action::Run(name, args.into_iter().collect()));
        self
    }

    /// Goes on only if the last command has done something.
    pub(crate) fn if_done(mut self) -> Self {
        self.actions.push(Action::StopIfNothingDone);
        self
    }

    /// Gives the key a TTL of its own, 0 for none.
    pub(crate) fn ttl(mut self, ttl: i64, was_there: bool) -> Self {
        self.actions.push(Action::SetTtl {
            ttl,
            is_shared: false,
            was_there,
        });
        self
    }

    /// Gives the key, which is shared by things of different TTLs, the longest.
    pub(crate) fn shared_ttl(mut self, ttl: i64) -> Self {
        self.actions.push(Action::SetTtl {
            ttl,
            is_shared: true,
            was_there: true,
        });
        self
    }

    /// The one command, if it needs no script: a key that is new and gets no TTL does not.
    fn single_command(&self) -> Option<Command> {
        let [Action::Run(name, args), rest @ ..] = &self.actions[..] else {
            return None;
        };
        let needs_nothing = |action: &Action| {
            matches!(
                action,
                Action::StopIfNothingDone
                    | Action::SetTtl {
                        ttl: 0,
                        is_shared: false,
                        was_there: false
                    }
            )
        };
        let is_single = !self.when_full && rest.iter().all(needs_nothing);
        is_single.then(|| {
            let command = Command::on(name, self.key.clone());
            command.args(args.iter().cloned())
        })
    }
}

impl From<RunOnKey> for OneKey {
    fn from(call: RunOnKey) -> Self {
        let mut args = Vec::new();
        for action in call.actions {
            match action {
                Action::Run(name, more) => {
                    args.extend([number(more.len()), Bytes::from_static(name.as_bytes())]);
                    args.extend(more);
                }
                Action::StopIfNothingDone => args.extend(["0", "done"].map(Bytes::from)),
                Action::SetTtl { ttl, is_shared, .. } => {
                    let name = if is_shared { "shared" } else { "own" };
                    args.extend([number(1), Bytes::from(name), number(ttl)]);
                }
            }
        }
        let script = if call.when_full {
            &super::RUN_ON_KEY_WHEN_FULL
        } else {
            &super::RUN_ON_KEY
        };
        Self::new(script, call.key, args)
    }
}

impl From<RunOnKey> for Request {
    fn from(call: RunOnKey) -> Self {
        match call.single_command() {
            Some(command) => Self::Command(command),
            None => Self::Script(OneKey::from(call).script()),
        }
    }
}
