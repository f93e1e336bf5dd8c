//! Whether search serves: found out when it is first needed, and again whenever a connection was
//! lost or an index turns out to be gone. Where it does not serve, the registries and a walk over
//! the keys do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::super::config::SearchMode;
use super::super::driver::{Command, Health, HealthProblem, Reply};
use super::super::error::{is_existing_index, is_unknown_index};
use super::super::store::Store;
use super::super::write::text;
use super::Search;
use super::schema::{CHECKPOINT_FIELDS, SEPARATOR, WRITE_FIELDS, create, separator_of, value_of};
use crate::error::{Error, Result};

/// How many cursors a saver has open at once; the server has 128 for all its clients.
const CURSORS: usize = 16;
/// How long a call about one thread waits for a search that all nodes of a cluster take part in.
/// One that is dead keeps it waiting.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long such a search is not tried again.
const REST: Duration = Duration::from_secs(10);
/// How often the server is asked whether an index has read what is stored.
const READING: Duration = Duration::from_millis(250);
/// How long after an index was lost the server is asked for it again: at first, and at most where it
/// is lost again and again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// After so long a loss is not one of a series.
const SERIES: Duration = Duration::from_secs(120);

/// What is known of search.
#[derive(Debug)]
pub(crate) struct Searching {
    known: Mutex<Known>,
    /// Whether the indexes have been there, so that they are made again when they are gone.
    seen: AtomicBool,
    /// Whether it was said already that there is no search.
    said: AtomicBool,
    cursors: Arc<Semaphore>,
    /// When an index was lost last, and the pause after it.
    last_loss: Mutex<Option<(Instant, Duration)>>,
}

#[derive(Debug, Clone)]
enum Known {
    Nothing,
    /// It serves, since the driver had lost so many connections.
    On(Search, u64),
    /// It does not serve.
    Off(String, u64),
    /// It does not serve now, and is asked for again after a while.
    Waiting {
        reason: String,
        until: Instant,
    },
}

/// What a look at the server found.
enum Found {
    On(Search),
    Off(String),
    /// Nobody has made the indexes yet.
    NotMade,
    /// They are gone.
    Gone,
    /// They read what was stored before them.
    Reading,
    /// The server does not answer in time.
    Silent,
}

impl Searching {
    pub(crate) fn new() -> Self {
        Self {
            known: Mutex::new(Known::Nothing),
            seen: AtomicBool::new(false),
            said: AtomicBool::new(false),
            cursors: Arc::new(Semaphore::new(CURSORS)),
            last_loss: Mutex::new(None),
        }
    }

    /// Waits until one more cursor may be opened.
    pub(super) async fn turn(&self, limit: Duration) -> Result<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.cursors).acquire_owned();
        match tokio::time::timeout(limit, turn).await {
            Ok(turn) => turn.map_err(|_| Error::Closed),
            Err(_) => Err(Error::Unavailable {
                reason: format!(
                    "{CURSORS} streams over all threads are open and none ended within {limit:?}: read them to their end, or drop them"
                ),
                source: None,
            }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No call panics while it holds the lock, and what is known is always whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again at the next call.
    pub(super) fn forget(&self) {
        *self.known() = Known::Nothing;
    }

    /// The indexes were made.
    pub(super) fn have_been_made(&self) {
        self.seen.store(true, Ordering::Relaxed);
        self.forget();
    }

    /// Does without search for a while.
    fn wait(&self, reason: &str, pause: Duration) {
        *self.known() = Known::Waiting {
            reason: reason.to_owned(),
            until: Instant::now() + pause,
        };
    }

    /// How long to do without search after a loss.
    fn pause(&self) -> Duration {
        let now = Instant::now();
        // As above.
        let mut last = self
            .last_loss
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pause = match *last {
            Some((at, pause)) if now - at < SERIES => (pause * 2).min(PAUSES.1),
            _ => PAUSES.0,
        };
        *last = Some((now, pause));
        pause
    }

    fn say_once(&self, reason: &str) {
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                reason,
                "there is no search: what goes over all threads walks over the keys"
            );
        }
    }
}

impl Store {
    /// What can be searched; `None` where search does not serve, at the moment or at all.
    pub(crate) async fn search(&self) -> Result<Option<Search>> {
        let losses = self.driver.losses();
        match &*self.searching.known() {
            Known::On(search, at) if *at == losses => return Ok(Some(*search)),
            Known::Off(_, at) if *at == losses => return Ok(None),
            Known::Waiting { until, .. } if Instant::now() < *until => return Ok(None),
            _ => {}
        }
        self.look_for_search(losses).await
    }

