//! `list`: pages of ids from the registries, merged newest first, then their documents.
//!
//! How checkpoints are stored is a [`Layout`]'s: [`Full`] here, and shallow mode's beside it.

mod heads;
mod indexed;
mod page;

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
pub(crate) use heads::Listed;
use heads::{Head, all_heads, next_of};
use indexed::{Given, IndexedIds, Next};
use page::PageReader;

use super::keys::CheckpointRef;
use super::store::Store;
use super::{index, registry};
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::options::ListOptions;
use crate::saver::SaverStream;

/// What a list asks of the way in which checkpoints are stored.
pub(crate) trait Layout: Send + Sync + 'static {
    /// The checkpoints of the thread, the namespace or the checkpoint that a config names.
    fn checkpoints(
        store: &Store,
        config: &CheckpointConfig,
        options: &ListOptions,
    ) -> impl Future<Output = Result<Ids>> + Send;

    /// The checkpoints of all threads whose ids start with `within`, and perhaps of others, found
    /// without search.
    fn every_checkpoint(
        store: &Store,
        within: &str,
        options: &ListOptions,
    ) -> impl Future<Output = Result<Ids>> + Send;

    /// The checkpoints whose documents have these keys; other keys are left out.
    fn checkpoints_at(
        store: &Store,
        keys: &[Bytes],
    ) -> impl Future<Output = Result<Vec<CheckpointRef>>> + Send;

    /// Reads a page of checkpoints, leaving out what is gone and what the filter rejects. In a list
    /// of all threads a key that cannot be read is left out as well, with a warning.
    fn read_page(
        store: &Store,
        page: Vec<Listed>,
        options: &ListOptions,
        of_all: bool,
    ) -> impl Future<Output = Result<VecDeque<CheckpointTuple>>> + Send;
}

/// Ids of checkpoints that are listed, newest first.
pub(crate) enum Ids {
    /// The registries of one thread's namespaces, or of many threads'.
    Registries(Vec<Head>),
    /// The ids themselves.
    Named(VecDeque<CheckpointRef>),
}

/// Every checkpoint is a document of its own, and registries name them.
pub(crate) struct Full;

/// Streams checkpoints, newest first.
pub(crate) fn list<L: Layout>(
    store: Arc<Store>,
    config: Option<&CheckpointConfig>,
    options: ListOptions,
) -> SaverStream<CheckpointTuple> {
    // A filter that names the thread needs no look at the others.
    let named = options.filter.thread().map(CheckpointConfig::of_thread);
    streamed(Lister::<L>::new(store, config.or(named.as_ref()), options))
}

/// Streams the checkpoints of all threads whose ids start with a prefix, newest first. The
/// documents of other threads are not read.
pub(crate) fn list_within<L: Layout>(
    store: Arc<Store>,
    prefix: &str,
    options: ListOptions,
) -> SaverStream<CheckpointTuple> {
    let mut lister = Lister::<L>::new(store, None, options);
    prefix.clone_into(&mut lister.within);
    streamed(lister)
}

/// Streams the checkpoints that are named, in the order given; those that are gone are left out.
pub(crate) fn list_named(
    store: Arc<Store>,
    ids: Vec<CheckpointRef>,
) -> SaverStream<CheckpointTuple> {
    streamed(Lister::<Full> {
        source: Source::Ids(Ids::Named(ids.into())),
        of_all: false,
        ..Lister::new(store, None, ListOptions::default())
    })
}

/// Streams the checkpoints of a namespace, newest first.
pub(crate) fn list_namespace(
    store: &Arc<Store>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
) -> SaverStream<CheckpointTuple> {
    let mut config = CheckpointConfig::of_thread(thread.clone());
    config.checkpoint_ns = Some(namespace.clone());
    list::<Full>(Arc::clone(store), Some(&config), ListOptions::default())
}

/// What a list gives of checkpoints, in its order. Ties go by thread, then by namespace.
pub(crate) fn newest_first(
    found: Vec<CheckpointRef>,
    options: &ListOptions,
) -> VecDeque<CheckpointRef> {
    let mut wanted: Vec<_> = found
        .into_iter()
        .filter(|one| {
            let before = options.before.as_ref();
            before.is_none_or(|before| one.checkpoint_id < *before)
        })
        .collect();
    wanted.sort_by(|one, other| {
        let by_id = other.checkpoint_id.cmp(&one.checkpoint_id);
        by_id.then_with(|| {
            (&one.thread_id, &one.namespace).cmp(&(&other.thread_id, &other.namespace))
        })
    });
    wanted.into()
}

fn streamed<L: Layout>(lister: Lister<L>) -> SaverStream<CheckpointTuple> {
    stream::try_unfold(lister, |mut lister| async move {
        Ok(lister.next().await?.map(|tuple| (tuple, lister)))
    })
    .boxed()
}

