//! `get_tuple`: one round trip.
//!
//! A small document comes out of the script that finds it. A large one costs a script three
//! times what it costs a plain command, so where its id is known it is read by `JSON.GET` in the
//! same flight: the id that was asked for, or the newest that this saver wrote or read last,
//! which the script then checks. If another is the newest by now, the script gives that one.
//! Where a thread's keys are apart, plain commands find and read everything.

use std::time::Duration;

use bytes::Bytes;

use super::document::{Identity, ReadCheckpoint, parse_write};
use super::driver::{Command, Reply, number};
use super::error::{is_further, is_lost_write, of_key};
use super::keys::NamespaceKeys;
use super::maintain::TtlVerb;
use super::scripts::{self, ScriptCall};
use super::store::{Step, Store, milliseconds};
use super::write::text;
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::TtlScope;

/// A document of fewer bytes comes out of the script.
const SMALL: usize = 4 * 1024;

/// How often the writes of a checkpoint are read while others come in between.
const PASSES: usize = 8;

/// How many ids whose documents are gone are taken out of a registry at once.
const GONE: usize = 1_000;

/// How long what seems lost is waited for.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(40),
    Duration::from_millis(160),
];

/// What a script found.
enum Found {
    /// A checkpoint: its id, its document unless that is read apart, its writes; `None` if they are
    /// so many that they are read by themselves.
    Checkpoint(CheckpointId, Option<Bytes>, Option<Vec<Bytes>>),
    /// There is none.
    Absent,
    /// There is none that the registry knows, but another saver may have written some.
    Unknown,
}

impl Store {
    /// Reads a checkpoint, or the newest of a namespace.
    pub(crate) async fn get_tuple(
        &self,
        config: &CheckpointConfig,
    ) -> Result<Option<CheckpointTuple>> {
        let namespace = config.namespace();
        let keys = self.keys(&config.thread_id, &namespace);
        if let Some(id) = &config.checkpoint_id {
            return self
                .read_known(&config.thread_id, &namespace, &keys, id)
                .await;
        }
        let remembered = self
            .remembered(&keys)
            .filter(|newest| newest.bytes >= SMALL && !self.reads_plainly(&keys));
        let (found, document) = if let Some(newest) = remembered {
            let (found, document) = self
                .read_beside(&config.thread_id, &keys, None, &newest.id)
                .await?;
            (found, document.map(|document| (newest.id, document)))
        } else {
            let found = self.read_script(&config.thread_id, &keys, None).await?;
            (found, None)
        };
        match found {
            Found::Absent => {
                self.forget(&keys);
                Ok(None)
            }
            Found::Unknown => {
                self.read_unknown(&config.thread_id, &namespace, &keys)
                    .await
            }
            Found::Checkpoint(id, in_reply, writes) => {
                let is_apart = in_reply.is_none();
                let document = match (in_reply, document) {
                    (Some(document), _) => document,
                    (None, Some((guess, document))) if guess == id => document,
                    // The document that was read apart is gone, whatever the pointer says. With
                    // nothing remembered the script itself finds the newest that is there.
                    _ => {
                        self.forget(&keys);
                        return Box::pin(self.get_tuple(config)).await;
                    }
                };
                let identity = identity(&config.thread_id, &namespace, &id);
                let read = self
                    .assemble(&keys, &identity, &document, writes, is_apart)
                    .await?;
                match read {
                    Some(tuple) => {
                        self.remember(&keys, id, document.len());
                        Ok(Some(tuple))
                    }
                    None => {
                        self.read_unknown(&config.thread_id, &namespace, &keys)
                            .await
                    }
                }
            }
        }
    }

    /// Reads a checkpoint whose id is known.
    pub(super) async fn read_known(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        keys: &NamespaceKeys,
        id: &CheckpointId,
    ) -> Result<Option<CheckpointTuple>> {
        let (found, document) = if self.reads_plainly(keys) {
            (self.read_script(thread, keys, Some(id)).await?, None)
        } else {
            self.read_beside(thread, keys, Some(id), id).await?
        };
        let Found::Checkpoint(_, in_reply, writes) = found else {
            return Ok(None);
        };
        let is_apart = in_reply.is_none();
        let Some(document) = document.or(in_reply) else {
            return Ok(None);
        };
        let identity = identity(thread, namespace, id);
        self.assemble(keys, &identity, &document, writes, is_apart)
            .await
    }