    async fn look_for_search(&self, losses: u64) -> Result<Option<Search>> {
        let searching = &self.searching;
        match self.find_search().await? {
            Found::On(search) => {
                searching.seen.store(true, Ordering::Relaxed);
                *searching.known() = Known::On(search, losses);
                return Ok(Some(search));
            }
            Found::Off(reason) => {
                if self.settings.search != SearchMode::Off {
                    searching.say_once(&reason);
                }
                *searching.known() = Known::Off(reason, losses);
            }
            Found::NotMade => {
                if !searching.said.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        index = self.keyspace.checkpoint_prefix(),
                        "there is no index, so what goes over all threads walks over the keys: call setup()"
                    );
                }
            }
            Found::Gone => self.make_again("it is not there").await,
            Found::Reading => {
                searching.seen.store(true, Ordering::Relaxed);
                searching.wait("the index still reads what was stored before it", READING);
            }
            Found::Silent => self.search_is_slow(),
        }
        Ok(None)
    }

    /// Why no search may be sent at all.
    pub(super) fn search_is_barred(&self) -> Option<String> {
        if self.settings.search == SearchMode::Off {
            return Some("the setting `search` is off".to_owned());
        }
        let database = self.driver.database();
        // One search there makes RediSearch forget what it knows of database 0.
        (database != 0)
            .then(|| format!("RediSearch knows database 0 alone, and this is database {database}"))
    }

    async fn find_search(&self) -> Result<Found> {
        if let Some(reason) = self.search_is_barred() {
            return Ok(Found::Off(reason));
        }
        let looked = async {
            if !self.searches_all().await? {
                let reason = "each server of the cluster searches its own documents only";
                return Ok(Found::Off(reason.to_owned()));
            }
            let names = [
                self.keyspace.checkpoint_prefix(),
                self.keyspace.write_prefix(),
            ];
            let info = names.map(|index| Command::new("FT.INFO").arg(text(index)));
            let infos = self.driver.batch("search", info.into()).await?;
            self.judge_infos(infos)
        };
        match self.in_time(looked).await {
            None => Ok(Found::Silent),
            // One server of several may be away, or its search.
            Some(Err(error)) if self.driver.is_cluster() => {
                tracing::warn!(%error, "the cluster cannot be asked for its indexes");
                Ok(Found::Silent)
            }
            Some(found) => found,
        }
    }

    fn judge_infos(&self, infos: Vec<Result<Reply>>) -> Result<Found> {
        let mut separator = None;
        let mut reading = false;
        for info in infos {
            match info {
                Ok(info) => {
                    reading |= is_reading(&info);
                    separator.get_or_insert(separator_of(info, "thread_id").unwrap_or(SEPARATOR));
                }
                Err(error) if is_unknown_index(&error) => {
                    let seen = self.searching.seen.load(Ordering::Relaxed);
                    return Ok(if seen { Found::Gone } else { Found::NotMade });
                }
                Err(error @ (Error::MissingModule { .. } | Error::Permission { .. })) => {
                    return Ok(Found::Off(error.report().to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        let separator = separator.unwrap_or(SEPARATOR);
        Ok(if reading {
            Found::Reading
        } else {
            Found::On(Search { separator })
        })
    }

    /// Waits for a search no longer than a call about one thread may; `None` if it takes longer.
    /// Where one server does all, it is not search that keeps calls waiting.
    pub(super) async fn in_time<T>(&self, search: impl Future<Output = T>) -> Option<T> {
        if !self.driver.is_cluster() {
            return Some(search.await);
        }
        let limit = PATIENCE.min(self.settings.command_timeout / 2);
        tokio::time::timeout(limit, search).await.ok()
    }

    /// Does without search for a while, because rows were lost from their start.
    pub(crate) fn do_without_search(&self) {
        let reason = "what was found was lost again and again";
        self.searching.wait(reason, self.searching.pause());
    }

    /// Does without search for a while, because a server of the cluster keeps it waiting.
    pub(super) fn search_is_slow(&self) {
        let reason = "the servers of the cluster do not answer a search in time";
        tracing::warn!("{reason}: for a while calls do without");
        self.searching.wait(reason, REST);
    }

    /// Does without search for a while, because an index opens no document.
    pub(super) fn search_is_blind(&self, index: &str) {
        tracing::warn!(
            index,
            "the index opens no document, as after a search on another database: drop it and call setup(); until then calls walk over the keys"
        );
        let reason = "the index opens no document: drop it with FT.DROPINDEX and call setup()";
        self.searching.wait(reason, REST);
    }

    /// Takes note that an index is gone, and makes it again; calls do without until it has read
    /// what is stored.
    pub(super) async fn index_is_lost(&self, index: &str, error: &Error) {
        tracing::warn!(index, %error, "the index is gone: it is made again, and until then calls walk over the keys");
        self.make_again(index).await;
    }

    async fn make_again(&self, what: &str) {
        let reason = "an index was lost and is being made again";
        self.searching.wait(reason, self.searching.pause());
        self.searching.seen.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.in_time(self.make_indexes()).await {
            tracing::warn!(%error, what, "the index cannot be made again: call setup()");
        }
    }

    /// Makes the indexes unless they are there.
    async fn make_indexes(&self) -> Result<()> {
        let commands = vec![
            create(self.keyspace.checkpoint_prefix(), CHECKPOINT_FIELDS),
            create(self.keyspace.write_prefix(), WRITE_FIELDS),
        ];
        for reply in self.driver.batch("setup", commands).await? {
            match reply {
                Err(error) if is_existing_index(&error) => {}
                reply => {
                    reply?;
                }
            }
        }
        Ok(())
    }

    /// Makes the indexes unless they are there, and waits until they know what is stored. Where
    /// there is no search, that is said, and an error if search is required.
    pub(crate) async fn create_indexes(&self) -> Result<()> {
        if let Found::Off(reason) = self.find_search().await? {
            if self.settings.search == SearchMode::Required {
                return Err(self.search_is_missing(&reason).await);
            }
            if self.settings.search == SearchMode::Auto {
                self.searching.say_once(&reason);
            }
            self.searching.forget();
            return Ok(());
        }
        match self.make_indexes().await {
            Err(error @ Error::Permission { .. }) if self.settings.search == SearchMode::Auto => {
                tracing::warn!(%error, "the indexes cannot be made: have them made by a user who may");
                self.searching.forget();
                return Ok(());
            }
            made => made?,
        }
        self.searching.have_been_made();
        for index in [
            self.keyspace.checkpoint_prefix(),
            self.keyspace.write_prefix(),
        ] {
            self.wait_until_indexed(index).await?;
        }
        Ok(())
    }

    /// The error of a saver that needs search and has none.
    async fn search_is_missing(&self, reason: &str) -> Error {
        let probe = Command::new("FT.INFO").arg(text(self.keyspace.checkpoint_prefix()));
        if self.driver.database() == 0
            && let Err(error @ (Error::MissingModule { .. } | Error::Permission { .. })) =
                self.driver.call("setup", probe).await
        {
            return error;
        }
        Error::Config {
            key: "search".to_owned(),
            reason: format!("it is `required`, but there is no search: {reason}"),
        }
    }

    async fn wait_until_indexed(&self, index: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            let info = self.info(index).await?.unwrap_or(Reply::Nil);
            if !is_reading(&info) {
                return Ok(());
            }
            if started.elapsed() > self.settings.command_timeout * 6 {
                tracing::warn!(
                    index,
                    "the index still reads what was stored before it; until it is done, calls walk over the keys"
                );
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How the servers are doing, and search.
    pub(crate) async fn health(&self) -> Health {
        let has_ttl = self.settings.ttl.default.is_some();
        let (mut health, (reason, problem)) =
            tokio::join!(self.driver.health(has_ttl), self.search_health());
        health.without_search = reason;
        health.problems.extend(problem);
        health
    }

    /// Why search does not serve, asked now; and whether it did before, so that something is wrong.
    async fn search_health(&self) -> (Option<String>, Option<HealthProblem>) {
        let losses = self.driver.losses();
        let is_on = matches!(&*self.searching.known(), Known::On(..));
        let looked = if is_on || matches!(&*self.searching.known(), Known::Nothing) {
            // It may have been lost since it was last used.
            self.look_for_search(losses).await
        } else {
            self.search().await
        };
        let reason = match (looked, &*self.searching.known()) {
            (Ok(Some(_)), _) => return (None, None),
            // What is wrong with the server is told already.
            (Err(error), _) => return (Some(error.report().to_string()), None),
            (_, Known::Off(reason, _)) => return (Some(reason.clone()), None),
            (_, Known::Waiting { reason, .. }) => reason.clone(),
            _ => return (Some("there is no index: call setup()".to_owned()), None),
        };
        let problem = HealthProblem::SearchLost {
            reason: reason.clone(),
        };
        (Some(reason), Some(problem))
    }
}

/// Whether an index still reads what was stored before it.
fn is_reading(info: &Reply) -> bool {
    let indexing = value_of(info.clone(), "indexing").and_then(|value| value.as_int());
    let percent = value_of(info.clone(), "percent_indexed")
        .and_then(|value| value.as_str()?.parse::<f64>().ok());
    indexing.unwrap_or(0) != 0 || percent.is_some_and(|percent| percent < 1.0)
}
