//! The RediSearch indexes. Only this module speaks `FT.*`.
//!
//! An index is a finder of candidates, never of truth: what it names is read and compared with
//! the exact ids. An index that the Python saver made folds case, trims blanks and splits at
//! commas, so a thread is looked up by the longest piece that such an index would keep of it.

use std::collections::HashSet;

use bytes::Bytes;

use super::driver::{Command, Node, Reply, number};
use super::keys::namespace_from_stored;
use super::stats::IndexStats;
use super::store::Store;
use super::write::text;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};

/// The separator of tags in our own indexes: a character that an id hardly holds.
const SEPARATOR: char = '\u{1}';
/// Past its own time limit a search gives what it has so far and does not say so; ours is that of
/// the command.
const NO_TIME_LIMIT: [&str; 2] = ["TIMEOUT", "0"];
/// How many rows a cursor gives at once.
const ROWS: usize = 500;

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
    pub(crate) namespace: String,
}

impl Store {
    /// Makes the indexes unless they are there, and waits until they know what is stored.
    pub(crate) async fn create_indexes(&self) -> Result<()> {
        if !self.searches_all().await? {
            return Ok(());
        }
        for command in [
            create(self.keyspace.checkpoint_prefix(), CHECKPOINT_FIELDS),
            create(self.keyspace.write_prefix(), WRITE_FIELDS),
        ] {
            match self.driver.call("setup", command).await {
                Err(Error::Server { reason, .. }) if reason.contains("already exists") => {}
                reply => {
                    reply?;
                }
            }
        }
        for index in [
            self.keyspace.checkpoint_prefix(),
            self.keyspace.write_prefix(),
        ] {
            self.wait_until_indexed(index).await?;
        }
        Ok(())
    }

