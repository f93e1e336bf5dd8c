//! `list`: pages of ids of namespaces, merged newest first, then their heads, then the parts.
//!
//! A list over all threads walks over the keys and asks each thread for its ids: it takes memory
//! for each namespace, and time for each thread, whatever it gives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::Compact;
use super::read::ReadHead;
use super::scripts::{Order, Overview, namespaces_call, page_call, page_of};
use super::threads::ThreadIds;
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::ListOptions;
use crate::redis::compact::{Reader, ThreadCodec};
use crate::redis::keys::CheckpointRef;
use crate::saver::SaverStream;

/// How many namespaces are asked for in one step.
const NAMESPACES: usize = 100;

/// How many threads or namespaces are read in one pipeline.
const PIPELINE: usize = 256;

/// How many bytes of long values are put together at once, but for one checkpoint that has more.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// Streams checkpoints, newest first.
pub(super) fn list(
    layout: &Arc<Compact>,
    config: Option<&CheckpointConfig>,
    options: ListOptions,
) -> SaverStream<CheckpointTuple> {
    // A filter that names the thread needs no look at the others.
    let named = options.filter.thread().map(CheckpointConfig::of_thread);
    let config = config.or(named.as_ref()).cloned();
    streamed(layout, config, String::new(), options)
}

/// Streams the checkpoints of all threads whose ids start with a prefix, newest first.
pub(super) fn list_within(
    layout: &Arc<Compact>,
    prefix: &str,
    options: ListOptions,
) -> SaverStream<CheckpointTuple> {
    streamed(layout, None, prefix.to_owned(), options)
}

/// Streams the checkpoints of a namespace, newest first.
pub(super) fn list_namespace(
    layout: &Arc<Compact>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
) -> SaverStream<CheckpointTuple> {
    let mut config = CheckpointConfig::of_thread(thread.clone());
    config.checkpoint_ns = Some(namespace.clone());
    streamed(layout, Some(config), String::new(), ListOptions::default())
}

/// Streams the checkpoints that are named, in the order given; those that are gone are left out.
pub(super) fn list_named(
    layout: &Arc<Compact>,
    named: Vec<CheckpointRef>,
) -> SaverStream<CheckpointTuple> {
    let Some(thread) = named.first().map(|at| at.thread_id.clone()) else {
        return stream::empty().boxed();
    };
    let config = Some(CheckpointConfig::of_thread(thread));
    let mut lister = Lister::new(layout, config, String::new(), ListOptions::default());
    lister.source = Source::Named(named.into());
    lister.stream()
}

fn streamed(
    layout: &Arc<Compact>,
    config: Option<CheckpointConfig>,
    within: String,
    options: ListOptions,
) -> SaverStream<CheckpointTuple> {
    Lister::new(layout, config, within, options).stream()
}

struct Lister {
    layout: Arc<Compact>,
    /// `None` for all threads that start so.
    config: Option<CheckpointConfig>,
    within: String,
    options: ListOptions,
    left: usize,
    source: Source,
    /// Those of a page that were read without their parts.
    read: VecDeque<ReadHead>,
    ready: VecDeque<CheckpointTuple>,
}

/// Where ids come from.
enum Source {
    Start,
    Named(VecDeque<CheckpointRef>),
    Namespaces(Vec<Cursor>),
}

/// The ids of one namespace that were read ahead.
struct Cursor {
    thread_id: ThreadId,
    namespace: CheckpointNamespace,
    ids: VecDeque<CheckpointId>,
    last: Option<CheckpointId>,
    ended: bool,
}

impl Cursor {
    fn new(thread: &ThreadId, namespace: CheckpointNamespace) -> Self {
        Self {
            thread_id: thread.clone(),
            namespace,
            ids: VecDeque::new(),
            last: None,
            ended: false,
        }
    }
}

