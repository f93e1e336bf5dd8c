//! One namespace of a thread in shallow mode: a document and the writes made since, each call
//! one script.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite,
};
use crate::codec::RawObject;
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, RunId, TaskId, ThreadId};
use crate::options::{ExpectedParent, PutOptions, PutWritesOptions};
use crate::redis::args::{milliseconds, number, text};
use crate::redis::document::{
    ReadCheckpoint, checkpoint_of_write, parse_write, parse_writes, shallow_document,
    shallow_write_document,
};
use crate::redis::driver::Reply;
use crate::redis::error::is_half_removed;
use crate::redis::keys::{CheckpointRef, ShallowKeys};
use crate::redis::progress::Counter;
use crate::redis::put;
use crate::redis::read::confirmed;
use crate::redis::scripts::{self, OneSlot, OneSlotScript, expected_parent};
use crate::redis::store::Store;

/// About how many writes are removed at once.
const SLICE: usize = 1_000;

/// How often a checkpoint is read while others come in between.
const PASSES: usize = 8;

/// Stores a checkpoint.
pub(super) async fn put(
    store: &Store,
    config: &CheckpointConfig,
    checkpoint: &Checkpoint,
    metadata: &CheckpointMetadata,
    options: &PutOptions,
) -> Result<CheckpointConfig> {
    let ttl = options.ttl.resolve(store.settings.ttl.default)?;
    let metadata = config.joined_metadata(metadata)?;
    refuse_delta_channels(&metadata)?;
    let place = Place::new(store, &config.thread_id, &config.namespace());
    let expected = match (&options.expected_parent, &config.checkpoint_id) {
        // A checkpoint that the config names as its own parent is one without.
        (ExpectedParent::Any, Some(parent)) if parent != checkpoint.id() => {
            Bytes::from(format!("~{parent}"))
        }
        (parent, _) => expected_parent(parent),
    };
    place
        .put(store, checkpoint, &metadata, ttl, expected)
        .await?;
    Ok(place.identity(checkpoint.id()).config())
}

/// Stores the writes of a task.
pub(super) async fn put_writes(
    store: &Store,
    config: &CheckpointConfig,
    writes: &[ChannelWrite],
    task_id: &TaskId,
    options: &PutWritesOptions,
) -> Result<()> {
    let ttl = options.ttl.resolve(store.settings.ttl.default)?;
    let id = config.required_checkpoint()?;
    if writes.is_empty() {
        return Ok(());
    }
    let place = Place::new(store, &config.thread_id, &config.namespace());
    let (replace, documents) = put::documents_of(store, writes, task_id, |idx, write| {
        let write = PendingWrite {
            task_id: task_id.clone(),
            task_path: options.task_path.clone(),
            idx,
            channel: write.channel.clone(),
            value: write.value.clone(),
        };
        place.stored(id, &write)
    })?;
    place
        .put_write_documents(store, id, documents, replace, ttl)
        .await
}

/// Reads the checkpoint of a namespace, whichever the config names: an older one is gone, and who
/// asks for it goes on from what there is.
pub(super) async fn get_tuple(
    store: &Store,
    config: &CheckpointConfig,
) -> Result<Option<CheckpointTuple>> {
    let place = Place::new(store, &config.thread_id, &config.namespace());
    let policy = store.settings.ttl;
    let refresh = policy.default.filter(|_| policy.refresh_on_read);
    place.get(store, "get_tuple", None, refresh).await
}

/// Refuses metadata that names delta channels: their values are made of what ancestors wrote.
fn refuse_delta_channels(metadata: &CheckpointMetadata) -> Result<()> {
    let field = "counters_since_delta_snapshot";
    let counters = metadata.fields().get(field);
    let counters = counters.and_then(|counters| RawObject::parse(counters.bytes().clone()).ok());
    let channels: Vec<_> = counters
        .iter()
        .flat_map(RawObject::iter)
        .map(|(channel, _)| format!("`{channel}`"))
        .collect();
    if channels.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(
        format!("metadata.{field}"),
        format!(
            "it names delta channels ({}), which need the checkpoint's ancestors, and a shallow saver keeps none: use the full saver",
            channels.join(", ")
        ),
    ))
}

