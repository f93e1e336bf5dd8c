//! `list`: pages of ids from the registries, merged newest first, then their documents.

mod indexed;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::document::{Identity, ReadCheckpoint};
use super::driver::{Command, Reply};
use super::error::of_key;
use super::keys::NamespaceKeys;
use super::read::{identity, parse_writes};
use super::scripts::ScriptCall;
use super::shallow::list;
use super::store::{Step, Store};
use super::{index, read, registry, scan, scripts};
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::ListOptions;
use crate::saver::SaverStream;
use indexed::{Given, IndexedIds, Next};

/// How many registries are asked in one flight.
const FLIGHT: usize = 256;

/// Streams checkpoints, newest first.
pub(crate) fn list(
    store: Arc<Store>,
    config: Option<&CheckpointConfig>,
    options: ListOptions,
) -> SaverStream<CheckpointTuple> {
    stream_of(store, config, options, false)
}

/// Streams the checkpoints of all threads whose ids start with a prefix, newest first. What is out of
/// reach is not read: its id is seen, not its document.
#[cfg(feature = "server")]
pub(crate) fn list_within(
    store: Arc<Store>,
    prefix: &str,
    options: ListOptions,
) -> SaverStream<CheckpointTuple> {
    let mut lister = Lister::new(store, None, options, false);
    prefix.clone_into(&mut lister.within);
    streamed(lister)
}

/// Streams the checkpoints of shallow mode, newest first.
pub(crate) fn list_shallow(
    store: Arc<Store>,
    config: Option<&CheckpointConfig>,
    options: ListOptions,
) -> SaverStream<CheckpointTuple> {
    stream_of(store, config, options, true)
}

/// Streams the checkpoints that are named, in the order given; those that are gone are left out.
pub(crate) fn list_named(store: Arc<Store>, ids: Vec<Identity>) -> SaverStream<CheckpointTuple> {
    streamed(Lister {
        source: Source::Named(ids.into()),
        ..Lister::new(store, None, ListOptions::default(), false)
    })
}

pub(super) fn tuples(
    store: &Arc<Store>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
) -> crate::saver::SaverStream<CheckpointTuple> {
    let mut config = CheckpointConfig::of_thread(thread.clone());
    config.checkpoint_ns = Some(namespace.clone());
    list(Arc::clone(store), Some(&config), ListOptions::default())
}

fn stream_of(
    store: Arc<Store>,
    config: Option<&CheckpointConfig>,
    options: ListOptions,
    shallow: bool,
) -> SaverStream<CheckpointTuple> {
    // A filter that names the thread needs no look at the others.
    let named = options.filter.thread().map(CheckpointConfig::of_thread);
    streamed(Lister::new(
        store,
        config.or(named.as_ref()),
        options,
        shallow,
    ))
}

fn streamed(lister: Lister) -> SaverStream<CheckpointTuple> {
    stream::try_unfold(lister, |mut lister| async move {
        Ok(lister.next().await?.map(|tuple| (tuple, lister)))
    })
    .boxed()
}

struct Lister {
    store: Arc<Store>,
    shallow: bool,
    config: Option<CheckpointConfig>,
    /// How the threads start that are listed where no config names one.
    within: String,
    options: ListOptions,
    left: usize,
    source: Source,
    ready: VecDeque<CheckpointTuple>,
    /// What was given before search was lost, where another source goes on.
    given: Option<Given>,
}

/// Where ids come from.
enum Source {
    Start,
    /// The registries of one thread's namespaces, or of many threads'.
    Registries(Vec<Head>),
    /// The index, in which every checkpoint is there once.
    Index(Box<IndexedIds>),
    /// Ids that were named.
    Named(VecDeque<Identity>),
}

/// What was read ahead of one namespace's ids.
struct Head {
    thread_id: ThreadId,
    namespace: CheckpointNamespace,
    keys: NamespaceKeys,
    ids: VecDeque<CheckpointId>,
    last: Option<CheckpointId>,
    ended: bool,
}

