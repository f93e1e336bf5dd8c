//! Random sequences of all calls, on a MemorySaver and on Redis side by side: every answer is the
//! same, and at the end no key is left behind.
//!
//! `LANGGRAPH_REDIS_MODEL_CASES` sets the number of sequences of each test.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::redis::{DoctorOptions, FindingKind, Layout};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CheckpointTuple, CopyOptions, DeleteOptions, Error, ExistingTarget,
    ExpectedParent, ListOptions, MemorySaver, MetadataFilter, Progress, ProgressCallback,
    PruneOptions, PruneStrategy, PutOptions, PutWritesOptions, RedisSaver, RunId, TaskId, ThreadId,
    ThreadSummary, TtlChoice, TtlPolicy, TypedValue,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::support::nodes::Nodes;
use crate::support::server::Server;

/// Ids that have a part in common, a colon, or differ in case only. No two pairs of a thread and
/// a namespace share a name in the families that the Python saver has.
const THREADS: [&str; 4] = ["t", "t:u", "T", "other, one"];
const NAMESPACES: [&str; 3] = ["", "x", "x:1"];
const IDS: [&str; 6] = ["1", "2", "3", "3:x", "4", "a"];
const TASKS: [&str; 2] = ["one", "x:2"];
const CHANNELS: [&str; 6] = [
    "a",
    "d",
    "__error__",
    "__scheduled__",
    "__interrupt__",
    "__resume__",
];
const RUNS: [&str; 2] = ["run-1", "run-2"];
const HOUR: Duration = Duration::from_secs(3_600);
/// A call that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// One call. Numbers are places in the lists above, so that a failure is short to read.
#[derive(Debug, Clone)]
enum Call {
    Put {
        at: At,
        id: usize,
        parent: Option<usize>,
        content: Content,
        run: Option<usize>,
        ttl: Ttl,
        expected: Expected,
    },
    PutWrites {
        at: At,
        id: usize,
        task: usize,
        path: bool,
        writes: Vec<(usize, u8)>,
        ttl: Ttl,
    },
    Get(At, Option<usize>),
    List {
        thread: Option<usize>,
        namespace: Option<usize>,
        id: Option<usize>,
        before: Option<usize>,
        limit: Option<usize>,
        run: Option<usize>,
    },
    DeleteThread(usize),
    DeleteForRuns(Vec<usize>),
    Copy {
        source: usize,
        target: usize,
        merge: bool,
        ttl: Ttl,
    },
    Prune(Vec<usize>, Keep),
    History(At, Option<usize>),
    Threads(usize),
    Touch(usize),
    Pin(usize),
    Unpin(usize),
}

#[derive(Debug, Clone, Copy)]
struct At {
    thread: usize,
    namespace: usize,
}

#[derive(Debug, Clone)]
struct Content {
    version: u8,
    /// Whether the delta channel has a value here, is counted, or neither.
    delta: Option<bool>,
    kind: u8,
}

#[derive(Debug, Clone, Copy)]
enum Ttl {
    Saver,
    Forever,
    Hours(u8),
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    Any,
    None,
    Is(usize),
}

#[derive(Debug, Clone, Copy)]
enum Keep {
    Latest,
    Last(usize),
    Older,
    Delete,
}

fn at() -> impl Strategy<Value = At> {
    (0..THREADS.len(), 0..NAMESPACES.len()).prop_map(|(thread, namespace)| At { thread, namespace })
}

fn ttl() -> impl Strategy<Value = Ttl> {
    prop_oneof![
        4 => Just(Ttl::Saver),
        1 => Just(Ttl::Forever),
        1 => (2_u8..4).prop_map(Ttl::Hours),
    ]
}