/// One namespace of a thread.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) thread_id: ThreadId,
    namespace: CheckpointNamespace,
    pub(super) keys: ShallowKeys,
}

/// What was found in a place, for a copy.
pub(super) struct Everything {
    pub(super) tuple: Option<CheckpointTuple>,
    /// The writes that are not the tuple's, by the checkpoint that they wait for.
    pub(super) waiting: BTreeMap<CheckpointId, Vec<PendingWrite>>,
}

impl Place {
    pub(super) fn new(store: &Store, thread: &ThreadId, namespace: &CheckpointNamespace) -> Self {
        Self {
            keys: store.keyspace.thread(thread).shallow(namespace),
            thread_id: thread.clone(),
            namespace: namespace.clone(),
        }
    }

    fn identity(&self, id: &CheckpointId) -> CheckpointRef {
        CheckpointRef::new(&self.thread_id, &self.namespace, id)
    }

    /// The call of a script whose first keys and arguments are those of all scripts here.
    fn call(
        &self,
        script: &'static OneSlotScript,
        args: impl IntoIterator<Item = Bytes>,
    ) -> OneSlot {
        self.call_on(self.keys.registries_of_others.clone(), script, args)
    }

    /// The same with other keys at the end.
    fn call_on(
        &self,
        more_keys: impl IntoIterator<Item = Bytes>,
        script: &'static OneSlotScript,
        args: impl IntoIterator<Item = Bytes>,
    ) -> OneSlot {
        let keys = &self.keys;
        let own_keys = [&keys.document, &keys.registry, &keys.namespaces].map(Bytes::clone);
        let own_args = [
            text(self.thread_id.as_str()),
            text(self.namespace.as_str()),
            keys.stored.clone(),
            keys.writes.clone(),
        ];
        script.call(
            own_keys.into_iter().chain(more_keys).collect(),
            own_args.into_iter().chain(args).collect(),
        )
    }

    /// The same namespace of another thread.
    pub(super) fn of_thread(&self, store: &Store, thread: &ThreadId) -> Self {
        Self::new(store, thread, &self.namespace)
    }

    /// Stores a checkpoint, unless a newer one is there.
    pub(super) async fn put(
        &self,
        store: &Store,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        ttl: Option<Duration>,
        expected: Bytes,
    ) -> Result<()> {
        let id = checkpoint.id();
        let document = shallow_document(&self.identity(id), checkpoint, metadata);
        let what = || format!("the checkpoint {id} of thread {}", self.thread_id);
        store.check_size(what, document.len())?;
        let args = [document, text(id.as_str()), milliseconds(ttl), expected];
        let call = self.call(&scripts::SHALLOW_PUT, args);
        self.store_beside_nothing_left(store, "put", id, call).await
    }

    /// Runs a script that stores something of a checkpoint; what another call has left of one that
    /// was being removed is removed first.
    async fn store_beside_nothing_left(
        &self,
        store: &Store,
        operation: &'static str,
        id: &CheckpointId,
        call: OneSlot,
    ) -> Result<()> {
        loop {
            match store.script(operation, call.clone()).await {
                Err(error) if is_half_removed(&error) => {
                    let mut counter = Counter::new(None);
                    for id in [id.as_str(), ""] {
                        self.remove_from(store, id, "", true, &mut counter).await?;
                    }
                }
                reply => return reply.map(drop),
            }
        }
    }

    /// The key and the document of a write.
    pub(super) fn stored(&self, id: &CheckpointId, write: &PendingWrite) -> Result<(Bytes, Bytes)> {
        let key = self.keys.write(id, &write.task_id, write.idx);
        Ok((key, shallow_write_document(&self.identity(id), write)?))
    }