struct Lister<L> {
    store: Arc<Store>,
    config: Option<CheckpointConfig>,
    /// Whether the list is over all threads.
    of_all: bool,
    /// How the threads start that are listed where no config names one.
    within: String,
    options: ListOptions,
    left: usize,
    source: Source,
    ready: VecDeque<CheckpointTuple>,
    /// What was given before search was lost, where another source goes on.
    given: Option<Given>,
    layout: PhantomData<fn() -> L>,
}

/// Where ids come from.
enum Source {
    Start,
    /// The index, in which every checkpoint is there once.
    Index(Box<IndexedIds>),
    Ids(Ids),
}

impl<L: Layout> Lister<L> {
    fn new(store: Arc<Store>, config: Option<&CheckpointConfig>, options: ListOptions) -> Self {
        Self {
            store,
            config: config.cloned(),
            of_all: config.is_none(),
            within: String::new(),
            left: options.limit.unwrap_or(usize::MAX),
            options,
            source: Source::Start,
            ready: VecDeque::new(),
            given: None,
            layout: PhantomData,
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
            self.ready = L::read_page(&self.store, page, &self.options, self.of_all).await?;
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

    async fn next_ids(&mut self, wanted: usize) -> Result<Vec<Listed>> {
        if matches!(self.source, Source::Start) {
            self.source = self.start().await?;
        }
        let mut page = Vec::with_capacity(wanted);
        while page.len() < wanted {
            let next = match &mut self.source {
                Source::Start => None,
                Source::Ids(Ids::Named(ids)) => ids.pop_front().map(Listed::from),
                Source::Ids(Ids::Registries(heads)) => {
                    let before = self.options.before.as_ref();
                    // Of what a filter may leave out, only the metadata is read first.
                    let contents = self.options.filter.is_empty();
                    next_of(&self.store, heads, before, wanted, contents).await?
                }
                Source::Index(ids) => {
                    let before = self.options.before.as_ref();
                    match ids.next(&self.store, before, &self.within).await? {
                        Next::Id(identity) => Some(identity.into()),
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
                            let (within, options) = (&self.within, &self.options);
                            let ids = L::every_checkpoint(&self.store, within, options).await?;
                            self.source = Source::Ids(ids);
                            continue;
                        }
                    }
                }
            };
            let given = self.given.as_ref();
            match next {
                Some(one) if given.is_some_and(|given| given.has(&one.identity)) => {}
                Some(one) => page.push(one),
                None => break,
            }
        }
        Ok(page)
    }

    async fn start(&self) -> Result<Source> {
        let store = &self.store;
        let Some(config) = &self.config else {
            if index::search(store).await?.is_none() {
                let ids = L::every_checkpoint(store, &self.within, &self.options).await?;
                return Ok(Source::Ids(ids));
            }
            let exact = self.options.filter.is_empty()
                && self.options.before.is_none()
                && self.within.is_empty();
            let limit = self.options.limit.filter(|_| exact);
            let ids = IndexedIds::new(store, limit);
            return Ok(Source::Index(Box::new(ids)));
        };
        let ids = L::checkpoints(store, config, &self.options).await?;
        Ok(Source::Ids(ids))
    }

    /// The checkpoints that the index cannot open, newest first.
    async fn unopened(&self) -> Result<VecDeque<CheckpointRef>> {
        let keys = index::unopened_documents(&self.store).await?;
        let mut found = L::checkpoints_at(&self.store, &keys).await?;
        found.retain(|one| one.thread_id.as_str().starts_with(&self.within));
        Ok(newest_first(found, &self.options))
    }
}

impl Layout for Full {
    async fn checkpoints(
        store: &Store,
        config: &CheckpointConfig,
        options: &ListOptions,
    ) -> Result<Ids> {
        let thread = &config.thread_id;
        let namespaces = match (&config.checkpoint_ns, &config.checkpoint_id) {
            (Some(namespace), _) => vec![namespace.clone()],
            (None, _) => registry::namespaces(store, thread).await?,
        };
        if let Some(id) = &config.checkpoint_id {
            let wanted = options.before.as_ref().is_none_or(|before| id < before);
            return Ok(Ids::Named(
                namespaces
                    .iter()
                    .filter(|_| wanted)
                    .map(|namespace| CheckpointRef::new(thread, namespace, id))
                    .collect(),
            ));
        }
        let heads = namespaces
            .into_iter()
            .map(|namespace| Head::new(store, thread, namespace))
            .collect();
        Ok(Ids::Registries(heads))
    }

    async fn every_checkpoint(store: &Store, within: &str, _options: &ListOptions) -> Result<Ids> {
        all_heads(store, within).await.map(Ids::Registries)
    }

    async fn checkpoints_at(store: &Store, keys: &[Bytes]) -> Result<Vec<CheckpointRef>> {
        index::checkpoints_at(store, keys).await
    }

    async fn read_page(
        store: &Store,
        page: Vec<Listed>,
        options: &ListOptions,
        of_all: bool,
    ) -> Result<VecDeque<CheckpointTuple>> {
        let reader = PageReader {
            store,
            options,
            of_all,
        };
        reader.read(page).await
    }
}
