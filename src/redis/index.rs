//! The RediSearch indexes. Only this module speaks `FT.*`.
//!
//! An index is a finder of candidates, never of truth: what it names is read and compared with
//! the exact ids. An index that the Python saver made folds case, trims blanks and splits at
//! commas, so a thread is looked up by the longest piece that such an index would keep of it.

mod compare;
mod rows;
mod schema;
mod state;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::driver::{Command, Reply, number};
use super::error::is_unknown_index;
use super::keys::{glob_escaped, namespace_from_stored};
use super::stats::IndexStats;
use super::store::Store;
use super::write::text;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};

#[cfg(feature = "cli")]
pub(crate) use compare::Lacking;
pub(crate) use rows::{Page, Rows};
use rows::{ROWS, Row, rows_of};
pub(crate) use schema::IndexProblem;
use schema::{CHECKPOINT_FIELDS, WRITE_FIELDS, difference, value_of};
pub(crate) use state::Searching;

/// Past its own time limit a search gives what it has so far and does not say so; ours is that of
/// the command.
const NO_TIME_LIMIT: [&str; 2] = ["TIMEOUT", "0"];
/// How often a search whose rows were lost in the middle is made again.
const ATTEMPTS: usize = 3;

/// What is known of the indexes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    separator: char,
}

/// A checkpoint that the index knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) thread_id: ThreadId,
    pub(crate) namespace: CheckpointNamespace,
    pub(crate) checkpoint_id: CheckpointId,
}

/// What an index is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Checkpoints,
    Writes,
}

/// What an index says of a checkpoint or a write, as it is stored.
#[derive(Debug)]
pub(crate) struct IndexedKey {
    pub(crate) key: Bytes,
    pub(crate) thread: String,
    pub(crate) namespace: String,
    pub(crate) checkpoint: String,
}

/// A write that the index knows, as it is named.
#[derive(Debug, Clone)]
pub(crate) struct IndexedWrite {
    pub(crate) key: Bytes,
    pub(crate) namespace: String,
}

impl Store {
    /// What is wrong with an index, in words; nothing if all is well.
    pub(crate) async fn index_problem(&self, index: &str) -> Result<Option<IndexProblem>> {
        let fields = if index == self.keyspace.write_prefix() {
            WRITE_FIELDS
        } else {
            CHECKPOINT_FIELDS
        };
        if self.search_is_barred().is_some() {
            return Ok(None);
        }
        let Some(info) = self.info(index).await? else {
            return Ok(Some(IndexProblem::Missing));
        };
        let number = |name| value_of(info.clone(), name).and_then(|value| value.as_int());
        if number("indexing").unwrap_or(0) != 0 {
            return Ok(Some(IndexProblem::Busy));
        }
        let mut differences: Vec<String> = fields
            .iter()
            .filter_map(|(name, kind)| difference(&info, name, kind))
            .collect();
        let failures = number("hash_indexing_failures").unwrap_or(0);
        if failures > 0 {
            differences.push(format!("it could not take {failures} documents"));
        }
        Ok((!differences.is_empty()).then(|| IndexProblem::Differs(differences.join(", "))))
    }

    /// Makes an index anew; the documents stay.
    pub(crate) async fn rebuild_index(&self, index: &str) -> Result<()> {
        self.drop_index(index).await?;
        self.searching.forget();
        self.create_indexes().await
    }

    /// Drops an index; the documents stay.
    pub(crate) async fn drop_index(&self, index: &str) -> Result<()> {
        if self.search_is_barred().is_some() {
            return Ok(());
        }
        let drop = Command::new("FT.DROPINDEX").arg(text(index));
        match self.driver.call("doctor", drop).await {
            Err(error) if is_unknown_index(&error) => Ok(()),
            reply => reply.map(|_| ()),
        }
    }

    /// Whether a search sees all documents. In a cluster that is so where the nodes search together,
    /// as in Redis 8; in a Redis Stack cluster each node has an index of its own documents.
    pub(crate) async fn searches_all(&self) -> Result<bool> {
        if self.search_is_barred().is_some() {
            return Ok(false);
        }
        if !self.driver.is_cluster() {
            return Ok(true);
        }
        if let Some(together) = self.searches_together.get() {
            return Ok(*together);
        }
        let command = Command::new("COMMAND").arg("INFO").arg("FT.SEARCH");
        let together = match self.driver.call("search", command).await {
            Ok(info) => takes_no_keys(info),
            Err(Error::Permission { .. } | Error::Server { .. } | Error::MissingModule { .. }) => {
                false
            }
            Err(error) => return Err(error),
        };
        // Two calls that find out at once find out the same.
        let _ = self.searches_together.set(together);
        Ok(together)
    }