    /// Stores the documents of writes under their keys.
    pub(super) async fn put_write_documents(
        &self,
        store: &Store,
        id: &CheckpointId,
        documents: Vec<(Bytes, Bytes)>,
        replace: bool,
        ttl: Option<Duration>,
    ) -> Result<()> {
        let mode = Bytes::from_static(if replace { b"replace" } else { b"keep" });
        let (keys, documents): (Vec<_>, Vec<_>) = documents.into_iter().unzip();
        let args = [text(id.as_str()), milliseconds(ttl), mode];
        let args = args.into_iter().chain(documents);
        let call = self.call_on(keys, &scripts::SHALLOW_PUT_WRITES, args);
        self.store_beside_nothing_left(store, "put_writes", id, call)
            .await
    }

    /// Reads the checkpoint, if it is the one that is named, with its writes.
    pub(super) async fn get(
        &self,
        store: &Store,
        operation: &'static str,
        id: Option<&CheckpointId>,
        refresh: Option<Duration>,
    ) -> Result<Option<CheckpointTuple>> {
        let id = id.map_or("", CheckpointId::as_str);
        match self.pages(store, operation, id, refresh, false).await? {
            Some((document, writes)) => self.tuple(&document, writes),
            None => Ok(None),
        }
    }

    /// The call that reads the first page of a checkpoint and its writes, for [`Self::first_page`].
    pub(super) fn read(&self, id: &CheckpointId) -> OneSlot {
        self.page(id.as_str(), None, false, 0)
    }

    /// Makes a tuple of a first page; reads the others if there are more.
    pub(super) async fn first_page(
        &self,
        store: &Store,
        id: &CheckpointId,
        reply: Reply,
    ) -> Result<Option<CheckpointTuple>> {
        match Page::of(reply) {
            None => Ok(None),
            Some(page) if page.next == 0 => self.tuple(&page.document, page.writes),
            Some(_) => self.get(store, "list", Some(id), None).await,
        }
    }

    fn page(&self, id: &str, refresh: Option<Duration>, of_all: bool, skip: usize) -> OneSlot {
        let of_all: &[u8] = if of_all { b"all" } else { b"" };
        let args = [
            text(id),
            milliseconds(refresh),
            Bytes::from_static(of_all),
            number(skip),
        ];
        self.call(&scripts::SHALLOW_READ, args)
    }

    /// The document, empty if there is none, and the writes, in as many steps as they need.
    async fn pages(
        &self,
        store: &Store,
        operation: &'static str,
        id: &str,
        refresh: Option<Duration>,
        of_all: bool,
    ) -> Result<Option<(Bytes, Vec<Bytes>)>> {
        for _ in 0..PASSES {
            let call = self.page(id, refresh, of_all, 0);
            let Some(first) = Page::of(confirmed(store, operation, call).await?) else {
                return Ok(None);
            };
            let (mut next, mut writes) = (first.next, first.writes);
            while next > 0 {
                // All pages are of the one checkpoint that the first is of.
                let of = if of_all { "" } else { &first.id };
                let call = self.page(of, refresh, of_all, next);
                let page = Page::of(confirmed(store, operation, call).await?);
                let same = page.filter(|page| {
                    page.id == first.id && page.registered == first.registered && page.next != next
                });
                let Some(page) = same else { break };
                next = page.next;
                writes.extend(page.writes);
            }
            if next == 0 {
                return Ok(Some((first.document, writes)));
            }
        }
        Err(Error::Unavailable {
            reason: format!(
                "the writes of thread {} change all the time",
                self.thread_id
            ),
            source: None,
        })
    }

    /// Makes a tuple of what was read.
    fn tuple(&self, document: &Bytes, writes: Vec<Bytes>) -> Result<Option<CheckpointTuple>> {
        let Some(read) = self.parse(document)? else {
            return Ok(None);
        };
        let writes = parse_writes(&read.identity, writes)?;
        Ok(Some(read.with_writes(writes)))
    }

    fn parse(&self, document: &Bytes) -> Result<Option<ReadCheckpoint>> {
        let read = ReadCheckpoint::parse(&self.keys.document, document)?;
        let own = |one: &CheckpointRef| {
            one.thread_id == self.thread_id && one.namespace == self.namespace
        };
        Ok(read
            .filter(|read| own(&read.identity))
            .map(|read| ReadCheckpoint {
                parent: None,
                ..read
            }))
    }

