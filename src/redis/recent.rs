//! The sets of recent threads: the threads by the time of the last write to each, so that the
//! newest are found without a walk over the keys.
//!
//! No call waits for them. What calls note is stored in the background, many threads in one
//! pipeline, a moment after the first. So they are an order in which to look for threads, and not
//! the truth: a reader skips the threads that are gone, and finds those that the sets lack by a
//! walk over the keys, after which they have them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Notify;

use super::args::{number, text};
use super::config::{Layout, Settings};
use super::driver::{Command, Driver, Reply, Task};
use super::keys::{Keyspace, RECENT_SETS};
use super::replies::byte_strings;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, ThreadId};
use crate::saver::ThreadSummary;

/// How long what was noted waits for more, after some was stored.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long a reader, or the end of a saver, waits until what was noted is stored.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it is said that the sets cannot be kept.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// How long a set is kept at least that nothing is added to, where threads have a TTL.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many threads are stored in one pipeline.
const BATCH: usize = 1_024;

/// How many threads may wait to be stored. What is more is found by a walk over the keys.
const MAX_NOTED: usize = 65_536;

/// How many members are looked at for each that is new, so that the threads that have expired are
/// never more than about half of a set.
const SAMPLES: usize = 2;

/// How many members of one set are looked at in one step.
const MAX_SAMPLES: usize = 256;

/// How many threads the first page of a reader has, and the others.
const FIRST_PAGE: usize = 32;
const PAGE: usize = 256;

/// The sets of recent threads of one saver.
#[derive(Debug)]
pub(crate) struct RecentThreads {
    sets: Arc<Sets>,
    /// Stores what is noted; `None` if the saver keeps no such sets.
    storing: Option<Task>,
}

/// A thread in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecentThread {
    pub(crate) set: u16,
    pub(crate) thread: ThreadId,
    /// When it was written to last, in microseconds since 1970.
    time: u64,
}

#[derive(Debug)]
struct Sets {
    driver: Arc<Driver>,
    keyspace: Keyspace,
    layout: Layout,
    /// The time to live of a set that nothing is added to; `None` to keep it.
    ttl: Option<Duration>,
    noted: Mutex<Noted>,
    wake: Notify,
    /// Held while what was noted is stored, so that it is stored in its order.
    turn: tokio::sync::Mutex<()>,
    /// When it was said last that they cannot be kept.
    warned: Mutex<Option<Instant>>,
}

/// What waits to be stored.
#[derive(Debug, Default)]
struct Noted {
    threads: HashMap<ThreadId, Note>,
    /// The time of the last write, so that no two have the same.
    last: u64,
}

/// What calls have done to a thread.
#[derive(Debug, Clone, Copy, Default)]
struct Note {
    /// When it was written to last.
    written: Option<u64>,
    /// Whether something of it was removed, perhaps all.
    removed: bool,
}

impl RecentThread {
    fn new(thread: ThreadId, time: u64) -> Self {
        let set = Keyspace::recent_set(&thread);
        Self { set, thread, time }
    }

    /// A thread that was found in another way, at the time of its newest checkpoint.
    pub(crate) fn found(summary: &ThreadSummary) -> Self {
        let time = summary.newest.as_ref().and_then(CheckpointId::time);
        Self::new(summary.thread_id.clone(), distinct(time))
    }

    /// A member of a set; `None` if it is no thread.
    fn of_member(set: u16, member: &[u8], score: &[u8]) -> Option<Self> {
        Some(Self {
            set,
            thread: ThreadId::from_bytes(member).ok()?,
            time: std::str::from_utf8(score).ok()?.parse().ok()?,
        })
    }
}