    /// What the server says of an index; `None` if there is none.
    async fn info(&self, index: &str) -> Result<Option<Reply>> {
        if self.search_is_barred().is_some() {
            return Ok(None);
        }
        let command = Command::new("FT.INFO").arg(text(index));
        match self.driver.call("search", command).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if is_unknown_index(&error) => Ok(None),
            Err(Error::MissingModule { .. } | Error::Permission { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The command that counts a thread's checkpoints in the index, or `None` if it cannot.
    pub(crate) fn count_command(&self, search: Search, thread: &ThreadId) -> Option<Command> {
        count_of_thread(search, thread, self.keyspace.checkpoint_prefix())
    }

    /// Reads the answer to [`Store::count_command`]; `None` where the index turns out to be gone.
    pub(crate) async fn count_of(&self, reply: Result<Reply>) -> Result<Option<u64>> {
        match reply {
            Ok(reply) => {
                let count = reply.into_array().first().and_then(Reply::as_int);
                Ok(Some(u64::try_from(count.unwrap_or(0)).unwrap_or(0)))
            }
            Err(error) if is_unknown_index(&error) => {
                let index = self.keyspace.checkpoint_prefix();
                self.index_is_lost(index, &error).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts a thread's checkpoints where all nodes of a cluster search together, and waits no longer
    /// than a call about one thread may; `None` where search does not serve.
    pub(crate) async fn count_in_time(&self, count: Command) -> Result<Option<u64>> {
        let counted = async { self.count_of(self.driver.call("search", count).await).await };
        match self.in_time(counted).await {
            Some(Ok(count)) => Ok(count),
            Some(Err(error)) => {
                tracing::warn!(%error, "a search of the cluster failed");
                self.search_is_slow();
                Ok(None)
            }
            None => {
                self.search_is_slow();
                Ok(None)
            }
        }
    }

    /// Asks for rows that are about one thread, and waits no longer than such a call may; `None`
    /// where search does not serve. Only one page, so without a cursor.
    async fn rows_in_time(&self, index: &str, command: Command) -> Result<Option<Vec<Row>>> {
        let mut rows = Rows::one_page(index, command);
        match self.in_time(rows.next(self)).await {
            Some(Ok(Page::Rows(rows))) => Ok(Some(rows)),
            Some(Ok(Page::End)) => Ok(Some(Vec::new())),
            Some(Ok(Page::Lost)) => Ok(None),
            Some(Err(error)) if self.driver.is_cluster() => {
                tracing::warn!(index, %error, "a search of the cluster failed");
                self.search_is_slow();
                Ok(None)
            }
            Some(Err(error)) => Err(error),
            None => {
                self.search_is_slow();
                Ok(None)
            }
        }
    }

    /// What is exactly a thread's own of the first rows, and whether there may be more. `None` where
    /// search does not serve.
    async fn first_of_thread<T>(
        &self,
        index: &str,
        thread: &ThreadId,
        fields: &[&'static str],
        own: impl Fn(&Row) -> Option<T>,
    ) -> Result<Option<(Vec<T>, bool)>> {
        let Some(search) = self.search().await? else {
            return Ok(None);
        };
        let Some(piece) = search.piece(thread) else {
            return Ok(None);
        };
        // The limit comes first, so that only what it leaves is loaded.
        let command = Command::new("FT.AGGREGATE")
            .arg(text(index))
            .args(["@thread_id:{$thread}", "LIMIT", "0"].map(Bytes::from))
            .arg(number(ROWS));
        let command = of_thread(load(command, fields), piece);
        let rows = self.rows_in_time(index, command).await?;
        Ok(rows.map(|rows| (rows.iter().filter_map(own).collect(), rows.len() >= ROWS)))
    }

    /// Some of the checkpoints of a thread that the index knows, exactly its own, and whether there
    /// may be more: for a caller that removes them and asks again. It takes no cursor. `None` where
    /// search does not serve.
    pub(crate) async fn some_indexed_checkpoints(
        &self,
        thread: &ThreadId,
    ) -> Result<Option<(Vec<Indexed>, bool)>> {
        let index = self.keyspace.checkpoint_prefix();
        self.first_of_thread(index, thread, CHECKPOINT_LOAD, |row| {
            indexed(row).filter(|one| one.thread_id == *thread)
        })
        .await
    }

    /// Some of the writes of a thread that the index knows, in the same way.
    pub(crate) async fn some_indexed_writes(
        &self,
        thread: &ThreadId,
    ) -> Result<Option<(Vec<IndexedWrite>, bool)>> {
        let index = self.keyspace.write_prefix();
        self.first_of_thread(index, thread, WRITE_LOAD, |row| write_of(row, thread))
            .await
    }

    /// The checkpoints of a thread that the index knows, exactly its own; `None` where search does
    /// not serve.
    pub(crate) async fn indexed_checkpoints(
        &self,
        thread: &ThreadId,
    ) -> Result<Option<Vec<Indexed>>> {
        match self.some_indexed_checkpoints(thread).await? {
            Some((found, false)) => return Ok(Some(found)),
            None => return Ok(None),
            Some((_, true)) => {}
        }
        let index = self.keyspace.checkpoint_prefix();
        self.all_of_thread(index, thread, CHECKPOINT_LOAD, |row| {
            indexed(row).filter(|one| one.thread_id == *thread)
        })
        .await
    }

    /// The writes of a thread that the index knows, exactly its own; `None` where search does not
    /// serve.
    pub(crate) async fn indexed_writes(
        &self,
        thread: &ThreadId,
    ) -> Result<Option<Vec<IndexedWrite>>> {
        match self.some_indexed_writes(thread).await? {
            Some((found, false)) => return Ok(Some(found)),
            None => return Ok(None),
            Some((_, true)) => {}
        }
        let index = self.keyspace.write_prefix();
        self.all_of_thread(index, thread, WRITE_LOAD, |row| write_of(row, thread))
            .await
    }

    async fn all_of_thread<T>(
        &self,
        index: &str,
        thread: &ThreadId,
        fields: &[&'static str],
        own: impl Fn(&Row) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(search) = self.search().await? else {
            return Ok(None);
        };
        let Some(piece) = search.piece(thread) else {
            return Ok(None);
        };
        let command = of_thread(aggregate(index, "@thread_id:{$thread}", fields), piece);
        self.all_rows(index, command, own).await
    }

    /// What all rows of a search say; `None` where search does not serve.
    async fn all_rows<T>(
        &self,
        index: &str,
        command: Command,
        read: impl Fn(&Row) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        for _ in 0..ATTEMPTS {
            let mut rows = Rows::paged(index, command.clone());
            let mut found = Vec::new();
            loop {
                match rows.next(self).await? {
                    Page::Rows(page) => found.extend(page.iter().filter_map(&read)),
                    Page::End => return Ok(Some(found)),
                    Page::Lost => break,
                }
            }
            if self.search().await?.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// How many checkpoints or writes the index knows that may be a thread's; `None` where search
    /// does not serve.
    pub(crate) async fn count_indexed(
        &self,
        thread: &ThreadId,
        kind: Kind,
    ) -> Result<Option<usize>> {
        let Some(search) = self.search().await? else {
            return Ok(None);
        };
        let Some(command) = count_of_thread(search, thread, self.index_of(kind)) else {
            return Ok(None);
        };
        let count = self.count_in_time(command).await?;
        Ok(count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)))
    }

    /// Some of the checkpoints or writes that the index knows and that may be a thread's, the first
    /// that it came to know first: after `skip`, and no more than `most`. It takes no cursor. `None`
    /// where search does not serve.
    pub(crate) async fn rows_of_thread(
        &self,
        thread: &ThreadId,
        kind: Kind,
        (skip, most): (usize, usize),
    ) -> Result<Option<Vec<IndexedKey>>> {
        let Some(search) = self.search().await? else {
            return Ok(None);
        };
        let Some(piece) = search.piece(thread) else {
            return Ok(None);
        };
        let index = self.index_of(kind);
        // The limit comes first, so that only what it leaves is loaded.
        let command = Command::new("FT.AGGREGATE")
            .arg(text(index))
            .args(["@thread_id:{$thread}", "LIMIT"].map(Bytes::from))
            .arg(number(skip))
            .arg(number(most));
        let command = of_thread(load(command, WRITE_LOAD), piece);
        let rows = self.rows_in_time(index, command).await?;
        Ok(rows.map(|rows| {
            let rows = rows.iter().map(|row| {
                let field = |name: &str| field(row, name).unwrap_or_default();
                IndexedKey {
                    key: text(&field("__key")),
                    thread: field("thread_id"),
                    namespace: field("checkpoint_ns"),
                    checkpoint: field("checkpoint_id"),
                }
            });
            rows.collect()
        }))
    }

    fn index_of(&self, kind: Kind) -> &str {
        match kind {
            Kind::Checkpoints => self.keyspace.checkpoint_prefix(),
            Kind::Writes => self.keyspace.write_prefix(),
        }
    }

    /// All checkpoints that the index knows, newest first, and no more than `most`.
    pub(crate) fn newest_checkpoints(&self, most: Option<usize>) -> Rows {
        // More than the server counts is all.
        let all = usize::MAX >> 33;
        let most = most.map_or(all, |most| most.min(all));
        // Sorted by what the index holds; only the documents of what is left are opened.
        let command = Command::new("FT.AGGREGATE")
            .arg(text(self.keyspace.checkpoint_prefix()))
            .args(["*", "SORTBY", "2", "@checkpoint_id", "DESC", "MAX"].map(Bytes::from))
            .arg(number(most))
            .args(["LIMIT", "0"].map(Bytes::from))
            .arg(number(most));
        let command = load(command, CHECKPOINT_LOAD);
        let index = self.keyspace.checkpoint_prefix();
        if most <= ROWS {
            Rows::one_page(index, command)
        } else {
            Rows::paged(index, command)
        }
    }

    /// The keys of the documents that the index knows and cannot open: those with a NUL, which
    /// RediSearch takes for the end of a key. It walks over all keys, so only where a row says
    /// nothing, as that of such a document does.
    pub(crate) async fn unopened_documents(&self) -> Result<Vec<Bytes>> {
        let family = glob_escaped(&self.keyspace.document_family());
        self.scan_pattern(&format!("{family}*\0*")).await
    }

    /// The checkpoints that these documents are.
    pub(crate) async fn checkpoints_at(&self, documents: &[Bytes]) -> Result<Vec<Indexed>> {
        let mut found = Vec::new();
        for chunk in documents.chunks(ROWS / 2) {
            let commands = chunk.iter().map(|key| {
                let command = Command::on("JSON.GET", key.clone());
                command.arg("$['thread_id','checkpoint_ns','checkpoint_id']")
            });
            let replies = self.driver.batch("search", commands.collect()).await?;
            for (key, reply) in chunk.iter().zip(replies) {
                let names = match reply {
                    // Something else than a document has the name of one.
                    Err(Error::WrongType { .. } | Error::Server { .. }) => continue,
                    reply => reply?.into_bytes().unwrap_or_default(),
                };
                let names = serde_json::from_slice::<[String; 3]>(&names);
                let one = names.ok().and_then(|[thread, namespace, id]| {
                    Some(Indexed {
                        thread_id: ThreadId::new(thread).ok()?,
                        namespace: namespace_from_stored(&namespace).ok()?,
                        checkpoint_id: CheckpointId::new(id).ok()?,
                    })
                });
                found.extend(one.filter(|one| {
                    let keys = self.keys(&one.thread_id, &one.namespace);
                    keys.document(&one.checkpoint_id) == *key
                }));
            }
        }
        Ok(found)
    }

    /// The checkpoints that may be a run's, as far as the index knows; `None` where search does not
    /// serve.
    pub(crate) async fn indexed_run(&self, run: &str) -> Result<Option<Vec<Indexed>>> {
        if self.search().await?.is_none() {
            return Ok(None);
        }
        let index = self.keyspace.checkpoint_prefix();
        let command = aggregate(index, "@run_id:{$run}", CHECKPOINT_LOAD)
            .args(["PARAMS", "2", "run"].map(Bytes::from))
            .arg(text(run))
            .args(["DIALECT", "2"].map(Bytes::from));
        let unopened = AtomicBool::new(false);
        let read = |row: &Row| {
            let found = indexed(row);
            unopened.fetch_or(found.is_none(), Ordering::Relaxed);
            found
        };
        let Some(mut found) = self.all_rows(index, command, read).await? else {
            return Ok(None);
        };
        if unopened.into_inner() {
            // Of any run; whose they are is looked up with the others.
            let documents = self.unopened_documents().await?;
            found.extend(self.checkpoints_at(&documents).await?);
        }
        Ok(Some(found))
    }

    /// The threads that the index knows, each once. Not by their prefix: a search for one gives up
    /// after 200 different ids.
    pub(crate) fn indexed_threads(&self) -> Rows {
        let index = self.keyspace.checkpoint_prefix();
        let command = aggregate(index, "*", &["@thread_id"])
            .args(["GROUPBY", "1", "@thread_id"].map(Bytes::from));
        Rows::paged(index, command)
    }

    /// The thread of every checkpoint that the index knows, page by page.
    pub(crate) fn indexed_thread_of_each(&self) -> Rows {
        let index = self.keyspace.checkpoint_prefix();
        let command = aggregate(index, "*", &["@thread_id"]);
        Rows::paged(index, command)
    }

    /// The keys among some whose documents an index knows and reads; `None` if it does not tell. An
    /// index that was searched on another database still names documents and reads nothing of them.
    pub(crate) async fn known_to(
        &self,
        index: &str,
        keys: &[Bytes],
    ) -> Result<Option<HashSet<Bytes>>> {
        if keys.is_empty() {
            return Ok(Some(HashSet::new()));
        }
        let command = Command::new("FT.SEARCH")
            .arg(text(index))
            .args(["*", "INKEYS"].map(Bytes::from))
            .arg(number(keys.len()))
            .args(keys.iter().cloned())
            .args(["RETURN", "1", "$.thread_id", "LIMIT", "0"].map(Bytes::from))
            .arg(number(keys.len()))
            .args(NO_TIME_LIMIT.map(Bytes::from));
        let reply = match self.driver.call("search", command).await {
            Err(error @ Error::Server { .. }) => {
                tracing::warn!(index, error = %error.report(), "the index does not tell what it knows");
                return Ok(None);
            }
            reply => reply?,
        };
        // The first element counts the pairs that follow: a key and what was read.
        let mut found = reply.into_array().into_iter().skip(1);
        let mut known = HashSet::new();
        while let (Some(key), Some(read)) = (found.next(), found.next()) {
            if !read.into_array().is_empty() {
                known.extend(key.into_bytes());
            }
        }
        Ok(Some(known))
    }

    /// Rows of an index from a position on, in the order in which it came to know them; `None`
    /// where it turns out to be gone.
    pub(crate) async fn rows_from(
        &self,
        index: &str,
        start: u64,
        most: u64,
    ) -> Result<Option<Vec<Row>>> {
        // The limit comes first, so that only what it leaves is loaded.
        let command = Command::new("FT.AGGREGATE")
            .arg(text(index))
            .args(["*", "LIMIT"].map(Bytes::from))
            .arg(number(start))
            .arg(number(most));
        let command = load(command, WRITE_LOAD).args(NO_TIME_LIMIT.map(Bytes::from));
        self.rows_at(index, command).await
    }

    async fn rows_at(&self, index: &str, command: Command) -> Result<Option<Vec<Row>>> {
        match self.driver.call("search", command).await {
            Err(error) if is_unknown_index(&error) => {
                self.index_is_lost(index, &error).await;
                Ok(None)
            }
            reply => Ok(Some(rows_of(reply?))),
        }
    }

    /// What an index holds; `None` if there is none.
    pub(crate) async fn index_stats(&self, index: &str) -> Result<Option<IndexStats>> {
        let Some(info) = self.info(index).await? else {
            return Ok(None);
        };
        let number = |name| {
            let value = value_of(info.clone(), name)?;
            u64::try_from(value.as_int()?).ok()
        };
        let megabytes = value_of(info.clone(), "total_index_memory_sz_mb")
            .and_then(|value| value.as_str()?.parse::<f64>().ok())
            .unwrap_or(0.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // It is no more than memory.
        let memory = (megabytes.max(0.0) * 1_048_576.0) as u64;
        Ok(Some(IndexStats::new(
            index.to_owned(),
            number("num_docs").unwrap_or(0),
            memory,
            number("hash_indexing_failures").unwrap_or(0),
            number("indexing").unwrap_or(0) != 0,
        )))
    }
}

/// Whether a command takes no keys, as the server describes it. A search whose index is a key runs
/// on the node that has it; one without keys runs on all nodes.
fn takes_no_keys(info: Reply) -> bool {
    let command = info.into_array().into_iter().next().unwrap_or(Reply::Nil);
    // The name, the arity, the flags, and the position of the first key.
    let first_key = command.into_array().into_iter().nth(3);
    first_key.and_then(|first_key| first_key.as_int()) == Some(0)
}

impl Search {
    /// What an index keeps of a thread's id as one tag; `None` if it keeps nothing, or cannot open
    /// its documents.
    pub(crate) fn piece(self, thread: &ThreadId) -> Option<&str> {
        if thread.as_str().contains('\0') {
            return None;
        }
        thread
            .as_str()
            .split(self.separator)
            .map(str::trim)
            .max_by_key(|piece| piece.len())
            .filter(|piece| !piece.is_empty())
    }
}

/// The command that counts what an index knows and may be a thread's, or `None` if it cannot.
fn count_of_thread(search: Search, thread: &ThreadId, index: &str) -> Option<Command> {
    let piece = search.piece(thread)?;
    let command = Command::new("FT.SEARCH")
        .arg(text(index))
        .arg("@thread_id:{$thread}")
        .args(["LIMIT", "0", "0"].map(Bytes::from))
        .args(NO_TIME_LIMIT.map(Bytes::from));
    Some(of_thread(command, piece))
}

/// The same about one thread.
fn of_thread(command: Command, piece: &str) -> Command {
    command
        .args(["PARAMS", "2", "thread"].map(Bytes::from))
        .arg(text(piece))
        .args(["DIALECT", "2"].map(Bytes::from))
}

/// The write of a thread that a row names.
fn write_of(row: &[Reply], thread: &ThreadId) -> Option<IndexedWrite> {
    let own = field(row, "thread_id")? == thread.as_str();
    own.then(|| IndexedWrite {
        key: key_of(row).unwrap_or_default(),
        namespace: field(row, "checkpoint_ns").unwrap_or_default(),
    })
    .filter(|write| !write.key.is_empty())
}

/// The checkpoint that a row names; `None` for one whose ids are no ids.
pub(crate) fn indexed(row: &[Reply]) -> Option<Indexed> {
    Some(Indexed {
        thread_id: ThreadId::new(field(row, "thread_id")?).ok()?,
        namespace: namespace_from_stored(&field(row, "checkpoint_ns")?).ok()?,
        checkpoint_id: CheckpointId::new(field(row, "checkpoint_id")?).ok()?,
    })
}

/// The key of the document that a row is of.
fn key_of(row: &[Reply]) -> Option<Bytes> {
    let pair = row
        .chunks_exact(2)
        .find(|pair| pair[0].as_str() == Some("__key"))?;
    pair[1].clone().into_bytes()
}

/// The thread that a row names.
pub(crate) fn thread(row: &[Reply]) -> Option<ThreadId> {
    ThreadId::new(field(row, "thread_id")?).ok()
}

fn field(row: &[Reply], name: &str) -> Option<String> {
    row.chunks_exact(2)
        .find(|pair| pair[0].as_str() == Some(name))
        .and_then(|pair| pair[1].as_str())
        .map(str::to_owned)
}

/// The fields that a search for checkpoints gives back.
const CHECKPOINT_LOAD: &[&str] = &["@thread_id", "@checkpoint_ns", "@checkpoint_id"];
/// The fields that a search for writes gives back.
const WRITE_LOAD: &[&str] = &["@__key", "@thread_id", "@checkpoint_ns", "@checkpoint_id"];

fn aggregate(index: &str, query: &'static str, fields: &[&'static str]) -> Command {
    load(
        Command::new("FT.AGGREGATE").arg(text(index)).arg(query),
        fields,
    )
}

/// Fields of the documents that are left at this step.
fn load(command: Command, fields: &[&'static str]) -> Command {
    let names = fields
        .iter()
        .map(|name| Bytes::from_static(name.as_bytes()));
    command.arg("LOAD").arg(number(fields.len())).args(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What servers answer to `COMMAND INFO FT.SEARCH`, as far as it is read.
    fn described(first_key: i64) -> Reply {
        let text = |text: &'static str| Reply::Bytes(Bytes::from(text));
        let flags = Reply::Array(vec![text("readonly")]);
        let keys = [first_key, first_key, first_key].map(Reply::Int);
        let mut command = vec![text("ft.search"), Reply::Int(-1), flags];
        command.extend(keys);
        Reply::Array(vec![Reply::Array(command)])
    }

    #[test]
    fn only_a_search_without_keys_sees_all_of_a_cluster() {
        assert!(takes_no_keys(described(0)), "Redis 8");
        assert!(!takes_no_keys(described(1)), "Redis Stack");
        assert!(!takes_no_keys(Reply::Array(vec![Reply::Nil])), "no search");
    }
}