impl Lister {
    fn new(
        store: Arc<Store>,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
        shallow: bool,
    ) -> Self {
        Self {
            store,
            shallow,
            config: config.cloned(),
            within: String::new(),
            left: options.limit.unwrap_or(usize::MAX),
            options,
            source: Source::Start,
            ready: VecDeque::new(),
            given: None,
        }
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
            let wanted = self.wanted();
            let page = self.next_ids(wanted).await?;
            if page.is_empty() {
                return Ok(None);
            }
            self.ready = if self.shallow {
                let of_all = self.config.is_none();
                list::read_page(&self.store, page, &self.options, of_all).await?
            } else {
                self.read_page(page).await?
            };
        }
    }

    fn wanted(&self) -> usize {
        let page = self.store.settings.page_size;
        if self.options.filter.is_empty() {
            page.min(self.left)
        } else {
            page
        }
    }

    async fn next_ids(&mut self, wanted: usize) -> Result<Vec<Identity>> {
        if matches!(self.source, Source::Start) {
            self.source = self.start().await?;
        }
        let mut page = Vec::with_capacity(wanted);
        while page.len() < wanted {
            let next = match &mut self.source {
                Source::Start => None,
                Source::Named(ids) => ids.pop_front(),
                Source::Registries(heads) => {
                    next_of(&self.store, heads, self.options.before.as_ref(), wanted).await?
                }
                Source::Index(ids) => {
                    let before = self.options.before.as_ref();
                    match ids.next(&self.store, before, &self.within).await? {
                        Next::Id(identity) => Some(identity),
                        Next::End => None,
                        Next::Unopened => {
                            let unopened = self.unopened().await?;
                            if let Source::Index(ids) = &mut self.source {
                                ids.unopened = Some(unopened);
                            }
                            continue;
                        }
                        Next::Lost => {
                            self.given = Some(std::mem::take(&mut ids.given));
                            self.source = self.start_without_search().await?;
                            continue;
                        }
                    }
                }
            };
            let given = self.given.as_ref();
            match next {
                Some(identity) if given.is_some_and(|given| given.has(&identity)) => {}
                Some(identity) => page.push(identity),
                None => break,
            }
        }
        Ok(page)
    }

    async fn start(&self) -> Result<Source> {
        let store = &self.store;
        let Some(config) = &self.config else {
            if index::search(store).await?.is_none() {
                return self.start_without_search().await;
            }
            let exact = self.options.filter.is_empty()
                && self.options.before.is_none()
                && self.within.is_empty();
            let most = self.options.limit.filter(|_| exact);
            let ids = IndexedIds::new(store, most);
            return Ok(Source::Index(Box::new(ids)));
        };
        if self.shallow {
            let found = list::checkpoints(store, config).await?;
            return Ok(Source::Named(list::newest_first(found, &self.options)));
        }
        let thread = &config.thread_id;
        let namespaces = match (&config.checkpoint_ns, &config.checkpoint_id) {
            (Some(namespace), _) => vec![namespace.clone()],
            (None, _) => registry::namespaces(store, thread).await?,
        };
        if let Some(id) = &config.checkpoint_id {
            let wanted = self
                .options
                .before
                .as_ref()
                .is_none_or(|before| id < before);
            return Ok(Source::Named(
                namespaces
                    .iter()
                    .filter(|_| wanted)
                    .map(|namespace| identity(thread, namespace, id))
                    .collect(),
            ));
        }
        let heads = namespaces
            .into_iter()
            .map(|namespace| Head::new(store, thread, namespace))
            .collect();
        Ok(Source::Registries(heads))
    }

    /// All threads' checkpoints without search.
    async fn start_without_search(&self) -> Result<Source> {
        if self.shallow {
            let found = list::every_checkpoint(&self.store).await?;
            return Ok(Source::Named(list::newest_first(found, &self.options)));
        }
        let heads = all_heads(&self.store, &self.within).await?;
        Ok(Source::Registries(heads))
    }

    /// The checkpoints that the index cannot open, newest first.
    async fn unopened(&self) -> Result<VecDeque<Identity>> {
        let store = &self.store;
        let keys = index::unopened_documents(store).await?;
        let mut found: Vec<_> = if self.shallow {
            list::named(store, keys).await?
        } else {
            let found = index::checkpoints_at(store, &keys).await?.into_iter();
            found
                .map(|one| identity(&one.thread_id, &one.namespace, &one.checkpoint_id))
                .collect()
        };
        found.retain(|one| one.thread_id.as_str().starts_with(&self.within));
        Ok(list::newest_first(found, &self.options))
    }

    /// Reads the documents of a page and the writes made since, in one flight; where there is a
    /// filter, the metadata first.
    async fn read_page(&self, mut page: Vec<Identity>) -> Result<VecDeque<CheckpointTuple>> {
        if !self.options.filter.is_empty() {
            page = self.filtered(page).await?;
        }
        let store = &self.store;
        let keys: Vec<_> = page
            .iter()
            .map(|one| store.keys(&one.thread_id, &one.namespace))
            .collect();
        if page.is_empty() {
            return Ok(VecDeque::new());
        }
        // What is removed loses its document first. So documents are read last: if one is there,
        // all of its writes were.
        let call = writes_call(&page, &keys);
        let apart = store.runs_plainly(call.keys());
        let mut steps: Vec<Step> = Vec::with_capacity(page.len() + 1);
        steps.push(call.into());
        let mut replies = Vec::new();
        if apart {
            replies = store.flight("list", std::mem::take(&mut steps)).await?;
        }
        for (one, keys) in page.iter().zip(&keys) {
            steps.push(Command::on("JSON.GET", keys.document(&one.checkpoint_id)).into());
        }
        replies.extend(store.flight("list", steps).await?);
        let mut documents = replies.into_iter();
        let first = documents.next().unwrap_or(Err(Error::Closed))?;
        let writes = self.writes(&page, &keys, first).await?;
        let mut tuples = VecDeque::with_capacity(page.len());
        for (((one, keys), document), writes) in page.iter().zip(&keys).zip(documents).zip(writes) {
            let key = keys.document(&one.checkpoint_id);
            let read = document
                .map_err(|error| of_key(&key, error))
                .and_then(|document| {
                    let document = document.into_bytes();
                    let read = document.map(|document| ReadCheckpoint::parse(&key, &document));
                    read.transpose()
                });
            let read = match self.if_readable(read)? {
                Some(Some(Some(read))) => read,
                Some(Some(None)) | None => continue,
                Some(None) => {
                    registry::forget_gone(store, keys, &one.checkpoint_id).await;
                    continue;
                }
            };
            let passes = |metadata| self.options.filter.matches_in(&one.thread_id, metadata);
            if read.identity != *one || !passes(&read.metadata) {
                continue;
            }
            match writes {
                Some(writes) if !(writes.is_empty() && read.has_writes) => {
                    tuples.push_back(read.with_writes(parse_writes(one, writes)?));
                }
                // They are many, or something seems to be lost, which one script can tell.
                _ => {
                    let (thread, namespace) = (&one.thread_id, &one.namespace);
                    let id = &one.checkpoint_id;
                    let alone = read::read_known(store, thread, namespace, keys, id).await;
                    tuples.extend(self.if_readable(alone)?.flatten());
                }
            }
        }
        Ok(tuples)
    }

    /// What was read; where the list is over all threads, one key of another type or a document that
    /// cannot be read does not end it for all: it is left out and named in a warning.
    fn if_readable<T>(&self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. }))
                if self.config.is_none() && !matches!(self.source, Source::Named(_)) =>
            {
                tracing::warn!(%error, "a checkpoint is left out of a list over all threads");
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// The writes of each checkpoint of a page, in as many steps as they need; `None` where the
    /// checkpoint must be read by itself.
    async fn writes(
        &self,
        page: &[Identity],
        keys: &[NamespaceKeys],
        mut reply: Reply,
    ) -> Result<Vec<Option<Vec<Bytes>>>> {
        let mut found = Vec::with_capacity(page.len());
        loop {
            let before = found.len();
            let mut registries = reply.into_array().into_iter().map(Reply::into_array);
            for (one, keys) in page.iter().zip(keys).skip(before) {
                let mut writes = Some(Vec::new());
                let mut is_done = true;
                for _ in keys.write_registries_of(&one.checkpoint_id) {
                    let mut documents = registries.next().unwrap_or_default().into_iter();
                    match documents.next().and_then(|state| state.as_int()) {
                        Some(0) => {
                            let documents = documents.filter_map(Reply::into_bytes);
                            if let Some(writes) = &mut writes {
                                writes.extend(documents);
                            }
                        }
                        Some(2) => writes = None,
                        _ => is_done = false,
                    }
                }
                if !is_done {
                    break;
                }
                found.push(writes);
            }
            if found.len() == before && before < page.len() {
                found.push(None);
            }
            if found.len() == page.len() {
                return Ok(found);
            }
            let step = writes_call(&page[found.len()..], &keys[found.len()..]).into();
            let mut replies = self.store.flight("list", vec![step]).await?.into_iter();
            reply = replies.next().unwrap_or(Err(Error::Closed))?;
        }
    }

    /// The ids of a page whose metadata passes the filter.
    async fn filtered(&self, page: Vec<Identity>) -> Result<Vec<Identity>> {
        let steps = page.iter().map(|one| {
            let keys = self.store.keys(&one.thread_id, &one.namespace);
            let key = keys.document(&one.checkpoint_id);
            Command::on("JSON.GET", key).arg("$.metadata").into()
        });
        let replies = self.store.flight("list", steps.collect()).await?;
        let mut passed = Vec::new();
        for (one, reply) in page.into_iter().zip(replies) {
            // One that is gone or cannot be read as metadata is decided on by its document.
            let metadata = reply?.into_bytes().and_then(|found| metadata_of(&found));
            let is_wanted = |metadata| self.options.filter.matches_in(&one.thread_id, &metadata);
            if metadata.is_none_or(is_wanted) {
                passed.push(one);
            }
        }
        Ok(passed)
    }
}

