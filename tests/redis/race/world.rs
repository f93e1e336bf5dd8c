//! The threads that are raced on, and what is put there: everything that is stored says where it
//! belongs, so that whatever is read can be compared with what must have been put.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointTuple,
    PendingWrite, RunId, TaskId, ThreadId, TypedValue,
};

/// How many writes the call of each task holds.
const CALLS: [usize; 4] = [1, 3, 8, 40];
/// How many tasks write to a checkpoint.
pub const TASKS: usize = CALLS.len();
/// The task whose writes replace each other.
pub const SPECIAL: &str = "special";
/// The length of the chain between two snapshots of the delta channel.
pub const SNAPSHOT: usize = 4;

/// What may become of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody removes anything of it.
    Kept,
    /// The same, and each writer says what must be the newest.
    Contested,
    /// It is deleted, pruned, and its runs are deleted.
    Volatile,
    /// It is what others are copied onto, and is deleted.
    Copied,
    /// It was stored before the race and is only read and copied.
    Frozen,
}

/// A namespace of a thread.
#[derive(Debug)]
pub struct Place {
    pub thread: &'static str,
    pub space: &'static str,
    pub fate: Fate,
    /// The next number that nobody has tried.
    next: AtomicUsize,
    /// What was acknowledged: for each number the tasks whose writes were, as bits.
    acknowledged: Mutex<BTreeMap<usize, u8>>,
    /// What was acknowledged as the next after a number.
    winners: Mutex<BTreeMap<Option<usize>, usize>>,
}

/// Ids that are hostile to key names, patterns, tags and each other: thread `a` with the namespace
/// `b:x` has the same keys as thread `a:b` with `x`.
const PLACES: &[(&str, &str, Fate)] = &[
    ("a", "", Fate::Kept),
    ("a", "b:x", Fate::Kept),
    ("{br}ace%3A", "", Fate::Kept),
    ("nul\0and\nline", "", Fate::Kept),
    ("nul\0and\nline", "x{y}z", Fate::Kept),
    ("émoji 🦀,one", "%", Fate::Kept),
    ("cas:b*", "x", Fate::Contested),
    ("cas", "", Fate::Contested),
    ("a:b", "x", Fate::Volatile),
    ("a:b", "", Fate::Volatile),
    ("A", "", Fate::Volatile),
    ("a%3Ab", "x", Fate::Volatile),
    ("{br}", "", Fate::Volatile),
    ("{br}", "🦀\n", Fate::Volatile),
    ("copied:[a]", "", Fate::Copied),
    ("copied\0", "", Fate::Copied),
    ("frozen", "", Fate::Frozen),
    ("frozen", "x:1", Fate::Frozen),
];

/// How many runs there are that are deleted.
pub const RUNS: usize = 3;
/// How many checkpoints each namespace of a frozen thread has.
pub const FROZEN: usize = 10;

pub fn places() -> Vec<Place> {
    let places = PLACES.iter().map(|(thread, space, fate)| Place {
        thread,
        space,
        fate: *fate,
        next: AtomicUsize::new(0),
        acknowledged: Mutex::default(),
        winners: Mutex::default(),
    });
    places.collect()
}

/// Whether a thread is one of those that are raced on.
pub fn is_known(thread: &str) -> bool {
    let is_own = thread.starts_with("own-") || thread.starts_with("copy-");
    is_own || PLACES.iter().any(|(known, ..)| *known == thread)
}

/// The namespaces of all threads.
pub fn spaces() -> BTreeSet<&'static str> {
    PLACES.iter().map(|(_, space, _)| *space).collect()
}

/// The threads of a fate.
pub fn threads(fate: Fate) -> BTreeSet<&'static str> {
    let of_fate = PLACES.iter().filter(|(.., of)| *of == fate);
    of_fate.map(|(thread, ..)| *thread).collect()
}

/// All threads that stay the same for the whole race.
pub fn all_threads() -> BTreeSet<&'static str> {
    PLACES.iter().map(|(thread, ..)| *thread).collect()
}