impl RecentThreads {
    pub(crate) fn new(driver: &Arc<Driver>, keyspace: &Keyspace, settings: &Settings) -> Self {
        let sets = Arc::new(Sets {
            driver: Arc::clone(driver),
            keyspace: keyspace.clone(),
            layout: settings.layout,
            // Longer than that of the threads, of which some may be pinned, or kept by reading.
            ttl: settings.ttl.default.map(|ttl| (ttl * 2).max(WEEK)),
            noted: Mutex::default(),
            wake: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            warned: Mutex::default(),
        });
        let storing = settings.recent_threads.then(|| {
            let sets = Arc::clone(&sets);
            Task::start(async move {
                loop {
                    sets.wake.notified().await;
                    sets.store().await;
                    tokio::time::sleep(INTERVAL).await;
                }
            })
        });
        Self { sets, storing }
    }

    /// Whether the saver keeps the sets.
    pub(crate) fn are_kept(&self) -> bool {
        self.storing.is_some()
    }

    /// The key of a set.
    pub(crate) fn key(&self, set: u16) -> Bytes {
        self.sets.key(set)
    }

    /// Notes that a thread was written to just now, unless it is known that it was not.
    pub(crate) fn written_if<T>(&self, thread: &ThreadId, stored: &Result<T>) {
        // After some errors it may be stored.
        if stored.as_ref().is_err_and(|error| !error.is_retryable()) {
            return;
        }
        self.note(thread, |noted| {
            let now = microseconds(SystemTime::now()).max(noted.last + 1);
            noted.last = now;
            Note::written(now)
        });
    }

    /// Notes that a thread was written to at a time, or at an unknown one, before all others.
    pub(crate) fn written_at(&self, thread: &ThreadId, time: Option<SystemTime>) {
        self.note(thread, |_| Note::written(distinct(time)));
    }

    /// Notes that something of a thread was removed, perhaps all.
    pub(crate) fn removed(&self, thread: &ThreadId) {
        let removed = Note {
            removed: true,
            ..Note::default()
        };
        self.note(thread, |_| removed);
    }

    fn note(&self, thread: &ThreadId, note: impl FnOnce(&mut Noted) -> Note) {
        if self.are_kept() {
            let mut noted = self.sets.noted();
            let note = note(&mut noted);
            noted.add(thread, note);
            drop(noted);
            self.sets.wake.notify_one();
        }
    }

    /// Stores what was noted, in a second at most. What the server refuses is said in the log: a
    /// walk over the keys finds the threads.
    pub(crate) async fn store(&self) {
        if self.are_kept()
            && tokio::time::timeout(PATIENCE, self.sets.store())
                .await
                .is_err()
        {
            tracing::debug!("recent threads were not stored in time");
        }
    }

    /// The threads, those first that were written to last. A thread that is written to meanwhile
    /// may be passed over, or come twice.
    pub(crate) fn newest_first(&self) -> NewestFirst {
        let sets = (0..RECENT_SETS).map(|set| Cursor {
            set,
            last: None,
            skip: 0,
            ready: VecDeque::new(),
            is_done: !self.are_kept(),
        });
        NewestFirst {
            sets: sets.collect(),
            page: FIRST_PAGE,
            has_begun: false,
        }
    }

    /// Takes threads out of the sets in which a reader finds nothing, if they are gone, and puts
    /// those in that it found in another way.
    pub(crate) async fn correct(&self, empty: Vec<RecentThread>, found: Vec<RecentThread>) {
        if self.are_kept() {
            let done = self.sets.correct(empty, found).await;
            self.sets.warn_of(done);
        }
    }

    /// Which of these threads are there, and not in their sets.
    pub(crate) async fn lacking(&self, threads: Vec<ThreadId>) -> Result<Vec<ThreadId>> {
        self.sets.lacking(threads).await
    }
}

/// When it was, in microseconds since 1970, which a score holds exactly.
fn microseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

/// A time that an id says, such that hardly another thread has the same, and not later than now; a
/// small one if it is not known.
fn distinct(time: Option<SystemTime>) -> u64 {
    match time.map(|time| microseconds(time.min(SystemTime::now()))) {
        None => rand::random_range(1..1_000_000_000),
        // That of a ULID, which counts milliseconds.
        Some(time) if time % 1_000 == 0 => time + rand::random_range(0..1_000),
        Some(time) => time,
    }
}