fn put() -> impl Strategy<Value = Call> {
    let id = 0..IDS.len();
    let content =
        (0_u8..3, option::of(any::<bool>()), 0_u8..6).prop_map(|(version, delta, kind)| Content {
            version,
            delta,
            kind,
        });
    let expected = prop_oneof![
        6 => Just(Expected::Any),
        1 => Just(Expected::None),
        2 => (0..IDS.len()).prop_map(Expected::Is),
    ];
    let run = option::of(0..RUNS.len());
    (
        at(),
        id.clone(),
        option::of(id),
        content,
        run,
        ttl(),
        expected,
    )
        .prop_map(|(at, id, parent, content, run, ttl, expected)| Call::Put {
            at,
            id,
            parent,
            content,
            run,
            ttl,
            expected,
        })
}

fn put_writes() -> impl Strategy<Value = Call> {
    let writes = vec((0..CHANNELS.len(), 0_u8..3), 0..4);
    (
        at(),
        0..IDS.len(),
        0..TASKS.len(),
        any::<bool>(),
        writes,
        ttl(),
    )
        .prop_map(|(at, id, task, path, writes, ttl)| Call::PutWrites {
            at,
            id,
            task,
            path,
            writes,
            ttl,
        })
}

fn list() -> impl Strategy<Value = Call> {
    let id = 0..IDS.len();
    (
        option::weighted(0.8, 0..THREADS.len()),
        option::of(0..NAMESPACES.len()),
        option::weighted(0.2, id.clone()),
        option::weighted(0.3, id),
        option::weighted(0.3, 0_usize..4),
        option::weighted(0.2, 0..RUNS.len()),
    )
        .prop_map(|(thread, namespace, id, before, limit, run)| Call::List {
            thread,
            namespace,
            id,
            before,
            limit,
            run,
        })
}

fn call() -> impl Strategy<Value = Call> {
    let thread = 0..THREADS.len();
    let id = || option::of(0..IDS.len());
    let strategy = prop_oneof![
        Just(Keep::Latest),
        (1_usize..4).prop_map(Keep::Last),
        Just(Keep::Older),
        Just(Keep::Delete),
    ];
    let copy = (thread.clone(), thread.clone(), any::<bool>(), ttl());
    prop_oneof![
        12 => put(),
        7 => put_writes(),
        4 => (at(), id()).prop_map(|(at, id)| Call::Get(at, id)),
        3 => list(),
        1 => thread.clone().prop_map(Call::DeleteThread),
        1 => vec(0..RUNS.len(), 0..3).prop_map(Call::DeleteForRuns),
        2 => copy.prop_map(|(source, target, merge, ttl)| Call::Copy { source, target, merge, ttl }),
        2 => (vec(thread.clone(), 0..3), strategy).prop_map(|(threads, how)| Call::Prune(threads, how)),
        2 => (at(), id()).prop_map(|(at, id)| Call::History(at, id)),
        1 => (0_usize..3).prop_map(Call::Threads),
        1 => thread.clone().prop_map(Call::Touch),
        1 => thread.clone().prop_map(Call::Pin),
        1 => thread.prop_map(Call::Unpin),
    ]
}

fn thread(thread: usize) -> ThreadId {
    ThreadId::new(THREADS[thread]).unwrap()
}

fn id(id: usize) -> CheckpointId {
    CheckpointId::new(IDS[id]).unwrap()
}

fn config(at: At, checkpoint: Option<usize>) -> CheckpointConfig {
    let config = CheckpointConfig::of_thread(thread(at.thread));
    let config = config.with_namespace(NAMESPACES[at.namespace]).unwrap();
    match checkpoint {
        Some(checkpoint) => config.with_checkpoint(id(checkpoint)),
        None => config,
    }
}

impl Ttl {
    fn choice(self) -> TtlChoice {
        match self {
            Self::Saver => TtlChoice::Default,
            Self::Forever => TtlChoice::Forever,
            Self::Hours(hours) => TtlChoice::For(HOUR * u32::from(hours)),
        }
    }
}