fn metadata_of(found: &[u8]) -> Option<crate::CheckpointMetadata> {
    let [text] = serde_json::from_slice::<[String; 1]>(found).ok()?;
    crate::CheckpointMetadata::from_json(text).ok()
}

/// The script that reads the writes of a page.
fn writes_call(page: &[Identity], keys: &[NamespaceKeys]) -> ScriptCall {
    let (registries, prefixes) = page
        .iter()
        .zip(keys)
        .flat_map(|(one, keys)| {
            let id = &one.checkpoint_id;
            keys.write_registries_of(id)
                .into_iter()
                .map(|registry| (registry, keys.writes_of(id)))
        })
        .unzip();
    scripts::WRITES.call(registries, prefixes)
}

impl Head {
    fn new(store: &Store, thread: &ThreadId, namespace: CheckpointNamespace) -> Self {
        Self {
            keys: store.keys(thread, &namespace),
            thread_id: thread.clone(),
            namespace,
            ids: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    fn take(&mut self, state: &str, ids: Vec<CheckpointId>, asked: usize) -> bool {
        self.ended = ids.len() < asked;
        if let Some(last) = ids.last() {
            self.last = Some(last.clone());
        }
        self.ids.extend(ids);
        state == "incomplete"
    }
}

/// The newest id of all heads. Ties go by thread, then by namespace.
async fn next_of(
    store: &Store,
    heads: &mut Vec<Head>,
    before: Option<&CheckpointId>,
    wanted: usize,
) -> Result<Option<Identity>> {
    fill(store, heads, before, wanted).await?;
    let newest = heads
        .iter_mut()
        .filter(|head| !head.ids.is_empty())
        .max_by(|one, other| {
            one.ids
                .front()
                .cmp(&other.ids.front())
                .then_with(|| other.thread_id.cmp(&one.thread_id))
                .then_with(|| other.namespace.cmp(&one.namespace))
        });
    Ok(newest.and_then(|head| {
        let id = head.ids.pop_front()?;
        Some(identity(&head.thread_id, &head.namespace, &id))
    }))
}

/// Reads ahead where a head is empty.
async fn fill(
    store: &Store,
    heads: &mut Vec<Head>,
    before: Option<&CheckpointId>,
    wanted: usize,
) -> Result<()> {
    heads.retain(|head| !(head.ended && head.ids.is_empty()));
    // With many namespaces each gives few of a page.
    let asked = if heads.len() > 8 {
        wanted.min(8)
    } else {
        wanted
    }
    .max(1);
    let mut incomplete = HashSet::new();
    let mut empty: Vec<_> = heads
        .iter_mut()
        .filter(|head| head.ids.is_empty() && !head.ended)
        .collect();
    for chunk in empty.chunks_mut(FLIGHT) {
        let steps = chunk.iter().map(|head| {
            let upper = head.last.as_ref().or(before);
            registry::page_call(&head.keys, upper, asked).into()
        });
        let replies = store.flight("list", steps.collect()).await?;
        for (head, reply) in chunk.iter_mut().zip(replies) {
            let first = head.last.is_none();
            let (state, ids) = registry::read_page_reply(&head.keys, reply?)?;
            if head.take(&state, ids, asked) && first {
                incomplete.insert(head.thread_id.clone());
            }
        }
    }
    if incomplete.is_empty() {
        return Ok(());
    }
    for thread in &incomplete {
        registry::reconcile(store, thread).await?;
    }
    // What was just read of these threads was not complete: read it again.
    for head in heads
        .iter_mut()
        .filter(|head| incomplete.contains(&head.thread_id))
    {
        let upper = before.cloned();
        let (_, ids) = registry::page(store, &head.keys, upper.as_ref(), asked).await?;
        head.ids.clear();
        head.last = None;
        head.take("complete", ids, asked);
    }
    Ok(())
}

/// The heads of every namespace of the threads that start so: for a server whose search cannot
/// answer.
async fn all_heads(store: &Store, within: &str) -> Result<Vec<Head>> {
    let namespaces = scan::scanned_namespaces(store, within).await?;
    Ok(namespaces
        .into_iter()
        .map(|(thread, namespace)| Head::new(store, &thread, namespace))
        .collect())
}