    /// Makes a tuple of a document and writes, or `None` if they are another checkpoint's. A document
    /// that was read apart from them may have been removed in between.
    async fn assemble(
        &self,
        keys: &NamespaceKeys,
        identity: &Identity,
        document: &Bytes,
        writes: Option<Vec<Bytes>>,
        is_apart: bool,
    ) -> Result<Option<CheckpointTuple>> {
        let id = &identity.checkpoint_id;
        let Some(read) = ReadCheckpoint::parse(&keys.document(id), document)? else {
            return Ok(None);
        };
        if read.identity != *identity {
            return Ok(None);
        }
        let writes = match writes {
            Some(writes) if writes.is_empty() && read.has_writes && is_apart => {
                let found = self
                    .read_script(&identity.thread_id, keys, Some(id))
                    .await?;
                let Found::Checkpoint(_, _, writes) = found else {
                    return Ok(None);
                };
                writes
            }
            writes => writes,
        };
        let writes = if let Some(writes) = writes {
            writes
        } else {
            let (is_there, writes) = self.all_writes("get_tuple", keys, id).await?;
            if !is_there {
                return Ok(None);
            }
            if let Some(ttl) = self.refreshed() {
                self.change_ttl_of(keys, std::slice::from_ref(id), Some(ttl), TtlVerb::Read)
                    .await?;
            }
            writes
        };
        Ok(Some(read.with_writes(parse_writes(identity, writes)?)))
    }

    /// The writes of a checkpoint, in as many steps as they need, and whether its document is there.
    pub(super) async fn all_writes(
        &self,
        operation: &'static str,
        keys: &NamespaceKeys,
        id: &CheckpointId,
    ) -> Result<(bool, Vec<Bytes>)> {
        let document = keys.document(id);
        let registries = keys.write_registries_of(id);
        for _ in 0..PASSES {
            let (mut is_there, mut is_same, mut found) = (true, true, Vec::new());
            for registry in &registries {
                let (mut leave_out, mut first) = (0, None);
                loop {
                    let call = scripts::WRITES_PAGE.call(
                        vec![registry.clone(), document.clone()],
                        vec![keys.writes_of(id), number(leave_out)],
                    );
                    let mut parts = self
                        .confirmed(operation, call)
                        .await?
                        .into_array()
                        .into_iter();
                    let mut int = || parts.next().and_then(|part| part.as_int()).unwrap_or(0);
                    let (there, registered, next) = (int(), int(), int());
                    is_there &= there == 1;
                    is_same &= *first.get_or_insert(registered) == registered;
                    found.extend(parts.filter_map(Reply::into_bytes));
                    if next <= leave_out {
                        break;
                    }
                    leave_out = next;
                }
            }
            // Writes that come in between move the others from one page to another.
            if is_same {
                return Ok((is_there, found));
            }
        }
        Err(Error::Unavailable {
            reason: format!("the writes of checkpoint {id} change all the time"),
            source: None,
        })
    }

    /// Runs a script that reads; what it says is lost is looked at again, because what is being
    /// deleted goes key by key where a thread's keys are apart or another saver deletes it.
    pub(super) async fn confirmed(
        &self,
        operation: &'static str,
        call: ScriptCall,
    ) -> Result<Reply> {
        for pause in PAUSES {
            match self.script(operation, call.clone()).await {
                Err(error) if is_lost_write(&error) => tokio::time::sleep(pause).await,
                reply => return reply,
            }
        }
        self.script(operation, call).await
    }

    /// Takes the newest ids of a registry whose documents are gone out of it, up to the first whose
    /// document is there.
    pub(super) async fn forget_gone_heads(&self, keys: &NamespaceKeys) -> Result<()> {
        loop {
            let (_, ids) = self.page(keys, None, GONE).await?;
            let mut args = vec![keys.documents.clone()];
            args.extend(ids.iter().map(|id| text(id.as_str())));
            let call = scripts::FORGET.call(vec![keys.registry.clone()], args);
            let forgotten = self.script("list", call).await?.as_int().unwrap_or(0);
            if ids.is_empty() || usize::try_from(forgotten).unwrap_or(0) < ids.len() {
                return Ok(());
            }
        }
    }

    /// The TTL that reading gives to what is read, if any.
    fn refreshed(&self) -> Option<Duration> {
        let ttl = &self.settings.ttl;
        let refresh = ttl.default.filter(|_| ttl.refresh_on_read);
        // A thread that is kept whole is visited as a whole.
        self.key_ttl(refresh.filter(|_| ttl.scope == TtlScope::Checkpoint))
    }

    /// Reads the newest checkpoint when the pointer and the registry do not tell: from what the
    /// index knows, and from the registry without the pointer, which may name a checkpoint of
    /// another thread.
    async fn read_unknown(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        keys: &NamespaceKeys,
    ) -> Result<Option<CheckpointTuple>> {
        self.reconcile(thread).await?;
        let mut before = None;
        loop {
            let (_, ids) = self
                .page(keys, before.as_ref(), self.settings.page_size)
                .await?;
            for id in &ids {
                if let Some(tuple) = self.read_known(thread, namespace, keys, id).await? {
                    return Ok(Some(tuple));
                }
            }
            match ids.into_iter().next_back() {
                Some(last) => before = Some(last),
                None => return Ok(None),
            }
        }
    }