impl Lister {
    fn new(
        layout: &Arc<Compact>,
        config: Option<CheckpointConfig>,
        within: String,
        options: ListOptions,
    ) -> Self {
        Self {
            layout: Arc::clone(layout),
            config,
            within,
            left: options.limit.unwrap_or(usize::MAX),
            options,
            source: Source::Start,
            read: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    fn stream(self) -> SaverStream<CheckpointTuple> {
        stream::try_unfold(self, |mut lister| async move {
            Ok(lister.next().await?.map(|tuple| (tuple, lister)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<CheckpointTuple>> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            if let Some(tuple) = self.ready.pop_front() {
                self.left -= 1;
                return Ok(Some(tuple));
            }
            if self.read.is_empty() {
                let page = self.next_ids().await?;
                if page.is_empty() {
                    return Ok(None);
                }
                self.read_page(&page).await?;
            }
            self.put_together().await?;
        }
    }

    async fn next_ids(&mut self) -> Result<Vec<CheckpointRef>> {
        let page = self.layout.store.settings.page_size;
        let wanted = if self.options.filter.is_empty() {
            page.min(self.left)
        } else {
            page
        };
        if matches!(self.source, Source::Start) {
            self.source = self.start().await?;
        }
        let mut ids = Vec::with_capacity(wanted);
        while ids.len() < wanted {
            let next = match &mut self.source {
                Source::Start => None,
                Source::Named(named) => named.pop_front(),
                Source::Namespaces(cursors) => {
                    let before = self.options.before.as_ref();
                    next_of(&self.layout, cursors, before, wanted).await?
                }
            };
            match next {
                Some(next) => ids.push(next),
                None => break,
            }
        }
        Ok(ids)
    }

    async fn start(&self) -> Result<Source> {
        let layout = &self.layout;
        let Some(config) = &self.config else {
            return Ok(Source::Namespaces(
                every_namespace(layout, &self.within).await?,
            ));
        };
        let thread = &config.thread_id;
        let namespaces = match &config.checkpoint_ns {
            Some(namespace) => vec![namespace.clone()],
            None => layout.namespaces("list", thread).await?,
        };
        let Some(id) = &config.checkpoint_id else {
            let cursors = namespaces.into_iter().map(|one| Cursor::new(thread, one));
            return Ok(Source::Namespaces(cursors.collect()));
        };
        let wanted = self
            .options
            .before
            .as_ref()
            .is_none_or(|before| id < before);
        let named = namespaces
            .iter()
            .filter(|_| wanted)
            .map(|namespace| CheckpointRef::new(thread, namespace, id));
        Ok(Source::Named(named.collect()))
    }

    /// Reads a page without the parts of its values, but for those of the metadata that a filter
    /// needs.
    async fn read_page(&mut self, page: &[CheckpointRef]) -> Result<()> {
        let layout = &self.layout;
        let codecs = codecs(layout, page.iter());
        let mut readers = readers(&codecs);
        for found in layout.read_heads("list", page, &mut readers).await? {
            let Some(Some(read)) = self.if_readable(found)? else {
                continue;
            };
            let thread = &read.at.thread_id;
            let filter = &self.options.filter;
            if !filter.is_empty()
                && let Some(reader) = readers.get_mut(thread)
            {
                let ropes: Vec<_> = read.head.metadata_ropes().collect();
                let ropes = &ropes;
                let absent = layout.fetch("list", thread, reader, ropes).await;
                let keys = layout.store.keyspace.compact(thread);
                let metadata = match self.if_readable(absent)? {
                    None => continue,
                    Some(None) => self.if_readable(read.metadata(&keys, reader))?,
                    Some(Some(_)) => {
                        // It was removed in the meantime, or cannot be read.
                        let alone = layout.read("list", &read.at.config(), false).await;
                        let alone = self.if_readable(alone)?.flatten();
                        alone.map(|tuple| tuple.metadata)
                    }
                };
                if !metadata.is_some_and(|metadata| filter.matches_in(thread, &metadata)) {
                    continue;
                }
            }
            self.read.push_back(read);
        }
        Ok(())
    }

    /// Puts together some of those that were read.
    async fn put_together(&mut self) -> Result<()> {
        let (mut group, mut bytes) = (Vec::new(), 0_usize);
        while let Some(read) = self.read.front()
            && (group.is_empty() || bytes.saturating_add(read.size()) <= GROUP_BYTES)
        {
            bytes = bytes.saturating_add(read.size());
            group.extend(self.read.pop_front());
        }
        let layout = &self.layout;
        let codecs = codecs(layout, group.iter().map(|read| &read.at));
        let mut readers = readers(&codecs);
        // Most often all are of one thread.
        for of_thread in group.chunk_by(|one, other| one.at.thread_id == other.at.thread_id) {
            let Some(first) = of_thread.first() else {
                continue;
            };
            let thread = &first.at.thread_id;
            let Some(reader) = readers.get_mut(thread) else {
                continue;
            };
            let ropes = of_thread
                .iter()
                .flat_map(ReadHead::ropes)
                .collect::<Vec<_>>();
            let fetched = layout.fetch("list", thread, reader, &ropes).await;
            if matches!(fetched, Ok(None)) {
                let keys = layout.store.keyspace.compact(thread);
                for read in of_thread {
                    let whole = self.if_readable(read.whole(&keys, reader))?;
                    self.ready.extend(whole);
                }
                continue;
            }
            // One of them was removed in the meantime, or cannot be read.
            for read in of_thread {
                let config = read.at.config();
                let alone = layout.read("list", &config, false).await;
                self.ready.extend(self.if_readable(alone)?.flatten());
            }
        }
        Ok(())
    }

    /// What was read; where the list is over all threads, a key of another type or a checkpoint
    /// that cannot be read does not end it for all: it is left out and named in a warning.
    fn if_readable<T>(&self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. }))
                if self.config.is_none() =>
            {
                tracing::warn!(error = %error.report(), "a checkpoint is left out of a list over all threads");
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}

/// A codec for each thread.
pub(super) fn codecs<'a, 'r>(
    layout: &'a Compact,
    of: impl Iterator<Item = &'r CheckpointRef>,
) -> BTreeMap<ThreadId, ThreadCodec<'a>> {
    let threads: BTreeSet<&ThreadId> = of.map(|at| &at.thread_id).collect();
    let codecs = threads.into_iter();
    codecs
        .map(|thread| (thread.clone(), layout.codec.of_thread(thread)))
        .collect()
}

/// A reader for each thread.
pub(super) fn readers<'a>(
    codecs: &'a BTreeMap<ThreadId, ThreadCodec<'a>>,
) -> BTreeMap<ThreadId, Reader<'a>> {
    let readers = codecs.iter();
    readers
        .map(|(thread, codec)| (thread.clone(), Reader::new(codec)))
        .collect()
}

/// The namespaces of all threads that start so.
async fn every_namespace(layout: &Compact, within: &str) -> Result<Vec<Cursor>> {
    let store = &layout.store;
    let mut ids = ThreadIds::starting(layout, "list", within);
    let mut threads = Vec::new();
    while let Some(page) = ids.next(layout).await? {
        threads.extend(page);
    }
    let mut cursors = Vec::new();
    for slice in threads.chunks(PIPELINE) {
        let steps = slice.iter().map(|thread| {
            let keys = store.keyspace.compact(thread);
            namespaces_call(&keys, None, NAMESPACES).into()
        });
        let replies = store.pipeline("list", steps.collect()).await?;
        for (thread, reply) in slice.iter().zip(replies) {
            let keys = store.keyspace.compact(thread);
            let found = match reply.and_then(|reply| Overview::of(&keys, reply)) {
                Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. })) => {
                    tracing::warn!(%thread, error = %error.report(), "a thread is left out of a list over all threads");
                    continue;
                }
                found => found?,
            };
            let namespaces = if found.namespaces.len() < NAMESPACES {
                found.namespaces.into_iter().map(|(one, _)| one).collect()
            } else {
                layout.namespaces("list", thread).await?
            };
            cursors.extend(namespaces.into_iter().map(|one| Cursor::new(thread, one)));
        }
    }
    Ok(cursors)
}