impl Place {
    pub fn config(&self) -> CheckpointConfig {
        config(self.thread, self.space)
    }

    pub fn named(&self, number: usize) -> CheckpointConfig {
        self.config().with_checkpoint(id(number))
    }

    /// What is put under a number.
    pub fn origin(&self, number: usize) -> Origin {
        self.origin_after(number, number.checked_sub(1))
    }

    /// The same with a parent.
    pub fn origin_after(&self, number: usize, parent: Option<usize>) -> Origin {
        Origin {
            thread: self.thread.to_owned(),
            space: self.space.to_owned(),
            number,
            parent,
        }
    }

    /// A number that nobody has tried, or one that was tried if there are as many as may be.
    pub fn number(&self, most: usize) -> usize {
        let next = self.next.load(Ordering::SeqCst);
        if next >= most {
            return rand::random_range(next.saturating_sub(50)..next.max(1));
        }
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// A number that was tried, most often one of the last.
    pub fn tried(&self) -> usize {
        if self.fate == Fate::Contested {
            let acknowledged = self.acknowledged.lock().unwrap();
            let back = rand::random_range(0..acknowledged.len().clamp(1, 12));
            return acknowledged.keys().rev().nth(back).copied().unwrap_or(0);
        }
        let next = self.next.load(Ordering::SeqCst).max(1);
        let span = if rand::random_ratio(3, 4) { 12 } else { next };
        rand::random_range(next.saturating_sub(span)..next)
    }

    /// How many numbers were tried.
    pub fn count(&self) -> usize {
        self.next.load(Ordering::SeqCst)
    }

    /// The number of a contested place was tried.
    pub fn try_number(&self, number: usize) {
        self.next.fetch_max(number + 1, Ordering::SeqCst);
    }

    pub fn acknowledge(&self, number: usize) {
        self.acknowledged.lock().unwrap().entry(number).or_default();
    }

    pub fn acknowledge_writes(&self, number: usize, task: usize) {
        if let Some(tasks) = self.acknowledged.lock().unwrap().get_mut(&number) {
            *tasks |= 1 << task;
        }
    }

    /// Of a checkpoint that may not have been acknowledged before its writes.
    pub fn tasks_of(&self, number: usize) -> Option<u8> {
        self.acknowledged.lock().unwrap().get(&number).copied()
    }

    /// What was acknowledged of a range of numbers, the first and last of it included.
    pub fn acknowledged(&self, first: usize, last: usize) -> BTreeMap<usize, u8> {
        if first > last {
            return BTreeMap::new();
        }
        let acknowledged = self.acknowledged.lock().unwrap();
        let range = acknowledged.range(first..=last);
        range.map(|(number, tasks)| (*number, *tasks)).collect()
    }

    pub fn greatest(&self) -> Option<usize> {
        let acknowledged = self.acknowledged.lock().unwrap();
        acknowledged.keys().next_back().copied()
    }

    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Notes what was acknowledged as the next after a number; another that was is the error.
    pub fn won(&self, parent: Option<usize>, number: usize) -> Result<(), usize> {
        match self.winners.lock().unwrap().insert(parent, number) {
            Some(other) if other != number => Err(other),
            _ => Ok(()),
        }
    }

    /// What was acknowledged as the next after a number.
    pub fn next_of(&self, parent: Option<usize>) -> Option<usize> {
        self.winners.lock().unwrap().get(&parent).copied()
    }
}

pub fn config(thread: &str, space: &str) -> CheckpointConfig {
    let thread = CheckpointConfig::of_thread(ThreadId::new(thread).unwrap());
    thread.with_namespace(space).unwrap()
}

pub fn id(number: usize) -> CheckpointId {
    CheckpointId::new(format!("{number:08}")).unwrap()
}

pub fn task(task: usize) -> TaskId {
    TaskId::new(format!("task:{task}")).unwrap()
}

/// The path of a task, which comes first in the order of writes.
pub fn path(task: usize) -> String {
    format!("path-{}", TASKS - task)
}

/// Where something was put first, and after which number. Copies keep it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub thread: String,
    pub space: String,
    pub number: usize,
    pub parent: Option<usize>,
}