    /// Whether plain commands read a namespace's checkpoints.
    fn reads_plainly(&self, keys: &NamespaceKeys) -> bool {
        self.runs_plainly(&[
            keys.pointer.clone(),
            keys.registry.clone(),
            keys.namespaces.clone(),
        ])
    }

    /// One script that finds a checkpoint, or the newest, and gives all of it.
    async fn read_script(
        &self,
        thread: &ThreadId,
        keys: &NamespaceKeys,
        id: Option<&CheckpointId>,
    ) -> Result<Found> {
        let reply = loop {
            let call = self.read_call(keys, id, None);
            match self.confirmed("get_tuple", call).await {
                Err(error) if is_further(&error) => self.forget_gone_heads(keys).await?,
                reply => break reply?,
            }
        };
        let (found, due) = found(keys, reply)?;
        self.keep_whole(thread, self.settings.ttl.default, due)
            .await;
        Ok(found)
    }

    /// One flight: the document of `guess`, and a script for the rest.
    async fn read_beside(
        &self,
        thread: &ThreadId,
        keys: &NamespaceKeys,
        id: Option<&CheckpointId>,
        guess: &CheckpointId,
    ) -> Result<(Found, Option<Bytes>)> {
        let key = keys.document(guess);
        // The document comes last: if it is there, the script has seen all of it.
        let steps: Vec<Step> = vec![
            self.read_call(keys, id, Some(guess)).into(),
            Command::on("JSON.GET", key.clone()).into(),
        ];
        let mut replies = self.flight("get_tuple", steps).await?.into_iter();
        let rest = match replies.next().unwrap_or(Err(Error::Closed)) {
            // The script alone finds out more.
            Err(error) if is_further(&error) || is_lost_write(&error) => {
                return Ok((self.read_script(thread, keys, id).await?, None));
            }
            rest => rest?,
        };
        let document = replies.next().unwrap_or(Err(Error::Closed));
        let document = document.map_err(|error| of_key(&key, error))?.into_bytes();
        let (found, due) = found(keys, rest)?;
        self.keep_whole(thread, self.settings.ttl.default, due)
            .await;
        Ok((found, document))
    }

    fn read_call(
        &self,
        keys: &NamespaceKeys,
        id: Option<&CheckpointId>,
        read_apart: Option<&CheckpointId>,
    ) -> ScriptCall {
        let refresh = self
            .settings
            .ttl
            .default
            .filter(|_| self.settings.ttl.refresh_on_read);
        scripts::READ.call(
            vec![
                keys.pointer.clone(),
                keys.registry.clone(),
                keys.namespaces.clone(),
            ],
            vec![
                text(id.map_or("", CheckpointId::as_str)),
                keys.documents.clone(),
                keys.write_registries.clone(),
                keys.writes.clone(),
                keys.shared_write_registries.clone(),
                milliseconds(refresh.and_then(|ttl| self.key_ttl(Some(ttl)))),
                text(read_apart.map_or("", CheckpointId::as_str)),
                refresh.map_or(Bytes::from_static(b"0"), |ttl| self.whole_ttl(Some(ttl))),
            ],
        )
    }
}

/// Reads the documents of a checkpoint's writes, leaving out those of others.
pub(crate) fn parse_writes(
    identity: &Identity,
    writes: impl IntoIterator<Item = Bytes>,
) -> Result<Vec<PendingWrite>> {
    writes
        .into_iter()
        .filter_map(|write| parse_write(identity, &write).transpose())
        .collect()
}

pub(crate) fn identity(
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    id: &CheckpointId,
) -> Identity {
    Identity {
        thread_id: thread.clone(),
        namespace: namespace.clone(),
        checkpoint_id: id.clone(),
    }
}

/// What a script found, and whether the thread is due for its TTL.
fn found(keys: &NamespaceKeys, reply: Reply) -> Result<(Found, bool)> {
    let mut parts = reply.into_array().into_iter();
    let mut bytes = || parts.next().and_then(Reply::into_bytes).unwrap_or_default();
    let (id, second) = (bytes(), bytes());
    if id.is_empty() {
        let unknown = second == "unknown";
        return Ok((
            if unknown {
                Found::Unknown
            } else {
                Found::Absent
            },
            false,
        ));
    }
    let id = CheckpointId::from_bytes(&id).map_err(|error| {
        Error::corrupt(String::from_utf8_lossy(&keys.pointer), error.to_string())
    })?;
    let due = parts.next().and_then(|due| due.as_int()) == Some(1);
    let document = (!second.is_empty()).then_some(second);
    let has_more = parts.next().and_then(|more| more.as_int()) == Some(1);
    let writes = parts.filter_map(Reply::into_bytes).collect();
    let writes = (!has_more).then_some(writes);
    Ok((Found::Checkpoint(id, document, writes), due))
}