impl Compact {
    /// The namespaces in which a thread has checkpoints.
    pub(super) async fn namespaces(
        &self,
        operation: &'static str,
        thread: &ThreadId,
    ) -> Result<Vec<CheckpointNamespace>> {
        let keys = self.store.keyspace.compact(thread);
        let mut namespaces = Vec::new();
        loop {
            let call = namespaces_call(&keys, namespaces.last(), NAMESPACES);
            let found = Overview::of(&keys, self.store.script(operation, call).await?)?;
            let is_last = found.namespaces.len() < NAMESPACES;
            namespaces.extend(found.namespaces.into_iter().map(|(one, _)| one));
            if is_last {
                return Ok(namespaces);
            }
        }
    }
}

/// The newest id of all cursors. Ties go by thread, then by namespace.
async fn next_of(
    layout: &Compact,
    cursors: &mut Vec<Cursor>,
    before: Option<&CheckpointId>,
    wanted: usize,
) -> Result<Option<CheckpointRef>> {
    cursors.retain(|cursor| !(cursor.ended && cursor.ids.is_empty()));
    // With many namespaces each gives few of a page.
    let many = cursors.len() > 8;
    let asked = if many { wanted.min(8) } else { wanted }.max(1);
    let mut empty: Vec<_> = cursors
        .iter_mut()
        .filter(|cursor| cursor.ids.is_empty())
        .collect();
    for chunk in empty.chunks_mut(PIPELINE) {
        let steps = chunk.iter().map(|cursor| {
            let keys = layout.store.keyspace.compact(&cursor.thread_id);
            let start = cursor.last.as_ref().or(before);
            page_call(&keys, &cursor.namespace, Order::NewestFirst, start, asked).into()
        });
        let replies = layout.store.pipeline("list", steps.collect()).await?;
        for (cursor, reply) in chunk.iter_mut().zip(replies) {
            let keys = layout.store.keyspace.compact(&cursor.thread_id);
            let (more, ids) = page_of(&keys, reply?)?;
            cursor.ended = !more;
            cursor.last = ids.last().cloned().or(cursor.last.take());
            cursor.ids.extend(ids);
        }
    }
    let newest = cursors
        .iter_mut()
        .filter(|cursor| !cursor.ids.is_empty())
        .max_by(|one, other| {
            let by_id = one.ids.front().cmp(&other.ids.front());
            by_id.then_with(|| {
                (&other.thread_id, &other.namespace).cmp(&(&one.thread_id, &one.namespace))
            })
        });
    Ok(newest.and_then(|cursor| {
        let id = cursor.ids.pop_front()?;
        Some(CheckpointRef::new(
            &cursor.thread_id,
            &cursor.namespace,
            &id,
        ))
    }))
}