    async fn wait_until_indexed(&self, index: &str) -> Result<()> {
        let started = tokio::time::Instant::now();
        loop {
            let info = self.info(index).await?.unwrap_or(Reply::Nil);
            let indexing = value_of(info, "indexing").and_then(|value| value.as_int());
            if indexing.unwrap_or(0) == 0 {
                return Ok(());
            }
            if started.elapsed() > self.settings.command_timeout * 6 {
                tracing::warn!(
                    index,
                    "the index still reads what was stored before it; until it is done, what other savers wrote may be missing from lists"
                );
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// What is wrong with an index, in words; nothing if all is well.
    pub(crate) async fn index_problem(&self, index: &str) -> Result<Option<IndexProblem>> {
        let fields = if index == self.keyspace.write_prefix() {
            WRITE_FIELDS
        } else {
            CHECKPOINT_FIELDS
        };
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
        self.create_indexes().await
    }

    /// Drops an index; the documents stay.
    pub(crate) async fn drop_index(&self, index: &str) -> Result<()> {
        let drop = Command::new("FT.DROPINDEX").arg(text(index));
        match self.driver.call("doctor", drop).await {
            Err(error) if is_unknown_index(&error) => Ok(()),
            reply => reply.map(|_| ()),
        }
    }

    /// What can be searched, found out once; `None` where search cannot answer.
    pub(crate) async fn search(&self) -> Result<Option<Search>> {
        if let Some(search) = self.search.get() {
            return Ok(*search);
        }
        let search = if self.searches_all().await? {
            let Some(info) = self.info(self.keyspace.checkpoint_prefix()).await? else {
                // Not for good: the index may be made yet.
                tracing::warn!(
                    index = self.keyspace.checkpoint_prefix(),
                    "there is no index, so what other savers wrote is not found: call setup()"
                );
                return Ok(None);
            };
            let separator = separator_of(info, "thread_id").unwrap_or(SEPARATOR);
            Some(Search { separator })
        } else {
            None
        };
        // Two calls that find out at once find out the same.
        let _ = self.search.set(search);
        Ok(search)
    }

    /// Whether a search sees all documents. In a cluster that is so where the nodes search together,
    /// as in Redis 8; in a Redis Stack cluster each node has an index of its own documents.
    pub(crate) async fn searches_all(&self) -> Result<bool> {
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

    /// Reads the answer to [`Store::count_command`]; 0 where there is no index.
    pub(crate) fn count_of(reply: Result<Reply>) -> Result<u64> {
        match reply {
            Ok(reply) => {
                let count = reply
                    .into_array()
                    .first()
                    .and_then(Reply::as_int)
                    .unwrap_or(0);
                Ok(u64::try_from(count).unwrap_or(0))
            }
            Err(error) if is_unknown_index(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The checkpoints of a thread that the index knows, exactly its own.
    pub(crate) async fn indexed_checkpoints(
        &self,
        search: Search,
        thread: &ThreadId,
    ) -> Result<Vec<Indexed>> {
        let mut found = Vec::new();
        let mut rows = rows_of_thread(
            search,
            thread,
            self.keyspace.checkpoint_prefix(),
            CHECKPOINT_LOAD,
        );
        while let Some(page) = rows.next(self).await? {
            found.extend(
                page.iter()
                    .filter_map(|row| indexed(row))
                    .filter(|one| one.thread_id == *thread),
            );
        }
        Ok(found)
    }

    /// The writes of a thread that the index knows, exactly its own.
    pub(crate) async fn indexed_writes(
        &self,
        search: Search,
        thread: &ThreadId,
    ) -> Result<Vec<IndexedWrite>> {
        let mut found = Vec::new();
        let mut rows = rows_of_thread(search, thread, self.keyspace.write_prefix(), WRITE_LOAD);
        while let Some(page) = rows.next(self).await? {
            for row in &page {
                let field = |name: &str| field(row, name).unwrap_or_default();
                if field("thread_id") == thread.as_str() {
                    found.push(IndexedWrite {
                        namespace: field("checkpoint_ns"),
                    });
                }
            }
        }
        Ok(found)
    }

    /// How many checkpoints or writes the index knows that may be a thread's.
    pub(crate) async fn count_indexed(
        &self,
        search: Search,
        thread: &ThreadId,
        kind: Kind,
    ) -> Result<usize> {
        let index = self.index_of(kind);
        let Some(command) = count_of_thread(search, thread, index) else {
            return Ok(0);
        };
        let count = Self::count_of(self.driver.call("search", command).await)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Some of the checkpoints or writes that the index knows and that may be a thread's, the first
    /// that it came to know first: after so many, and no more than so many. It takes no cursor.
    pub(crate) async fn rows_of_thread(
        &self,
        search: Search,
        thread: &ThreadId,
        kind: Kind,
        (skip, most): (usize, usize),
    ) -> Result<Vec<IndexedKey>> {
        let Some(piece) = search.piece(thread) else {
            return Ok(Vec::new());
        };
        // The limit comes first, so that only what it leaves is loaded.
        let command = Command::new("FT.AGGREGATE")
            .arg(text(self.index_of(kind)))
            .args(["@thread_id:{$thread}", "LIMIT"].map(Bytes::from))
            .arg(number(skip))
            .arg(number(most));
        let command = load(command, WRITE_LOAD)
            .args(NO_TIME_LIMIT.map(Bytes::from))
            .args(["PARAMS", "2", "thread"].map(Bytes::from))
            .arg(text(piece))
            .args(["DIALECT", "2"].map(Bytes::from));
        let reply = match self.driver.call("search", command).await {
            Err(error) if is_unknown_index(&error) => return Ok(Vec::new()),
            reply => reply?,
        };
        // The first element counts the rows.
        let rows = reply.into_array().into_iter().skip(1);
        let rows: Vec<_> = rows.map(Reply::into_array).collect();
        let rows = rows.iter().map(|row| {
            let field = |name: &str| field(row, name).unwrap_or_default();
            IndexedKey {
                key: text(&field("__key")),
                thread: field("thread_id"),
                namespace: field("checkpoint_ns"),
                checkpoint: field("checkpoint_id"),
            }
        });
        Ok(rows.collect())
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
        Rows::new(self.keyspace.checkpoint_prefix(), with_cursor(command))
    }

    /// The checkpoints of a run that the index knows.
    pub(crate) async fn indexed_run(&self, run: &str) -> Result<Vec<Indexed>> {
        let command = aggregate(
            self.keyspace.checkpoint_prefix(),
            "@run_id:{$run}",
            CHECKPOINT_LOAD,
        )
        .args(["PARAMS", "2", "run"].map(Bytes::from))
        .arg(text(run))
        .args(["DIALECT", "2"].map(Bytes::from));
        let mut rows = Rows::new(self.keyspace.checkpoint_prefix(), with_cursor(command));
        let mut found = Vec::new();
        while let Some(page) = rows.next(self).await? {
            found.extend(page.iter().filter_map(|row| indexed(row)));
        }
        Ok(found)
    }

    /// The threads that the index knows, each once. Not by their prefix: a search for one gives up
    /// after 200 different ids.
    pub(crate) fn indexed_threads(&self) -> Rows {
        let index = self.keyspace.checkpoint_prefix();
        let command = aggregate(index, "*", &["@thread_id"])
            .args(["GROUPBY", "1", "@thread_id"].map(Bytes::from));
        Rows::new(index, with_cursor(command))
    }

    /// The thread of every checkpoint that the index knows, page by page.
    pub(crate) fn indexed_thread_of_each(&self) -> Rows {
        let index = self.keyspace.checkpoint_prefix();
        let command = aggregate(index, "*", &["@thread_id"]);
        Rows::new(index, with_cursor(command))
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
            Err(Error::Server { reason, .. }) => {
                tracing::warn!(index, reason, "the index does not tell what it knows");
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

/// What is wrong with an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IndexProblem {
    Missing,
    Busy,
    Differs(String),
}

/// How a field of an index differs from ours.
fn difference(info: &Reply, field: &str, kind: &Field) -> Option<String> {
    let attributes = value_of(info.clone(), "attributes")?.into_array();
    let Some(attribute) = attributes
        .into_iter()
        .map(Reply::into_array)
        .find(|attribute| {
            let name = value_of(Reply::Array(attribute.clone()), "attribute");
            name.is_some_and(|name| name.as_str() == Some(field))
        })
    else {
        return Some(format!("it has no field `{field}`"));
    };
    let has = |flag: &str| attribute.iter().any(|part| part.as_str() == Some(flag));
    match kind {
        Field::Numeric => (!has("NUMERIC")).then(|| format!("`{field}` is no number")),
        Field::Tag | Field::SortedTag if !has("TAG") => Some(format!("`{field}` is no tag")),
        Field::Tag | Field::SortedTag => {
            let separator = value_of(Reply::Array(attribute.clone()), "SEPARATOR");
            let separator = separator.as_ref().and_then(Reply::as_str).unwrap_or(",");
            if separator != SEPARATOR.to_string() {
                Some(format!("`{field}` is split at {separator:?}"))
            } else if has("CASESENSITIVE") {
                let sorted = matches!(kind, Field::SortedTag);
                (sorted && !has("SORTABLE")).then(|| format!("`{field}` is not sortable"))
            } else {
                Some(format!("`{field}` folds case"))
            }
        }
    }
}

impl Search {
    /// What an index keeps of a thread's id as one tag; `None` if it keeps nothing.
    fn piece(self, thread: &ThreadId) -> Option<&str> {
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
    Some(
        Command::new("FT.SEARCH")
            .arg(text(index))
            .arg("@thread_id:{$thread}")
            .args(["LIMIT", "0", "0"].map(Bytes::from))
            .args(NO_TIME_LIMIT.map(Bytes::from))
            .args(["PARAMS", "2", "thread"].map(Bytes::from))
            .arg(text(piece))
            .args(["DIALECT", "2"].map(Bytes::from)),
    )
}

/// The rows of an index that may be a thread's.
fn rows_of_thread(search: Search, thread: &ThreadId, index: &str, load: &[&'static str]) -> Rows {
    let Some(piece) = search.piece(thread) else {
        return Rows::none();
    };
    let command = aggregate(index, "@thread_id:{$thread}", load)
        .args(["PARAMS", "2", "thread"].map(Bytes::from))
        .arg(text(piece))
        .args(["DIALECT", "2"].map(Bytes::from));
    Rows::new(index, with_cursor(command))
}

/// The rows of a search, page by page.
#[derive(Debug)]
pub(crate) struct Rows {
    index: String,
    /// The node that has the cursor.
    node: Option<Node>,
    state: RowsState,
}

#[derive(Debug)]
enum RowsState {
    Start(Command),
    Cursor(i64),
    End,
}

impl Rows {
    fn new(index: &str, command: Command) -> Self {
        Self {
            index: index.to_owned(),
            node: None,
            state: RowsState::Start(command),
        }
    }

    fn none() -> Self {
        Self {
            index: String::new(),
            node: None,
            state: RowsState::End,
        }
    }

    /// The next page of rows; each is a list of names and values.
    pub(crate) async fn next(&mut self, store: &Store) -> Result<Option<Vec<Vec<Reply>>>> {
        let state = std::mem::replace(&mut self.state, RowsState::End);
        let has_started = matches!(state, RowsState::Cursor(_));
        let command = match state {
            RowsState::End => return Ok(None),
            RowsState::Start(command) => command,
            // A second answer would be the next page, and the first one lost.
            RowsState::Cursor(cursor) => Command::new("FT.CURSOR")
                .once()
                .arg("READ")
                .arg(text(&self.index))
                .arg(number(cursor))
                .arg("COUNT")
                .arg(number(ROWS)),
        };
        let node = match self.node.take() {
            Some(node) => node,
            None => store.driver.any_primary()?,
        };
        let reply = store.driver.call_at("search", &node, command).await;
        self.node = Some(node);
        let reply = match reply {
            // What was given so far is not all: the index or the cursor is gone, or the server is
            // another.
            Err(Error::Server { reason, .. }) if has_started => {
                return Err(Error::Unavailable {
                    reason: format!("a search was cut short, so list again ({reason})"),
                });
            }
            Err(error) if is_unknown_index(&error) => return Ok(None),
            reply => reply?,
        };
        let mut reply = reply.into_array().into_iter();
        let rows = reply.next().unwrap_or(Reply::Nil).into_array();
        match reply.next().and_then(|cursor| cursor.as_int()) {
            Some(cursor) if cursor != 0 => self.state = RowsState::Cursor(cursor),
            _ => {}
        }
        // The first element counts the rows.
        Ok(Some(
            rows.into_iter().skip(1).map(Reply::into_array).collect(),
        ))
    }
}

/// The checkpoint that a row names; `None` for one whose ids are no ids.
pub(crate) fn indexed(row: &[Reply]) -> Option<Indexed> {
    Some(Indexed {
        thread_id: ThreadId::new(field(row, "thread_id")?).ok()?,
        namespace: namespace_from_stored(&field(row, "checkpoint_ns")?).ok()?,
        checkpoint_id: CheckpointId::new(field(row, "checkpoint_id")?).ok()?,
    })
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

fn value_of(info: Reply, name: &str) -> Option<Reply> {
    let info = info.into_array();
    let position = info.iter().position(|part| part.as_str() == Some(name))?;
    info.into_iter().nth(position + 1)
}

/// The separator that an index has for a field.
fn separator_of(info: Reply, field: &str) -> Option<char> {
    let attributes = value_of(info, "attributes")?.into_array();
    let attribute = attributes
        .into_iter()
        .map(Reply::into_array)
        .find(|attribute| attribute.iter().any(|part| part.as_str() == Some(field)))?;
    value_of(Reply::Array(attribute), "SEPARATOR")?
        .as_str()?
        .chars()
        .next()
}

fn is_unknown_index(error: &Error) -> bool {
    matches!(error, Error::Server { reason, .. }
        if reason.to_lowercase().contains("no such index") || reason.to_lowercase().contains("unknown index"))
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

fn with_cursor(command: Command) -> Command {
    command
        .arg("WITHCURSOR")
        .arg("COUNT")
        .arg(number(ROWS))
        .args(NO_TIME_LIMIT.map(Bytes::from))
}

enum Field {
    Tag,
    /// A tag that is sorted by, kept as it is.
    SortedTag,
    Numeric,
}

/// The schema of the index of checkpoints; the names are those of the Python saver's.
const CHECKPOINT_FIELDS: &[(&str, Field)] = &[
    ("thread_id", Field::Tag),
    ("run_id", Field::Tag),
    ("checkpoint_ns", Field::Tag),
    ("checkpoint_id", Field::SortedTag),
    ("parent_checkpoint_id", Field::Tag),
    ("checkpoint_ts", Field::Numeric),
    ("source", Field::Tag),
    ("step", Field::Numeric),
    ("has_writes", Field::Tag),
];

/// The schema of the index of writes.
const WRITE_FIELDS: &[(&str, Field)] = &[
    ("thread_id", Field::Tag),
    ("checkpoint_ns", Field::Tag),
    ("checkpoint_id", Field::Tag),
    ("task_id", Field::Tag),
    ("idx", Field::Numeric),
    ("channel", Field::Tag),
    ("type", Field::Tag),
];

fn create(prefix: &str, fields: &[(&str, Field)]) -> Command {
    let mut command = Command::new("FT.CREATE")
        .arg(text(prefix))
        .args(["ON", "JSON", "PREFIX", "1"].map(Bytes::from))
        .arg(format!("{prefix}:"))
        .arg("SCHEMA");
    for (name, kind) in fields {
        command = command
            .arg(format!("$.{name}"))
            .arg("AS")
            .arg((*name).to_owned());
        command = match kind {
            Field::Numeric => command.arg("NUMERIC"),
            Field::Tag | Field::SortedTag => command
                .args(["TAG", "SEPARATOR"].map(Bytes::from))
                .arg(SEPARATOR.to_string())
                .arg("CASESENSITIVE"),
        };
        if matches!(kind, Field::SortedTag) {
            command = command.arg("SORTABLE").arg("UNF");
        }
    }
    command
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