impl Note {
    fn written(time: u64) -> Self {
        Self {
            written: Some(time),
            removed: false,
        }
    }
}

impl Noted {
    fn add(&mut self, thread: &ThreadId, note: Note) {
        if let Some(there) = self.threads.get_mut(thread) {
            there.written = there.written.max(note.written);
            there.removed |= note.removed;
        } else if self.threads.len() < MAX_NOTED {
            self.threads.insert(thread.clone(), note);
        }
    }
}

impl Sets {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        // No call panics while it holds the lock, and what is noted has no broken state.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores what was noted so far, or notes it again if that fails for now. What is noted
    /// meanwhile wakes the next run.
    async fn store(&self) {
        let _turn = self.turn.lock().await;
        let threads = std::mem::take(&mut self.noted().threads);
        let mut notes = threads.into_iter().peekable();
        while notes.peek().is_some() {
            let batch: Vec<_> = notes.by_ref().take(BATCH).collect();
            let stored = self.store_notes(batch.clone()).await;
            let Err(error) = &stored else {
                continue;
            };
            if error.is_retryable() {
                let mut waiting = self.noted();
                for (thread, note) in batch.into_iter().chain(notes) {
                    waiting.add(&thread, note);
                }
                drop(waiting);
                self.wake.notify_one();
            }
            self.warn_of(stored);
            return;
        }
    }

