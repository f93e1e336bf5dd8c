//! Who races: writers and readers that make all calls, and check what is true at every moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointSaver, CheckpointTuple, CopyOptions, DeleteOptions, Error,
    ExpectedParent, ListOptions, PruneOptions, PruneStrategy, PutOptions, PutWritesOptions,
    RedisSaver, Result, RunId, TaskId, ThreadId,
};
use rand::{random_range, random_ratio};

use super::world::{
    self, FROZEN, Fate, Origin, Place, RUNS, SNAPSHOT, SPECIAL, TASKS, Whole, config, id, path,
    task, whole,
};

/// A call that takes longer hangs.
const HANGS: Duration = Duration::from_secs(60);
/// How long a call that may be made again is made again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is raced on, and what was found.
#[derive(Debug)]
pub struct Race {
    pub saver: RedisSaver,
    pub places: Vec<Place>,
    /// Whether servers fail, so that calls may say that they are to be made again.
    pub has_faults: bool,
    pub ended: AtomicBool,
    started: Instant,
    lasts: Duration,
    calls: Mutex<BTreeMap<&'static str, usize>>,
    errors: Mutex<BTreeMap<String, usize>>,
    findings: Mutex<BTreeMap<&'static str, Vec<String>>>,
    revision: AtomicUsize,
}

/// How many findings of a kind are kept.
const KEPT: usize = 5;

impl Race {
    pub fn new(saver: RedisSaver, has_faults: bool, lasts: Duration) -> Self {
        Self {
            saver,
            places: world::places(),
            has_faults,
            ended: AtomicBool::new(false),
            started: Instant::now(),
            lasts,
            calls: Mutex::default(),
            errors: Mutex::default(),
            findings: Mutex::default(),
            revision: AtomicUsize::new(0),
        }
    }

    pub fn found(&self, kind: &'static str, what: impl Into<String>) {
        let mut what = what.into();
        if let Some((end, _)) = what.char_indices().nth(700) {
            what.truncate(end);
        }
        let at = self.started.elapsed().as_secs_f64();
        let mut findings = self.findings.lock().unwrap();
        findings
            .entry(kind)
            .or_default()
            .push(format!("{at:.2} s: {what}"));
    }

