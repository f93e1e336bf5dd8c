//! Reads a page of checkpoints with their writes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::heads::Listed;
use crate::checkpoint::{CheckpointMetadata, CheckpointTuple};
use crate::error::{Error, Result};
use crate::options::ListOptions;
use crate::redis::document::{ReadCheckpoint, parse_writes};
use crate::redis::driver::{Command, Reply};
use crate::redis::error::of_key;
use crate::redis::keys::{CheckpointRef, NamespaceKeys};
use crate::redis::scripts::{
    Contents, RegisteredWrites, RegistryWrites, Step, WritesCall, WritesReply,
};
use crate::redis::store::Store;
use crate::redis::{read, registry};

/// What reads pages of checkpoints.
pub(super) struct PageReader<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a ListOptions,
    /// Whether the list is over all threads.
    pub(super) of_all: bool,
}

impl PageReader<'_> {
    /// The checkpoints of a page: what was not read with their ids in one more pipeline, and where
    /// there is a filter their metadata in another before.
    pub(super) async fn read(&self, mut page: Vec<Listed>) -> Result<VecDeque<CheckpointTuple>> {
        if !self.options.filter.is_empty() {
            page = self.filtered(page).await?;
        }
        let keys_of = |one: &CheckpointRef| self.store.keys(&one.thread_id, &one.namespace);
        let (unread, unread_keys): (Vec<_>, Vec<_>) = page
            .iter()
            .filter(|one| one.contents.is_none())
            .map(|one| (one.identity.clone(), keys_of(&one.identity)))
            .unzip();
        let mut found = self.unread(&unread, &unread_keys).await?.into_iter();
        let mut tuples = VecDeque::with_capacity(page.len());
        for Listed { identity, contents } in page {
            let (document, writes) = match contents {
                Some(Contents { document, writes }) => (Ok(Some(document)), Some(writes)),
                // There is one for each.
                None => found.next().unwrap_or((Err(Error::Closed), None)),
            };
            let keys = keys_of(&identity);
            tuples.extend(self.tuple(&identity, &keys, document, writes).await?);
        }
        Ok(tuples)
    }

    /// Reads the documents of checkpoints and the writes made since, in one pipeline.
    async fn unread(
        &self,
        page: &[CheckpointRef],
        keys: &[NamespaceKeys],
    ) -> Result<Vec<(Result<Option<Bytes>>, Option<Vec<Bytes>>)>> {
        let store = self.store;
        if page.is_empty() {
            return Ok(Vec::new());
        }
        // What is removed loses its document first. So documents are read last: if one is there,
        // all of its writes were.
        let call = writes_call(page, keys);
        let apart = store.session.are_in_several_slots(call.script().keys());
        let mut steps: Vec<Step> = Vec::with_capacity(page.len() + 1);
        steps.push(call.into());
        let mut replies = Vec::new();
        if apart {
            replies = store.pipeline("list", std::mem::take(&mut steps)).await?;
        }
        for (one, keys) in page.iter().zip(keys) {
            steps.push(Command::on("JSON.GET", keys.document(&one.checkpoint_id)).into());
        }
        replies.extend(store.pipeline("list", steps).await?);
        let mut documents = replies.into_iter();
        let first = documents.next().unwrap_or(Err(Error::Closed))?;
        let writes = self.writes(page, keys, first).await?;
        let documents = documents.map(|document| document.map(Reply::into_bytes));
        Ok(documents.zip(writes).collect())
    }

    /// The checkpoint of a document and of writes, unless it is gone or not wanted. `writes` are
    /// `None` where it must be read by itself.
    async fn tuple(
        &self,
        one: &CheckpointRef,
        keys: &NamespaceKeys,
        document: Result<Option<Bytes>>,
        writes: Option<Vec<Bytes>>,
    ) -> Result<Option<CheckpointTuple>> {
        let id = &one.checkpoint_id;
        let key = keys.document(id);
        let read = document
            .map_err(|error| of_key(&key, error))
            .and_then(|document| {
                let read = document.map(|document| ReadCheckpoint::parse(&key, &document));
                read.transpose()
            });
        let read = match self.if_readable(read)? {
            Some(Some(Some(read))) => read,
            Some(Some(None)) | None => return Ok(None),
            Some(None) => {
                registry::forget_gone(self.store, keys, id).await;
                return Ok(None);
            }
        };
        let passes = |metadata| self.options.filter.matches_in(&one.thread_id, metadata);
        if read.identity != *one || !passes(&read.metadata) {
            return Ok(None);
        }
        match writes {
            Some(writes) if !(writes.is_empty() && read.has_writes) => {
                Ok(Some(read.with_writes(parse_writes(one, writes)?)))
            }
            // They are many, or something seems to be lost, which one script can find out.
            _ => {
                let (thread, namespace) = (&one.thread_id, &one.namespace);
                let alone = read::read_known(self.store, thread, namespace, keys, id).await;
                Ok(self.if_readable(alone)?.flatten())
            }
        }
    }

    /// What was read; where the list is over all threads, one key of another type or a document
    /// that cannot be read does not end it for all: it is left out and named in a warning.
    fn if_readable<T>(&self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. })) if self.of_all => {
                tracing::warn!(error = %error.report(), "a checkpoint is left out of a list over all threads");
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// The writes of each checkpoint of a page, in as many steps as they need; `None` where the
    /// checkpoint must be read by itself.
    async fn writes(
        &self,
        page: &[CheckpointRef],
        keys: &[NamespaceKeys],
        mut reply: Reply,
    ) -> Result<Vec<Option<Vec<Bytes>>>> {
        let mut found = Vec::with_capacity(page.len());
        loop {
            let before = found.len();
            let WritesReply(registries) = reply.into();
            let mut registries = registries.into_iter();
            for (one, keys) in page.iter().zip(keys).skip(before) {
                let mut writes = Some(Vec::new());
                let mut is_done = true;
                for _ in keys.write_registries_of(&one.checkpoint_id) {
                    match registries.next() {
                        Some(RegistryWrites::All(documents)) => {
                            if let Some(writes) = &mut writes {
                                writes.extend(documents);
                            }
                        }
                        Some(RegistryWrites::ReadAlone) => writes = None,
                        Some(RegistryWrites::NotReached) | None => is_done = false,
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
            let mut replies = self.store.pipeline("list", vec![step]).await?.into_iter();
            reply = replies.next().unwrap_or(Err(Error::Closed))?;
        }
    }

    /// The ids of a page whose metadata passes the filter.
    async fn filtered(&self, page: Vec<Listed>) -> Result<Vec<Listed>> {
        let steps = page.iter().map(|Listed { identity: one, .. }| {
            let keys = self.store.keys(&one.thread_id, &one.namespace);
            let key = keys.document(&one.checkpoint_id);
            Command::on("JSON.GET", key).arg("$.metadata").into()
        });
        let replies = self.store.pipeline("list", steps.collect()).await?;
        let mut passed = Vec::new();
        for (one, reply) in page.into_iter().zip(replies) {
            // One that is gone or cannot be read as metadata is decided on by its document.
            let metadata = reply?.into_bytes().and_then(|found| metadata_of(&found));
            let thread = &one.identity.thread_id;
            let is_wanted = |metadata| self.options.filter.matches_in(thread, &metadata);
            if metadata.is_none_or(is_wanted) {
                passed.push(one);
            }
        }
        Ok(passed)
    }
}

fn metadata_of(found: &[u8]) -> Option<CheckpointMetadata> {
    let [text] = serde_json::from_slice::<[String; 1]>(found).ok()?;
    CheckpointMetadata::from_json(text).ok()
}

/// The call that reads the writes of a page.
fn writes_call(page: &[CheckpointRef], keys: &[NamespaceKeys]) -> WritesCall {
    let registries = page.iter().zip(keys).flat_map(|(one, keys)| {
        let id = &one.checkpoint_id;
        let registries = keys.write_registries_of(id).into_iter();
        registries.map(|registry| RegisteredWrites {
            registry,
            document: keys.document(id),
            prefix: keys.writes_of(id),
        })
    });
    WritesCall {
        registries: registries.collect(),
    }
}