impl Origin {
    fn text(&self) -> String {
        let Self {
            thread,
            space,
            number,
            parent,
        } = self;
        let parent = parent.map_or_else(String::new, |parent| parent.to_string());
        format!("{thread}|{space}|{number}|{parent}")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let mut next = || parts.next().map(str::to_owned);
        Some(Self {
            thread: next()?,
            space: next()?,
            number: next()?.parse().ok()?,
            parent: next()?.parse().ok(),
        })
    }

    /// The run that puts a checkpoint.
    pub fn run(&self) -> RunId {
        if threads(Fate::Volatile).contains(self.thread.as_str()) {
            RunId::new(format!("run-{}", self.number % RUNS)).unwrap()
        } else {
            RunId::new("run-kept").unwrap()
        }
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let Self { number, .. } = self;
        let length = if number % 16 == 7 { 20_000 } else { 400 };
        let who = serde_json::to_string(&self.text()).unwrap();
        let filler = format!("{number} ").repeat(length / 5);
        let snapshot = if number.is_multiple_of(SNAPSHOT) {
            format!(r#","d":[{number}]"#)
        } else {
            String::new()
        };
        Checkpoint::from_json(format!(
            r#"{{"v":4,"ts":"2026-01-01T00:00:00Z","id":"{}","channel_values":{{"who":{who},"text":"{filler}"{snapshot}}},"channel_versions":{{"who":{number},"text":{number},"d":{number}}},"versions_seen":{{}},"updated_channels":["who","text","d"]}}"#,
            id(*number),
        ))
        .unwrap()
    }

    pub fn metadata(&self) -> CheckpointMetadata {
        let metadata = CheckpointMetadata::new()
            .with("source", "loop")
            .unwrap()
            .with("step", &self.number)
            .unwrap()
            .with("who", &self.text())
            .unwrap();
        if self.number.is_multiple_of(SNAPSHOT) {
            return metadata;
        }
        let counters = BTreeMap::from([("d", [1, 1])]);
        metadata
            .with("counters_since_delta_snapshot", &counters)
            .unwrap()
    }

    /// The writes of a task.
    pub fn writes(&self, task: usize) -> Vec<ChannelWrite> {
        let writes = (0..CALLS[task]).map(|idx| {
            let value = format!(
                "{}|{}|{}|{task}|{idx}",
                self.thread, self.space, self.number
            );
            let channel = if idx % 2 == 0 { "d" } else { "text" };
            ChannelWrite::new(channel, TypedValue::json(&value).unwrap())
        });
        writes.collect()
    }

    /// Writes that replace those that were there.
    pub fn special(&self, revision: usize) -> Vec<ChannelWrite> {
        let value = format!("{}|{}|{}|{revision}", self.thread, self.space, self.number);
        let write = |channel| ChannelWrite::new(channel, TypedValue::json(&value).unwrap());
        vec![write("__interrupt__"), write("__resume__")]
    }
}

/// What a whole checkpoint says of itself.
#[derive(Debug)]
pub struct Whole {
    pub origin: Origin,
    /// The tasks whose writes it has, as bits.
    pub tasks: u8,
}

/// Checks that a checkpoint is all of what was put under its ids and has whole calls of writes,
/// and that it is this place's, or was copied from an origin that may be.
pub fn whole(
    thread: &str,
    space: &str,
    tuple: &CheckpointTuple,
    may_come_from: &[&str],
) -> Result<Whole, String> {
    let at = &tuple.config;
    let found_space = at.checkpoint_ns.as_ref().map_or("", |space| space.as_str());
    if at.thread_id.as_str() != thread || found_space != space {
        return Err(format!("it is of {:?}", tuple.config));
    }
    let who = tuple.checkpoint.channel_value::<String>("who");
    let who = who.ok().flatten().unwrap_or_default();
    let Some(origin) = Origin::parse(&who) else {
        return Err(format!("it does not say whose it is: {who:?}"));
    };
    let comes_from = origin.thread.as_str();
    if (comes_from != thread && !may_come_from.contains(&comes_from)) || origin.space != space {
        return Err(format!("it is another's: {who:?}"));
    }
    if id(origin.number) != *tuple.checkpoint.id()
        || at.checkpoint_id.as_ref() != Some(tuple.checkpoint.id())
    {
        return Err(format!("{who:?} is under {:?}", tuple.checkpoint.id()));
    }
    if tuple.checkpoint != origin.checkpoint() {
        return Err(format!("torn: {:?}", tuple.checkpoint));
    }
    let metadata = origin.metadata().with("run_id", &origin.run()).unwrap();
    if tuple.metadata != metadata {
        return Err(format!("its metadata: {:?}", tuple.metadata));
    }
    let parent = origin.parent.map(id);
    let found = tuple.parent_config.as_ref();
    if found.and_then(|parent| parent.checkpoint_id.clone()) != parent {
        return Err(format!("its parent: {found:?}"));
    }
    let tasks = whole_writes(&origin, &tuple.pending_writes)?;
    Ok(Whole { origin, tasks })
}

/// Checks that writes come in whole calls and in order; returns whose they are.
fn whole_writes(origin: &Origin, writes: &[PendingWrite]) -> Result<u8, String> {
    if !writes.is_sorted_by_key(|write| (&write.task_path, &write.task_id, write.idx)) {
        return Err(format!("its writes are in no order: {writes:?}"));
    }
    let mut calls: BTreeMap<&str, Vec<&PendingWrite>> = BTreeMap::new();
    for write in writes {
        calls.entry(write.task_id.as_str()).or_default().push(write);
    }
    let mut tasks = 0;
    for (name, mut call) in calls {
        call.sort_by_key(|write| write.idx);
        let expected = if name == SPECIAL {
            // Interrupts have the greater idx.
            call.reverse();
            let value: String = call[0].value.decode().unwrap_or_default();
            let revision = value.rsplit('|').next().and_then(|text| text.parse().ok());
            origin.special(revision.unwrap_or(usize::MAX))
        } else {
            let number = name
                .strip_prefix("task:")
                .and_then(|n| n.parse::<usize>().ok());
            let Some(number) = number.filter(|number| *number < TASKS) else {
                return Err(format!("a task {name:?}"));
            };
            tasks |= 1_u8 << number;
            origin.writes(number)
        };
        let found: Vec<_> = call
            .iter()
            .map(|write| ChannelWrite::new(write.channel.clone(), write.value.clone()))
            .collect();
        if found != expected {
            return Err(format!(
                "{} of {} writes of {name}: {found:?}",
                found.len(),
                expected.len()
            ));
        }
    }
    Ok(tasks)
}

/// The tasks and numbers that the writes of a history to the delta channel come from, in whole
/// calls.
pub fn whole_history(
    place: (&str, &str),
    may_come_from: &[&str],
    writes: &[PendingWrite],
) -> Result<BTreeSet<(usize, usize)>, String> {
    let mut calls: BTreeMap<(String, usize, usize), usize> = BTreeMap::new();
    for write in writes {
        let value: String = write.value.decode().unwrap_or_default();
        let parts: Vec<_> = value.split('|').collect();
        let [thread, space, number_text, task, idx] = parts[..] else {
            return Err(format!("it has {write:?}"));
        };
        if (thread != place.0 && !may_come_from.contains(&thread)) || space != place.1 {
            return Err(format!("it has another's: {write:?}"));
        }
        if write.channel != "d" || !number(idx).is_multiple_of(2) || number(task) >= TASKS {
            return Err(format!("it has {write:?}"));
        }
        *calls
            .entry((thread.to_owned(), number(number_text), number(task)))
            .or_default() += 1;
    }
    let mut found = BTreeSet::new();
    for ((_, number, task), count) in calls {
        if count != CALLS[task].div_ceil(2) {
            return Err(format!("{count} writes of task {task} of {number}"));
        }
        found.insert((number, task));
    }
    Ok(found)
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or(usize::MAX)
}