/// A checkpoint that is the same each time it is made.
fn checkpoint(checkpoint: usize, content: &Content) -> (Checkpoint, CheckpointMetadata) {
    let Content {
        version,
        delta,
        kind,
    } = content;
    let value = match kind {
        0 => "null".to_owned(),
        1 => format!("[1.0,{{}},{version}]"),
        // RedisJSON keeps this one in an envelope only, and reads of the next take another way.
        2 => "1180591620717411303424".to_owned(),
        3 => format!("\"{}\"", "x".repeat(5_000)),
        // Messages that other checkpoints have as well.
        4 => messages(usize::from(*version) * 7 + checkpoint),
        _ => format!("{version}"),
    };
    let snapshot = if *delta == Some(true) {
        r#","d":[1]"#
    } else {
        ""
    };
    let year = if checkpoint < 3 { 2020 } else { 2099 };
    let text = format!(
        r#"{{"v":4,"ts":"{year}-01-01T00:00:00Z","id":"{}","channel_values":{{"a":{value}{snapshot}}},"channel_versions":{{"a":{version},"d":{version}}}}}"#,
        IDS[checkpoint],
    );
    let mut metadata = CheckpointMetadata::new()
        .with("source", "loop")
        .unwrap()
        .with("step", version)
        .unwrap();
    if *delta == Some(false) {
        let counters = BTreeMap::from([("d", [1, 1])]);
        metadata = metadata
            .with("counters_since_delta_snapshot", &counters)
            .unwrap();
    }
    (Checkpoint::from_json(text).unwrap(), metadata)
}