    /// What was counted and found, and whether nothing was found.
    pub fn report(&self, title: &str) -> bool {
        let calls = self.calls.lock().unwrap();
        let errors = self.errors.lock().unwrap();
        let findings = self.findings.lock().unwrap();
        let list = |counts: Vec<(String, usize)>| -> String {
            let counts = counts.iter().map(|(name, count)| format!("{count} {name}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        let total: usize = calls.values().sum();
        println!(
            "{title}: {:.0} s, {total} calls ({})",
            self.started.elapsed().as_secs_f64(),
            list(
                calls
                    .iter()
                    .map(|(name, n)| ((*name).to_owned(), *n))
                    .collect()
            )
        );
        println!(
            "  errors: {}",
            list(errors.iter().map(|(name, n)| (name.clone(), *n)).collect())
        );
        let all: usize = findings.values().map(Vec::len).sum();
        println!("  {all} findings");
        for (kind, what) in findings.iter() {
            println!("  {} times {kind}:", what.len());
            for what in what.iter().take(KEPT) {
                println!("    {what}");
            }
        }
        all == 0
    }

    pub fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// How many numbers a place may have by now: as many in a long race as in a short one.
    fn most(&self) -> usize {
        let share = self.started.elapsed().as_secs_f64() / self.lasts.as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let most = (share * 1_500.0) as usize;
        most + 50
    }

    fn place(&self, fates: &[Fate]) -> &Place {
        let of_fates: Vec<_> = self
            .places
            .iter()
            .filter(|at| fates.contains(&at.fate))
            .collect();
        of_fates[random_range(0..of_fates.len())]
    }

    /// Makes a call once. An error that may be made again is no finding where servers fail.
    pub async fn once<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        *self.calls.lock().unwrap().entry(name).or_default() += 1;
        let Ok(outcome) = tokio::time::timeout(HANGS, call).await else {
            self.found("calls that hang", name);
            return Err(Error::Closed);
        };
        if let Err(error) = &outcome {
            let kind = format!("{} of {name}", error.kind());
            *self.errors.lock().unwrap().entry(kind).or_default() += 1;
            // Of places with the same keys one has a checkpoint; of those who expect one goes on.
            let is_answer = matches!(error, Error::Conflict { .. }) && name.starts_with("put");
            if !(is_answer || self.has_faults && error.is_retryable()) {
                self.found("errors", format!("{name}: {error}"));
            }
        }
        outcome
    }

    /// Makes a call until it succeeds, or fails for good.
    pub async fn sure<T, F: Future<Output = Result<T>>>(
        &self,
        name: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            match self.once(name, call()).await {
                Err(error) if error.is_retryable() && started.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Checks a checkpoint that was read.
    pub fn check(&self, how: &str, place: &Place, tuple: &CheckpointTuple) -> Option<Whole> {
        let sources: &[&str] = match place.fate {
            Fate::Copied => &["frozen"],
            _ => &[],
        };
        match whole(place.thread, place.space, tuple, sources) {
            Ok(found) => {
                let next = place.next_of(found.origin.parent);
                if place.fate == Fate::Contested && next.is_some_and(|n| n != found.origin.number) {
                    let at = format!("{how} {:?} {:?}", place.thread, place.space);
                    self.found(
                        "second winners of a compare-and-set",
                        format!("{at}: {:?} beside {next:?}", found.origin),
                    );
                }
                Some(found)
            }
            Err(what) => {
                let (thread, space) = (place.thread, place.space);
                let number = tuple.checkpoint.id();
                self.found(
                    "checkpoints that are not whole",
                    format!("{how} of {thread:?} {space:?} {number}: {what}"),
                );
                None
            }
        }
    }

    /// Checks that a read has what had been acknowledged before it began.
    pub fn check_kept(
        &self,
        how: &str,
        place: &Place,
        number: usize,
        before: u8,
        found: Option<u8>,
    ) {
        let at = || format!("{how}: {:?} {:?} {number}", place.thread, place.space);
        match found {
            None => self.found("checkpoints that are lost", at()),
            Some(found) if before & !found != 0 => self.found(
                "writes that are lost",
                format!("{}: {:04b} of {before:04b}", at(), found & before),
            ),
            Some(_) => {}
        }
    }

    /// Stores the threads that stay as they are.
    pub async fn freeze(&self) {
        for place in self.places.iter().filter(|at| at.fate == Fate::Frozen) {
            for number in 0..FROZEN {
                let number = place.number(usize::MAX).min(number);
                self.put(place, number).await;
                for task in 0..TASKS {
                    self.put_writes(place, number, task).await;
                }
            }
        }
    }

    async fn put(&self, place: &Place, number: usize) {
        let origin = place.origin(number);
        let stored = self
            .sure("put", || {
                put(&self.saver, place.config(), &origin, PutOptions::default())
            })
            .await;
        if stored.is_ok() {
            place.acknowledge(number);
        }
    }

    async fn put_writes(&self, place: &Place, number: usize, of: usize) {
        let origin = place.origin(number);
        let stored = self
            .sure("put_writes", || {
                put_writes(&self.saver, place.named(number), &origin, of)
            })
            .await;
        if stored.is_ok() {
            place.acknowledge_writes(number, of);
        }
    }

    async fn put_special(&self, place: &Place, number: usize) {
        let origin = place.origin(number);
        let revision = self.revision.fetch_add(1, Ordering::SeqCst);
        let (writes, named) = (origin.special(revision), place.named(number));
        let (task, options) = (TaskId::new(SPECIAL).unwrap(), PutWritesOptions::default());
        let call = || self.saver.put_writes(&named, &writes, &task, &options);
        // Another may have replaced it since, so this says nothing more than whether it is whole.
        let _ = self.sure("put_writes", call).await;
    }

    /// Drops a call after a moment: it happens or not.
    async fn dropped(&self, place: &Place, number: usize) {
        let patience = Duration::from_micros(random_range(0..3_000));
        let origin = place.origin(number);
        *self.calls.lock().unwrap().entry("dropped").or_default() += 1;
        let named = place.named(number);
        let thread = ThreadId::new(place.thread).unwrap();
        let call = async {
            match random_range(0..4) {
                0 => put(&self.saver, place.config(), &origin, PutOptions::default()).await,
                1 => put_writes(&self.saver, named, &origin, random_range(0..TASKS)).await,
                2 if place.fate == Fate::Volatile => {
                    let options = DeleteOptions::default();
                    self.saver.delete_thread(&thread, &options).await
                }
                _ => self.saver.get_tuple(&named).await.map(drop),
            }
        };
        let _ = tokio::time::timeout(patience, call).await;
    }

    /// One step of a writer.
    pub async fn write(&self, writer: usize) {
        match random_range(0..100) {
            0..22 => {
                let place = self.place(&[Fate::Kept]);
                let number = place.number(self.most());
                self.put(place, number).await;
                if random_ratio(1, 2) {
                    self.put_writes(place, number, random_range(0..TASKS)).await;
                }
            }
            22..32 => {
                let place = self.place(&[Fate::Kept, Fate::Contested]);
                self.put_writes(place, place.tried(), random_range(0..TASKS))
                    .await;
            }
            32..46 => {
                let place = self.place(&[Fate::Volatile]);
                self.put(place, place.number(self.most() * 4)).await;
            }
            46..58 => {
                let place = self.place(&[Fate::Volatile]);
                self.put_writes(place, place.tried(), random_range(0..TASKS))
                    .await;
            }
            58..62 => {
                let place = self.place(&[Fate::Kept, Fate::Volatile]);
                self.put_special(place, place.tried()).await;
            }
            62..72 => self.contest(writer).await,
            72..78 => {
                let place = self.place(&[Fate::Kept, Fate::Volatile]);
                let number = place.number(self.most());
                self.dropped(place, number).await;
            }
            78..82 => {
                let place = self.place(&[Fate::Volatile, Fate::Copied]);
                self.delete(place.thread).await;
            }
            82..87 => self.prune().await,
            87..88 => {
                let runs = [RunId::new(format!("run-{}", random_range(0..RUNS))).unwrap()];
                let _ = self
                    .sure("delete_for_runs", || self.saver.delete_for_runs(&runs))
                    .await;
            }
            88..91 => {
                let place = self.place(&[Fate::Copied]);
                let (source, target) = (thread("frozen"), thread(place.thread));
                let options = CopyOptions::default();
                let call = || self.saver.copy_thread(&source, &target, &options);
                let _ = self.sure("copy_thread", call).await;
            }
            91..95 => self.live(writer).await,
            _ => self.keep().await,
        }
    }

    async fn delete(&self, of: &str) {
        let (thread, options) = (thread(of), DeleteOptions::default());
        let call = || self.saver.delete_thread(&thread, &options);
        let _ = self.sure("delete_thread", call).await;
    }

    async fn prune(&self) {
        let strategy = match random_range(0..4) {
            0 => PruneStrategy::KeepLatest,
            1 => PruneStrategy::KeepLast(random_range(1..8)),
            2 => PruneStrategy::OlderThan(Duration::from_secs(3_600)),
            _ => PruneStrategy::Delete,
        };
        let (of, options) = (
            [thread(self.place(&[Fate::Volatile]).thread)],
            PruneOptions::new(strategy),
        );
        let _ = self.sure("prune", || self.saver.prune(&of, &options)).await;
    }

    /// TTLs come and go; what is kept stays.
    async fn keep(&self) {
        let place = &self.places[random_range(0..self.places.len())];
        let of = thread(place.thread);
        let was_there = place.fate == Fate::Kept && place.greatest().is_some();
        let (name, there) = match random_range(0..3) {
            0 => ("touch", self.sure("touch", || self.saver.touch(&of)).await),
            1 => ("pin", self.sure("pin", || self.saver.pin(&of)).await),
            _ => ("unpin", self.sure("unpin", || self.saver.unpin(&of)).await),
        };
        if was_there && matches!(there, Ok(false)) {
            self.found(
                "threads that are said not to be there",
                format!("{name} {of:?}"),
            );
        }
    }

    /// Of those who expect the same newest checkpoint one goes on.
    async fn contest(&self, writer: usize) {
        let place = self.place(&[Fate::Contested]);
        let config = place.config();
        let Ok(newest) = self
            .sure("get_tuple", || self.saver.get_tuple(&config))
            .await
        else {
            return;
        };
        let newest = newest.and_then(|tuple| self.check("the newest", place, &tuple));
        let parent = newest.map(|newest| newest.origin.number);
        // Each has a number of its own, so that two who go on are seen.
        let number = (parent.map_or(0, |parent| parent / 8 + 1)) * 8 + writer % 8;
        if number > self.most() * 8 {
            return;
        }
        let expected = parent.map_or(ExpectedParent::None, |parent| {
            ExpectedParent::Is(id(parent))
        });
        place.try_number(number);
        let origin = place.origin_after(number, parent);
        let options = PutOptions::default().with_expected_parent(expected);
        let call = || put(&self.saver, place.config(), &origin, options.clone());
        if self.sure("put with an expected parent", call).await.is_ok() {
            if let Err(other) = place.won(parent, number) {
                let (thread, space) = (place.thread, place.space);
                let what = format!("{thread:?} {space:?} {parent:?}: {number} and {other}");
                self.found("second winners of a compare-and-set", what);
            }
            place.acknowledge(number);
        }
    }

    /// A thread that one writer has for itself: there everything is known exactly.
    async fn live(&self, writer: usize) {
        let (own, copy) = (format!("own-{writer}:{{b}}\n"), format!("copy-{writer}"));
        let space = ["", "x:1"][random_range(0..2)];
        let count = random_range(2..10_usize);
        let origin = |number: usize| Origin {
            thread: own.clone(),
            space: space.to_owned(),
            number,
            parent: number.checked_sub(1),
        };
        self.is_deleted(&own, space).await;
        let mut expected = Vec::new();
        for number in 0..count {
            let origin = origin(number);
            let call = || {
                put(
                    &self.saver,
                    config(&own, space),
                    &origin,
                    PutOptions::default(),
                )
            };
            if self.sure("put", call).await.is_err() {
                return;
            }
            let tasks: u8 = random_range(0..1 << TASKS);
            for of in (0..TASKS).filter(|of| tasks & (1 << of) != 0) {
                let named = config(&own, space).with_checkpoint(id(number));
                let call = || put_writes(&self.saver, named.clone(), &origin, of);
                if self.sure("put_writes", call).await.is_err() {
                    return;
                }
            }
            expected.insert(0, (number, tasks));
        }
        self.is_exactly("after puts", &own, space, &own, &expected)
            .await;
        if random_ratio(1, 2) {
            let (source, target, options) = (thread(&own), thread(&copy), CopyOptions::default());
            let call = || self.saver.copy_thread(&source, &target, &options);
            if self.sure("copy_thread", call).await.is_ok() {
                self.is_exactly("after a copy", &copy, space, &own, &expected)
                    .await;
            }
            self.is_deleted(&copy, space).await;
        }
        let last = random_range(1..=count);
        let (of, options) = (
            [thread(&own)],
            PruneOptions::new(PruneStrategy::KeepLast(last)),
        );
        if self
            .sure("prune", || self.saver.prune(&of, &options))
            .await
            .is_ok()
        {
            // The oldest that is kept needs its ancestors back to the snapshot.
            let oldest = count - last;
            let oldest = oldest - oldest % SNAPSHOT;
            expected.retain(|(number, _)| *number >= oldest);
            self.is_exactly("after a prune", &own, space, &own, &expected)
                .await;
        }
        self.is_deleted(&own, space).await;
    }

    async fn is_deleted(&self, of: &str, space: &str) {
        self.delete(of).await;
        self.is_exactly("after a delete", of, space, of, &[]).await;
    }

    /// Checks what a thread that nobody else writes to has, by a list and by reads.
    async fn is_exactly(
        &self,
        when: &str,
        of: &str,
        space: &str,
        source: &str,
        expected: &[(usize, u8)],
    ) {
        let config = config(of, space);
        let everywhere = CheckpointConfig::of_thread(thread(of));
        for config in [&config, &everywhere] {
            let call = || {
                self.saver
                    .list(Some(config), ListOptions::default())
                    .try_collect()
            };
            let listed: Result<Vec<CheckpointTuple>> = self.sure("list", call).await;
            let Ok(listed) = listed else { return };
            let mut found = Vec::new();
            for tuple in &listed {
                match whole(of, space, tuple, &[source]) {
                    Ok(whole) => found.push((whole.origin.number, whole.tasks)),
                    Err(what) => {
                        self.found(
                            "checkpoints that are not whole",
                            format!("{when}, listed, {of:?} {space:?}: {what}"),
                        );
                    }
                }
            }
            if found != expected {
                self.found(
                    "threads of one writer that differ",
                    format!("{when}, {of:?} {space:?}: {found:?} instead of {expected:?}"),
                );
                return;
            }
        }
        let Ok(newest) = self
            .sure("get_tuple", || self.saver.get_tuple(&config))
            .await
        else {
            return;
        };
        let newest = newest.map(|tuple| whole(of, space, &tuple, &[source]));
        let newest = newest.map(|found| found.map(|whole| (whole.origin.number, whole.tasks)));
        if newest != expected.first().copied().map(Ok) {
            self.found(
                "threads of one writer that differ",
                format!("{when}, {of:?} {space:?}: newest {newest:?} of {expected:?}"),
            );
        }
    }
}

pub fn thread(id: &str) -> ThreadId {
    ThreadId::new(id).unwrap()
}

async fn put(
    saver: &RedisSaver,
    config: CheckpointConfig,
    origin: &Origin,
    options: PutOptions,
) -> Result<()> {
    let mut config = config.with_run(origin.run());
    config.checkpoint_id = origin.parent.map(id);
    let (checkpoint, metadata) = (origin.checkpoint(), origin.metadata());
    let stored = saver.put(&config, &checkpoint, &metadata, &options).await?;
    assert_eq!(stored.checkpoint_id.as_ref(), Some(checkpoint.id()));
    Ok(())
}

async fn put_writes(
    saver: &RedisSaver,
    named: CheckpointConfig,
    origin: &Origin,
    of: usize,
) -> Result<()> {
    let options = PutWritesOptions::default().with_task_path(path(of));
    saver
        .put_writes(&named, &origin.writes(of), &task(of), &options)
        .await
}

/// Sets everybody going, and waits until all have stopped.
pub async fn play(race: &Arc<Race>, writers: usize, readers: usize, lasts: Duration) {
    let mut players = Vec::new();
    for writer in 0..writers {
        let race = Arc::clone(race);
        players.push(tokio::spawn(async move {
            while !race.is_over() {
                race.write(writer).await;
            }
        }));
    }
    for _ in 0..readers {
        let race = Arc::clone(race);
        players.push(tokio::spawn(async move {
            while !race.is_over() {
                race.read().await;
            }
        }));
    }
    tokio::time::sleep(lasts).await;
    race.ended.store(true, Ordering::SeqCst);
    for player in players {
        if let Err(error) = player.await {
            race.found("panics", error.to_string());
        }
    }
}