    /// Says, now and then, that the sets cannot be kept.
    fn warn_of(&self, stored: Result<()>) {
        let Err(error) = stored else {
            return;
        };
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|warned| warned.elapsed() > WARNING_INTERVAL) {
            *warned = Some(Instant::now());
            let error = error.report();
            tracing::warn!(
                %error,
                "the sets of recent threads cannot be kept: `threads` finds what they lack by a walk over the keys"
            );
        }
    }

    async fn store_notes(&self, notes: Vec<(ThreadId, Note)>) -> Result<()> {
        let (mut written, mut removed) = (Vec::new(), Vec::new());
        for (thread, note) in notes {
            if note.removed {
                removed.push(thread.clone());
            }
            written.extend(note.written.map(|time| RecentThread::new(thread, time)));
        }
        let added = self.add(written).await;
        let removed = self.with_times(removed).await?.into_iter();
        let members = removed.filter_map(|(thread, time)| Some(RecentThread::new(thread, time?)));
        self.forget_gone(members.collect()).await?;
        added
    }

    /// Puts threads into their sets, and takes some out of these that are gone.
    async fn add(&self, threads: Vec<RecentThread>) -> Result<()> {
        let mut sets: BTreeMap<u16, Command> = BTreeMap::new();
        for RecentThread { set, thread, time } in threads {
            let add = sets.remove(&set);
            let add = add.unwrap_or_else(|| {
                let key = self.key(set);
                // A time that is there already and is later stays.
                Command::on("ZADD", key).arg("GT")
            });
            sets.insert(set, add.arg(number(time)).arg(text(thread.as_str())));
        }
        let (sets, mut commands): (Vec<_>, Vec<_>) = sets.into_iter().unzip();
        for set in &sets {
            let key = self.key(*set);
            commands.push(match self.ttl {
                Some(ttl) => Command::on("PEXPIRE", key).arg(number(ttl.as_millis())),
                None => Command::on("PERSIST", key),
            });
        }
        // A set that cannot be written stops none of the others.
        let (mut counts, mut failed) = (Vec::new(), Ok(()));
        for reply in self.batch(commands).await? {
            counts.push(
                reply
                    .as_ref()
                    .map_or(0, |reply| reply.as_int().unwrap_or(0)),
            );
            failed = failed.and(reply.map(|_| ()));
        }
        let (mut grown, mut commands) = (Vec::new(), Vec::new());
        for (set, added) in sets.into_iter().zip(counts) {
            let most = (usize::try_from(added).unwrap_or(0) * SAMPLES).min(MAX_SAMPLES);
            if most > 0 {
                let sample = Command::on("ZRANDMEMBER", self.key(set));
                commands.push(sample.arg(number(most)).arg("WITHSCORES"));
                grown.push(set);
            }
        }
        let mut members = Vec::new();
        for (set, reply) in grown.into_iter().zip(self.batch(commands).await?) {
            let elements = byte_strings(reply?);
            let pairs = elements.chunks_exact(2);
            members
                .extend(pairs.filter_map(|pair| RecentThread::of_member(set, &pair[0], &pair[1])));
        }
        self.forget_gone(members).await?;
        failed
    }

    async fn correct(&self, empty: Vec<RecentThread>, found: Vec<RecentThread>) -> Result<()> {
        self.forget_gone(empty).await?;
        // A thread that another saver alone writes to has no key that says when it is gone.
        let there = self.those(found, true).await?;
        self.add(there).await
    }

    async fn forget_gone(&self, threads: Vec<RecentThread>) -> Result<()> {
        let gone = self.those(threads, false).await?;
        self.forget(&gone).await
    }

    /// Threads with the times that the sets have.
    async fn with_times(&self, threads: Vec<ThreadId>) -> Result<Vec<(ThreadId, Option<u64>)>> {
        let commands = threads.iter().map(|thread| {
            let key = self.key(Keyspace::recent_set(thread));
            Command::on("ZSCORE", key).arg(text(thread.as_str()))
        });
        let replies = self.batch(commands.collect()).await?;
        let with_times = threads.into_iter().zip(replies).map(|(thread, reply)| {
            let score = reply?;
            let time = score.as_str().and_then(|score| score.parse().ok());
            Ok((thread, time))
        });
        with_times.collect()
    }

    async fn lacking(&self, threads: Vec<ThreadId>) -> Result<Vec<ThreadId>> {
        let with_times = self.with_times(threads).await?.into_iter();
        let lacking = with_times.filter(|(_, time)| time.is_none());
        let lacking = lacking.map(|(thread, _)| RecentThread::new(thread, 0));
        let there = self.those(lacking.collect(), true).await?;
        Ok(there.into_iter().map(|one| one.thread).collect())
    }

    /// Those of some threads that are there, or those that are not.
    async fn those(
        &self,
        threads: Vec<RecentThread>,
        are_there: bool,
    ) -> Result<Vec<RecentThread>> {
        let commands = threads.iter().map(|one| self.exists(&one.thread));
        let replies = self.batch(commands.collect()).await?;
        let mut those = Vec::new();
        for (one, reply) in threads.into_iter().zip(replies) {
            if (reply?.as_int() != Some(0)) == are_there {
                those.push(one);
            }
        }
        Ok(those)
    }

    /// The key of a set. Savers of the JSON layout with hash tags have sets of their own, as they do
    /// not find the threads of those without.
    fn key(&self, set: u16) -> Bytes {
        let is_tagged = self.layout == Layout::Json && self.keyspace.tags_threads();
        self.keyspace
            .recent(set + RECENT_SETS * u16::from(is_tagged))
    }

    /// Asks whether a thread is there, if only with writes that await their checkpoint.
    fn exists(&self, thread: &ThreadId) -> Command {
        match self.layout {
            Layout::Json => Command::on("EXISTS", self.keyspace.thread(thread).namespaces()),
            Layout::Compact => {
                let keys = self.keyspace.compact(thread);
                Command::on("EXISTS", keys.heads).arg(keys.writes)
            }
        }
    }

    async fn forget(&self, gone: &[RecentThread]) -> Result<()> {
        let commands = gone.iter().map(|RecentThread { set, time, .. }| {
            // By its score, so that it stays if it was written to since. Another thread that has
            // the same is found by the next walk over the keys.
            Command::on("ZREMRANGEBYSCORE", self.key(*set))
                .arg(number(*time))
                .arg(number(*time))
        });
        for reply in self.batch(commands.collect()).await? {
            reply?;
        }
        Ok(())
    }

    async fn batch(&self, commands: Vec<Command>) -> Result<Vec<Result<Reply>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        // No replica has to acknowledge any of them.
        let commands = commands.into_iter().map(|command| Command {
            writes: false,
            ..command
        });
        self.driver.batch("threads", commands.collect()).await
    }
}

