//! Takes some of what has expired out of a thread's registries, so that a thread that goes on for
//! ever remembers little more than what is there.
//!
//! A put looks at three members that chance picks, and remembers those that lead to nothing; the
//! next put of the namespace looks at these again and takes them out. So it costs no round trip.

use bytes::Bytes;

use super::super::driver::{Command, Reply};
use super::super::store::Store;
use super::flight::{Answers, Part};
use super::thread::awaited;
use super::{Plain, after, join};
use crate::error::Result;

/// How many members are looked at.
const LOOK_AT: &[u8] = b"3";
/// How many members of a set are gone through to see whether one is awaited.
const MANY: &[u8] = b"10000";

/// A member that leads to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::redis) enum Trace {
    /// A checkpoint whose document is gone.
    Checkpoint(Bytes),
    /// A mark of writes whose registry is gone, with the registry.
    Mark(Bytes, Bytes),
    /// A namespace whose registry is gone.
    Namespace(Bytes),
}

impl Trace {
    /// The same in memory of its own.
    fn apart(&self) -> Self {
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        match self {
            Self::Checkpoint(id) => Self::Checkpoint(copy(id)),
            Self::Mark(mark, registry) => Self::Mark(copy(mark), copy(registry)),
            Self::Namespace(namespace) => Self::Namespace(copy(namespace)),
        }
    }
}

/// What one look found.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// The parts that take out what still leads to nothing.
    pub(super) out: Vec<Part>,
    /// What chance has picked to be looked at.
    pub(super) picked: Vec<Trace>,
}

/// The registries of a namespace that are swept.
pub(super) struct Sweep<'a> {
    pub(super) registry: &'a Bytes,
    pub(super) namespaces: &'a Bytes,
    /// How the keys of the namespace's documents start.
    pub(super) documents: &'a Bytes,
    /// How the keys of all namespaces' registries start.
    pub(super) registries: &'a [u8],
    /// How the keys of all registries of writes start.
    pub(super) write_registries: &'a [u8],
    traces: Vec<Trace>,
}

impl<'a> Sweep<'a> {
    /// Takes up what the last put found.
    pub(super) fn new(
        store: &Store,
        registry: &'a Bytes,
        namespaces: &'a Bytes,
        documents: &'a Bytes,
        registries: &'a [u8],
        write_registries: &'a [u8],
    ) -> Self {
        Self {
            registry,
            namespaces,
            documents,
            registries,
            write_registries,
            traces: store.take_traces(registry),
        }
    }

    /// The parts that look at what the last put found, and pick what this one looks at.
    pub(super) fn look(&self) -> Vec<Part> {
        let mut parts = self.look_at(&self.traces);
        parts.push(Part::of("ZRANDMEMBER", self.registry, [LOOK_AT]));
        parts.push(Part::of("SRANDMEMBER", self.namespaces, [LOOK_AT]));
        parts
    }

    /// Reads the answers.
    pub(super) fn read(&self, answers: &mut Answers) -> Result<Swept> {
        let gone = Self::gone(&self.traces, answers)?;
        let out = gone.iter().map(|trace| match trace {
            Trace::Checkpoint(id) => Part::of("ZREM", self.registry, [&id[..]]),
            Trace::Mark(member, _) | Trace::Namespace(member) => {
                Part::of("SREM", self.namespaces, [&member[..]])
            }
        });
        let out = out.collect();
        let ids = answers.list()?.into_iter();
        let ids = ids.filter(|id| !id.is_empty()).map(Trace::Checkpoint);
        let members = answers.list()?.into_iter();
        let members = members.filter_map(|member| self.trace(member));
        Ok(Swept {
            out,
            picked: ids.chain(members).collect(),
        })
    }

    /// The parts that look at members.
    pub(super) fn look_at(&self, traces: &[Trace]) -> Vec<Part> {
        let parts = traces.iter().flat_map(|trace| match trace {
            Trace::Checkpoint(id) => vec![exists(&join(&[self.documents, id]))],
            Trace::Mark(_, registry) => vec![exists(registry)],
            Trace::Namespace(namespace) => {
                let scan = Command::on("SSCAN", self.namespaces.clone())
                    .arg("0")
                    .arg("MATCH")
                    .arg(glob(&awaited(namespace, b"")))
                    .arg("COUNT")
                    .arg(Bytes::from_static(MANY));
                let registry = join(&[self.registries, namespace]);
                vec![exists(&registry), Part::command(scan)]
            }
        });
        parts.collect()
    }

    /// Those that lead to nothing.
    pub(super) fn gone(traces: &[Trace], answers: &mut Answers) -> Result<Vec<Trace>> {
        let mut gone = Vec::new();
        for trace in traces {
            let mut is_gone = answers.int()? == 0;
            if matches!(trace, Trace::Namespace(_)) {
                let mut found = answers.one()?.into_array().into_iter();
                let (cursor, marks) = (found.next(), found.next());
                let is_all = cursor
                    .and_then(Reply::into_bytes)
                    .is_some_and(|at| at == "0");
                let marks = marks.map_or(0, |marks| marks.into_array().len());
                is_gone &= is_all && marks == 0;
            }
            if is_gone {
                gone.push(trace.clone());
            }
        }
        Ok(gone)
    }

    fn trace(&self, member: Bytes) -> Option<Trace> {
        if let Some(mark) = after(&member, b"\0writes\0") {
            let gap = mark.iter().position(|byte| *byte == 0)?;
            let registry = join(&[self.write_registries, &mark[..gap], b":", &mark[gap + 1..]]);
            return Some(Trace::Mark(member, registry));
        }
        (member.first() != Some(&0)).then_some(Trace::Namespace(member))
    }
}

impl Plain<'_> {
    /// Remembers what leads to nothing for the next put of a namespace.
    pub(super) fn remember_traces(&self, registry: &Bytes, traces: &[Trace]) {
        if !traces.is_empty() {
            // Apart from the answers that they came in, which may be large.
            let traces = traces.iter().map(Trace::apart).collect();
            self.store.remember_traces(registry, traces);
        }
    }
}

fn exists(key: &Bytes) -> Part {
    Part::of("EXISTS", key, [])
}

/// A pattern for what starts with some bytes.
fn glob(start: &[u8]) -> Bytes {
    let mut pattern = Vec::with_capacity(start.len() + 1);
    for byte in start {
        if b"*?[]\\^".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    Bytes::from(pattern)
}