    /// Reads the checkpoint and all writes, also those that came before their checkpoint.
    pub(super) async fn everything(&self, store: &Store) -> Result<Everything> {
        let found = self.pages(store, "copy_thread", "", None, true).await?;
        let (document, writes) = found.unwrap_or_default();
        let read = if document.is_empty() {
            None
        } else {
            self.parse(&document)?
        };
        let mut own = Vec::new();
        let mut waiting = BTreeMap::<CheckpointId, Vec<PendingWrite>>::new();
        for document in writes {
            let Some(id) = checkpoint_of_write(&document) else {
                continue;
            };
            let Some(write) = parse_write(&self.identity(&id), &document)? else {
                continue;
            };
            match &read {
                Some(read) if read.identity.checkpoint_id == id => own.push(write),
                Some(read) if read.identity.checkpoint_id > id => {}
                _ => waiting.entry(id).or_default().push(write),
            }
        }
        Ok(Everything {
            tuple: read.map(|read| read.with_writes(own)),
            waiting,
        })
    }

    /// Removes the checkpoint that a run made with its writes, or without a run all there is.
    pub(super) async fn remove(
        &self,
        store: &Store,
        of_run: Option<(&CheckpointId, &RunId)>,
        counter: &mut Counter,
    ) -> Result<()> {
        let (id, run) = of_run.map_or(("", ""), |(id, run)| (id.as_str(), run.as_str()));
        self.remove_from(store, id, run, false, counter).await
    }

    async fn remove_from(
        &self,
        store: &Store,
        id: &str,
        run: &str,
        mut goes_on: bool,
        counter: &mut Counter,
    ) -> Result<()> {
        loop {
            let goes = number(usize::from(goes_on));
            let args = [text(id), text(run), number(SLICE), goes];
            let call = self.call(&scripts::SHALLOW_REMOVE, args);
            let reply = store.script("delete", call).await?.into_array();
            let number = |position: usize| {
                let number = reply.get(position).and_then(Reply::as_int);
                number.and_then(|number| u64::try_from(number).ok())
            };
            counter.add(number(0).unwrap_or(0), number(1).unwrap_or(0));
            if number(2) != Some(1) {
                return Ok(());
            }
            goes_on = true;
        }
    }

    /// Gives the checkpoint and its writes another TTL; `false` if there is nothing.
    pub(super) async fn change_ttl(
        &self,
        store: &Store,
        ttl: Option<Duration>,
        verb: &'static str,
    ) -> Result<bool> {
        let (mut found, mut registry, mut first, mut members) = (0, 1, 0, 0);
        while registry > 0 {
            let verb = Bytes::from_static(verb.as_bytes());
            let at = [registry, first, members, found].map(number);
            let args = [milliseconds(ttl), verb].into_iter().chain(at);
            let call = self.call(&scripts::SHALLOW_TTL, args);
            let reply = store.script("ttl", call).await?.into_array();
            [found, registry, first, members] =
                [0, 1, 2, 3].map(|at| reply.get(at).and_then(Reply::as_int).unwrap_or(0));
        }
        Ok(found > 0)
    }
}

/// What one step has read.
struct Page {
    /// Where the next page begins; 0 if this was the last.
    next: usize,
    /// How many members the registries have.
    registered: i64,
    id: String,
    /// Empty if there is none, and in every page but the first.
    document: Bytes,
    writes: Vec<Bytes>,
}

impl Page {
    /// Reads a reply; `None` if there is no checkpoint.
    fn of(reply: Reply) -> Option<Self> {
        let mut parts = reply.into_array().into_iter();
        let next = parts.next()?.as_int().unwrap_or(0);
        let registered = parts.next()?.as_int().unwrap_or(0);
        let mut rest = parts.filter_map(Reply::into_bytes);
        let id = rest.next().unwrap_or_default();
        Some(Self {
            next: usize::try_from(next).unwrap_or(0),
            registered,
            id: String::from_utf8_lossy(&id).into_owned(),
            document: rest.next().unwrap_or_default(),
            writes: rest.collect(),
        })
    }
}