/// A walk over all sets at once.
#[derive(Debug)]
pub(crate) struct NewestFirst {
    sets: Vec<Cursor>,
    /// How many threads the next page has at most.
    page: usize,
    has_begun: bool,
}

/// Where a walk is in one set.
#[derive(Debug)]
struct Cursor {
    set: u16,
    /// The score of the last member that was read, and how many were read that have it.
    last: Option<Bytes>,
    skip: usize,
    ready: VecDeque<RecentThread>,
    is_done: bool,
}

impl NewestFirst {
    /// The next page, which is not empty; `None` after the last.
    pub(crate) async fn next(
        &mut self,
        recent: &RecentThreads,
    ) -> Result<Option<Vec<RecentThread>>> {
        if !std::mem::replace(&mut self.has_begun, true) {
            recent.store().await;
        }
        loop {
            self.fill(recent).await?;
            let mut page = Vec::new();
            while page.len() < self.page && self.sets.iter().all(Cursor::can_tell) {
                let of_newest = |cursor: &&mut Cursor| cursor.ready.front().map(|one| one.time);
                let newest = self.sets.iter_mut().max_by_key(of_newest);
                let Some(newest) = newest.and_then(|cursor| cursor.ready.pop_front()) else {
                    break;
                };
                page.push(newest);
            }
            if !page.is_empty() {
                self.page = PAGE;
                return Ok(Some(page));
            }
            if self.sets.iter().all(|cursor| cursor.is_done) {
                return Ok(None);
            }
        }
    }

    /// Reads a page of every set of which all that was read is used.
    async fn fill(&mut self, recent: &RecentThreads) -> Result<()> {
        let page = self.page;
        let mut empty: Vec<_> = self.sets.iter_mut().collect();
        empty.retain(|cursor| !cursor.can_tell());
        let commands = empty.iter().map(|cursor| {
            let from = cursor.last.clone();
            Command::on("ZRANGE", recent.key(cursor.set))
                .arg(from.unwrap_or_else(|| Bytes::from_static(b"+inf")))
                .args(["-inf", "BYSCORE", "REV", "LIMIT"].map(Bytes::from))
                .arg(number(cursor.skip))
                .arg(number(page))
                .arg("WITHSCORES")
        });
        let replies = recent.sets.batch(commands.collect()).await?;
        for (cursor, reply) in empty.into_iter().zip(replies) {
            match reply {
                Ok(reply) => cursor.take(reply, page),
                // Another's key, or a user who may not read it: a walk over the keys finds all.
                Err(
                    error @ (Error::WrongType { .. }
                    | Error::Permission { .. }
                    | Error::Server { .. }),
                ) => {
                    let error = error.report();
                    tracing::warn!(set = cursor.set, %error, "a set of recent threads cannot be read");
                    cursor.is_done = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Cursor {
    /// Whether it says which of its threads comes next, or that none does.
    fn can_tell(&self) -> bool {
        self.is_done || !self.ready.is_empty()
    }

    fn take(&mut self, reply: Reply, page: usize) {
        let elements = byte_strings(reply);
        let pairs = elements.chunks_exact(2);
        self.is_done = pairs.len() < page;
        for pair in pairs {
            self.ready
                .extend(RecentThread::of_member(self.set, &pair[0], &pair[1]));
            if self.last.as_ref() == Some(&pair[1]) {
                self.skip += 1;
            } else {
                (self.last, self.skip) = (Some(pair[1].clone()), 1);
            }
        }
    }
}