fn messages(count: usize) -> String {
    let message = |number| format!(r#"{{"n":{number},"content":"{}"}}"#, "word ".repeat(40));
    let messages: Vec<_> = (0..count).map(message).collect();
    format!("[{}]", messages.join(","))
}

/// What a call answers, in a form in which two answers can be compared.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // There are two at a time.
enum Answer {
    Done(String, Option<Progress>),
    Tuple(Option<CheckpointTuple>),
    /// Checkpoints, newest first. Those of one id are in no order; with a limit they may be cut.
    Tuples(Vec<CheckpointTuple>),
    /// Threads with the hours that they have left.
    Threads(Vec<(ThreadSummary, Option<u64>)>),
    Refused(String),
}

fn refused(error: &Error) -> Answer {
    let text = format!("{error:?}");
    let end = text.find([' ', '(', '{']).unwrap_or(text.len());
    Answer::Refused(match error {
        // An error that is no answer is shown as it is.
        Error::InvalidInput { .. } | Error::Conflict { .. } => text[..end].to_owned(),
        _ => text,
    })
}

fn done<T: Debug>(result: Result<T, Error>) -> Answer {
    answer(result, |value| Answer::Done(format!("{value:?}"), None))
}

fn answer<T>(result: Result<T, Error>, of: impl FnOnce(T) -> Answer) -> Answer {
    result.map_or_else(|error| refused(&error), of)
}

/// The progress that a call reported last.
fn progress() -> (ProgressCallback, Arc<Mutex<Progress>>) {
    let last = Arc::new(Mutex::new(Progress::default()));
    let reported = Arc::clone(&last);
    (
        ProgressCallback::new(move |progress| *reported.lock().unwrap() = progress),
        last,
    )
}

#[allow(clippy::too_many_lines)] // A table: one entry a call.
async fn make(saver: &dyn CheckpointSaver, call: &Call) -> Answer {
    match call {
        Call::Put {
            at,
            id: name,
            parent,
            content,
            run,
            ttl,
            expected,
        } => {
            let (checkpoint, metadata) = checkpoint(*name, content);
            let mut config = config(*at, *parent);
            if let Some(run) = run {
                config = config.with_run(RunId::new(RUNS[*run]).unwrap());
            }
            let options = PutOptions::default()
                .with_ttl(ttl.choice())
                .with_expected_parent(match expected {
                    Expected::Any => ExpectedParent::Any,
                    Expected::None => ExpectedParent::None,
                    Expected::Is(name) => ExpectedParent::Is(id(*name)),
                });
            done(saver.put(&config, &checkpoint, &metadata, &options).await)
        }
        Call::PutWrites {
            at,
            id,
            task,
            path,
            writes,
            ttl,
        } => {
            let writes: Vec<_> = writes
                .iter()
                .map(|(channel, value)| {
                    ChannelWrite::new(CHANNELS[*channel], TypedValue::json(value).unwrap())
                })
                .collect();
            let options = PutWritesOptions::default()
                .with_ttl(ttl.choice())
                .with_task_path(if *path { "path" } else { "" });
            let task = TaskId::new(TASKS[*task]).unwrap();
            done(
                saver
                    .put_writes(&config(*at, Some(*id)), &writes, &task, &options)
                    .await,
            )
        }
        Call::Get(at, id) => answer(saver.get_tuple(&config(*at, *id)).await, Answer::Tuple),
        Call::List {
            thread: of,
            namespace,
            id: named,
            before,
            limit,
            run,
        } => {
            let config = of.map(|of| {
                let mut config = CheckpointConfig::of_thread(thread(of));
                if let Some(namespace) = namespace {
                    config = config.with_namespace(NAMESPACES[*namespace]).unwrap();
                }
                config.checkpoint_id = named.map(id);
                config
            });
            let mut options = ListOptions::default();
            options.before = before.map(id);
            options.limit = *limit;
            if let Some(run) = run {
                options.filter = MetadataFilter::new().with("run_id", RUNS[*run]).unwrap();
            }
            answer(
                saver.list_all(config.as_ref(), options).await,
                Answer::Tuples,
            )
        }
        Call::DeleteThread(of) => {
            let (callback, last) = progress();
            let options = DeleteOptions::default().with_progress(callback);
            let result = saver.delete_thread(&thread(*of), &options).await;
            answer(result, |()| {
                Answer::Done(String::new(), Some(*last.lock().unwrap()))
            })
        }
        Call::DeleteForRuns(runs) => {
            let runs: Vec<_> = runs
                .iter()
                .map(|run| RunId::new(RUNS[*run]).unwrap())
                .collect();
            done(saver.delete_for_runs(&runs).await)
        }
        Call::Copy {
            source,
            target,
            merge,
            ttl,
        } => {
            let existing = if *merge {
                ExistingTarget::Merge
            } else {
                ExistingTarget::Error
            };
            let (callback, last) = progress();
            let options = CopyOptions::default()
                .with_existing(existing)
                .with_ttl(ttl.choice())
                .with_progress(callback);
            let result = saver
                .copy_thread(&thread(*source), &thread(*target), &options)
                .await;
            answer(result, |()| {
                Answer::Done(String::new(), Some(*last.lock().unwrap()))
            })
        }
        Call::Prune(threads, strategy) => {
            let threads: Vec<_> = threads.iter().map(|of| thread(*of)).collect();
            let strategy = match strategy {
                Keep::Latest => PruneStrategy::KeepLatest,
                Keep::Last(count) => PruneStrategy::KeepLast(*count),
                Keep::Older => PruneStrategy::OlderThan(HOUR),
                Keep::Delete => PruneStrategy::Delete,
            };
            done(saver.prune(&threads, &PruneOptions::new(strategy)).await)
        }
        Call::History(at, id) => {
            let channels = ["a".to_owned(), "d".to_owned(), "none".to_owned()];
            done(
                saver
                    .delta_channel_history(&config(*at, *id), &channels)
                    .await,
            )
        }
        Call::Threads(prefix) => {
            let found: Result<Vec<_>, _> = saver
                .threads(["", "t", "other"][*prefix])
                .try_collect()
                .await;
            answer(found, |mut threads| {
                threads.sort_by(|one, other| one.thread_id.cmp(&other.thread_id));
                Answer::Threads(threads.into_iter().map(hours_left).collect())
            })
        }
        Call::Touch(of) => done(saver.touch(&thread(*of)).await),
        Call::Pin(of) => done(saver.pin(&thread(*of)).await),
        Call::Unpin(of) => done(saver.unpin(&thread(*of)).await),
    }
}

/// A sequence takes less than half an hour.
fn hours_left(mut summary: ThreadSummary) -> (ThreadSummary, Option<u64>) {
    let hours = summary
        .ttl
        .take()
        .map(|left| (left.as_secs() + 1_800) / 3_600);
    (summary, hours)
}

/// Whether Redis may answer so when memory answers as it does.
fn agree(call: &Call, memory: &Answer, redis: &Answer, all: &[CheckpointTuple]) -> bool {
    match (call, memory, redis) {
        (Call::List { limit, .. }, Answer::Tuples(memory), Answer::Tuples(redis)) => {
            let ids = |tuples: &[CheckpointTuple]| -> Vec<CheckpointId> {
                tuples
                    .iter()
                    .map(|tuple| tuple.checkpoint.id().clone())
                    .collect()
            };
            let expected = if limit.is_some() { all } else { memory };
            ids(memory) == ids(redis) && redis.iter().all(|tuple| expected.contains(tuple))
        }
        _ => memory == redis,
    }
}

/// What both hold at the end, looked at from all sides.
fn last_looks() -> Vec<Call> {
    let mut calls = Vec::new();
    for thread in 0..THREADS.len() {
        for namespace in 0..NAMESPACES.len() {
            let at = At { thread, namespace };
            calls.push(Call::Get(at, None));
            calls.push(Call::History(at, None));
        }
        calls.push(list_of(Some(thread)));
    }
    calls.push(list_of(None));
    calls.push(Call::Threads(0));
    calls
}

fn list_of(thread: Option<usize>) -> Call {
    Call::List {
        thread,
        namespace: None,
        id: None,
        before: None,
        limit: None,
        run: None,
    }
}

/// Where savers keep things that know nothing of each other.
enum Place {
    /// A server of their own.
    Server(Box<Server>),
    /// The same in the compact layout.
    Compact(Box<Server>),
    /// Where every call is non-atomic.
    Plain(Nodes),
}

struct Model {
    place: Place,
    ttl: TtlPolicy,
}

impl Model {
    async fn saver(&self) -> RedisSaver {
        let builder = match &self.place {
            Place::Server(server) => RedisSaver::builder().url(server.redis.url()),
            Place::Compact(server) => RedisSaver::builder()
                .url(server.redis.url())
                .layout(Layout::Compact),
            Place::Plain(nodes) => nodes.builder(),
        };
        let saver = builder
            .pool_size(1)
            .page_size(3)
            .ttl(self.ttl)
            .build()
            .await
            .unwrap();
        saver.setup().await.unwrap();
        saver
    }

    async fn both(
        &self,
        memory: &MemorySaver,
        redis: &RedisSaver,
        call: &Call,
    ) -> Result<Answer, TestCaseError> {
        let all = memory.list_all(None, ListOptions::default()).await.unwrap();
        let expected = make(memory, call).await;
        let Ok(mut found) = tokio::time::timeout(LIMIT, make(redis, call)).await else {
            return Err(TestCaseError::fail(format!("{call:?} hangs")));
        };
        if matches!(self.place, Place::Compact(_))
            && let (Answer::Threads(expected), Answer::Threads(found)) = (&expected, &mut found)
        {
            // A thread expires as a whole there. Nothing does while a sequence takes.
            for (found, expected) in found.iter_mut().zip(expected) {
                found.1 = expected.1;
            }
        }
        if agree(call, &expected, &found, &all) {
            return Ok(expected);
        }
        let message = format!("{call:?}\n  memory {expected:?}\n  redis  {found:?}");
        Err(TestCaseError::fail(message))
    }

    async fn run(&mut self, calls: &[(bool, Call)]) -> Result<(), TestCaseError> {
        let memory = MemorySaver::with_ttl(self.ttl).unwrap();
        let savers = [self.saver().await, self.saver().await];
        for (second, call) in calls {
            self.both(&memory, &savers[usize::from(*second)], call)
                .await?;
        }
        for call in last_looks() {
            self.both(&memory, &savers[0], &call).await?;
        }
        if matches!(self.place, Place::Server(_)) {
            let mut options = DoctorOptions::default();
            // Some calls write without a TTL.
            options.expect_ttl = TtlChoice::Forever;
            let report = savers[0].doctor(&options).await.unwrap();
            // What had no TTL once and was given one leaves shared keys without one.
            let mut kinds = report.counts().keys();
            prop_assert!(
                kinds.all(|kind| *kind == FindingKind::SharedKeyOutlives),
                "{report}"
            );
        }
        if matches!(self.place, Place::Compact(_)) {
            let options = DoctorOptions::default().with_fix(true);
            let report = savers[0].doctor(&options).await.unwrap();
            // What was replaced leaves the parts that it alone named.
            let mut kinds = report.counts().keys();
            prop_assert!(
                kinds.all(|kind| *kind == FindingKind::PartsUnnamed),
                "{report}"
            );
            let report = savers[1].doctor(&options).await.unwrap();
            prop_assert!(report.is_healthy(), "{report}");
            for call in last_looks() {
                self.both(&memory, &savers[1], &call).await?;
            }
        }
        // What memory no longer has must have left nothing in Redis without being deleted.
        for of in 0..THREADS.len() {
            let there = make(&memory, &Call::Pin(of)).await;
            if matches!(there, Answer::Done(there, _) if there == "true") {
                self.both(&memory, &savers[1], &Call::DeleteThread(of))
                    .await?;
            }
        }
        let mut left = self.keys().await;
        left.retain(|key| key != "checkpoint_layout");
        prop_assert!(left.is_empty(), "left behind: {left:?}");
        for saver in savers {
            saver.close().await;
        }
        Ok(())
    }

    async fn keys(&mut self) -> Vec<String> {
        match &mut self.place {
            Place::Server(server) | Place::Compact(server) => server.keys().await,
            Place::Plain(nodes) => nodes.keys().await,
        }
    }

    /// A sequence that failed leaves what it stored.
    async fn clean(&mut self) {
        for key in self.keys().await {
            match &mut self.place {
                Place::Server(server) | Place::Compact(server) => {
                    server.run(&["UNLINK", &key]).await;
                }
                Place::Plain(nodes) => nodes.run(&["UNLINK", &key]).await,
            }
        }
    }
}

fn check(place: impl Future<Output = Place>, ttl: TtlPolicy, one_in: u32) {
    let cases = std::env::var("LANGGRAPH_REDIS_MODEL_CASES")
        .map_or(1_000, |cases| cases.parse().expect("a number of sequences"));
    let cases = (cases / one_in).max(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut model = Model {
        place: runtime.block_on(place),
        ttl,
    };
    let model = std::cell::RefCell::new(&mut model);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec((any::<bool>(), call()), 1..30), |calls| {
        let mut model = model.borrow_mut();
        runtime.block_on(async {
            let outcome = model.run(&calls).await;
            if outcome.is_err() {
                model.clean().await;
            }
            outcome
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

async fn server() -> Place {
    Place::Server(Box::new(Server::start().await))
}

async fn compact() -> Place {
    Place::Compact(Box::new(Server::start().await))
}

async fn cluster() -> Place {
    Place::Plain(Nodes::of_the_cluster().await)
}

#[test]
fn redis_answers_as_memory_does() {
    check(server(), TtlPolicy::default(), 1);
}

#[test]
fn redis_answers_as_memory_does_with_a_ttl() {
    check(server(), TtlPolicy::new(HOUR).with_refresh_on_read(true), 1);
}

#[test]
fn the_compact_layout_answers_as_memory_does() {
    check(compact(), TtlPolicy::default(), 1);
}

#[test]
fn the_compact_layout_answers_as_memory_does_with_a_ttl() {
    check(
        compact(),
        TtlPolicy::new(HOUR).with_refresh_on_read(true),
        1,
    );
}

#[test]
fn a_cluster_answers_as_memory_does() {
    check(cluster(), TtlPolicy::default(), 10);
}

#[test]
fn a_cluster_answers_as_memory_does_with_a_ttl() {
    check(
        cluster(),
        TtlPolicy::new(HOUR).with_refresh_on_read(true),
        10,
    );
}
