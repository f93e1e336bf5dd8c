//! Whether search serves: found out when it is first needed, and again whenever a connection was
//! lost or an index turns out to be gone. Where it does not serve, the registries and a walk over
//! the keys do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::info;
use super::info::{is_reading, search_is_barred};
use super::schema::{CHECKPOINT_FIELDS, SEPARATOR, WRITE_FIELDS, create, separator_of};
use crate::error::{Error, Result};
use crate::redis::args::text;
use crate::redis::config::SearchMode;
use crate::redis::driver::{Command, Health, HealthProblem, Reply};
use crate::redis::error::{is_existing_index, is_unknown_index};
use crate::redis::search_state::{Known, Search};
use crate::redis::store::Store;

/// How long a call about one thread waits for a search that all nodes of a cluster take part in.
/// One that is dead keeps it waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long such a search is not tried again.
const REST: Duration = Duration::from_secs(10);

/// How often the server is asked whether an index has read what is stored.
const READING: Duration = Duration::from_millis(250);

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

/// What can be searched; `None` where search does not serve, at the moment or at all.
pub(crate) async fn search(store: &Store) -> Result<Option<Search>> {
    let losses = store.driver().losses();
    match &*store.session.searching.known() {
        Known::On(search, at) if *at == losses => return Ok(Some(*search)),
        Known::Off(_, at) if *at == losses => return Ok(None),
        Known::Waiting { until, .. } if Instant::now() < *until => return Ok(None),
        _ => {}
    }
    look_for_search(store, losses).await
}

async fn look_for_search(store: &Store, losses: u64) -> Result<Option<Search>> {
    let searching = &store.session.searching;
    match find_search(store).await? {
        Found::On(search) => {
            searching.seen.store(true, Ordering::Relaxed);
            *searching.known() = Known::On(search, losses);
            return Ok(Some(search));
        }
        Found::Off(reason) => {
            if store.settings.search != SearchMode::Off {
                searching.say_once(&reason);
            }
            *searching.known() = Known::Off(reason, losses);
        }
        Found::NotMade => {
            if !searching.said.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    index = store.keyspace.checkpoint_prefix(),
                    "there is no index, so what goes over all threads walks over the keys: call setup()"
                );
            }
        }
        Found::Gone => make_again(store, "it is not there").await,
        Found::Reading => {
            searching.seen.store(true, Ordering::Relaxed);
            searching.wait("the index still reads what was stored before it", READING);
        }
        Found::Silent => search_is_slow(store),
    }
    Ok(None)
}

async fn find_search(store: &Store) -> Result<Found> {
    if let Some(reason) = search_is_barred(store) {
        return Ok(Found::Off(reason));
    }
    let looked = async {
        if !info::searches_all(store).await? {
            let reason = "each server of the cluster searches its own documents only";
            return Ok(Found::Off(reason.to_owned()));
        }
        let names = [
            store.keyspace.checkpoint_prefix(),
            store.keyspace.write_prefix(),
        ];
        let info = names.map(|index| Command::new("FT.INFO").arg(text(index)));
        let infos = store.driver().batch("search", info.into()).await?;
        judge_infos(store, infos)
    };
    match in_time(store, looked).await {
        None => Ok(Found::Silent),
        // One server of several may be away, or its search.
        Some(Err(error)) if store.driver().is_cluster() => {
            tracing::warn!(error = %error.report(), "the cluster cannot be asked for its indexes");
            Ok(Found::Silent)
        }
        Some(found) => found,
    }
}

fn judge_infos(store: &Store, infos: Vec<Result<Reply>>) -> Result<Found> {
    let mut separator = None;
    let mut reading = false;
    for info in infos {
        match info {
            Ok(info) => {
                reading |= is_reading(&info);
                separator.get_or_insert(separator_of(info, "thread_id").unwrap_or(SEPARATOR));
            }
            Err(error) if is_unknown_index(&error) => {
                let seen = store.session.searching.seen.load(Ordering::Relaxed);
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

/// Waits for a search no longer than a call about one thread may; `None` if it takes longer. A
/// search that hangs blocks its connection, so that one is replaced, for the sake of the commands
/// behind it. Where one server does all, it is not search that keeps calls waiting.
pub(super) async fn in_time<T>(store: &Store, search: impl Future<Output = T>) -> Option<T> {
    if !store.driver().is_cluster() {
        return Some(search.await);
    }
    let limit = PATIENCE.min(store.settings.command_timeout / 2);
    let found = tokio::time::timeout(limit, search).await;
    if found.is_err() {
        store.driver().replace_abandoned();
    }
    found.ok()
}

/// Does without search for a while, because rows were lost from their start.
pub(crate) fn do_without_search(store: &Store) {
    let reason = "what was found was lost again and again";
    store
        .session
        .searching
        .wait(reason, store.session.searching.pause());
}

/// Does without search for a while, because a server of the cluster keeps it waiting.
pub(super) fn search_is_slow(store: &Store) {
    let reason = "the servers of the cluster do not answer a search in time";
    tracing::warn!("{reason}: for a while calls do without");
    store.session.searching.wait(reason, REST);
}

/// Does without search for a while, because an index opens no document.
pub(super) fn search_is_blind(store: &Store, index: &str) {
    tracing::warn!(
        index,
        "the index opens no document, as after a search on another database: drop it and call setup(); until then calls walk over the keys"
    );
    let reason = "the index opens no document: drop it with FT.DROPINDEX and call setup()";
    store.session.searching.wait(reason, REST);
}

/// Takes note that an index is gone, and makes it again; calls do without until it has read
/// what is stored.
pub(super) async fn index_is_lost(store: &Store, index: &str, error: &Error) {
    tracing::warn!(index, error = %error.report(), "the index is gone: it is made again, and until then calls walk over the keys");
    make_again(store, index).await;
}

async fn make_again(store: &Store, what: &str) {
    let reason = "an index was lost and is being made again";
    store
        .session
        .searching
        .wait(reason, store.session.searching.pause());
    store.session.searching.seen.store(true, Ordering::Relaxed);
    if let Some(Err(error)) = in_time(store, make_indexes(store)).await {
        tracing::warn!(error = %error.report(), what, "the index cannot be made again: call setup()");
    }
}

/// Makes the indexes unless they are there.
async fn make_indexes(store: &Store) -> Result<()> {
    let commands = vec![
        create(store.keyspace.checkpoint_prefix(), CHECKPOINT_FIELDS),
        create(store.keyspace.write_prefix(), WRITE_FIELDS),
    ];
    for reply in store.driver().batch("setup", commands).await? {
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
pub(crate) async fn create_indexes(store: &Store) -> Result<()> {
    if let Found::Off(reason) = find_search(store).await? {
        if store.settings.search == SearchMode::Required {
            return Err(search_is_missing(store, &reason).await);
        }
        if store.settings.search == SearchMode::Auto {
            store.session.searching.say_once(&reason);
        }
        store.session.searching.forget();
        return Ok(());
    }
    match make_indexes(store).await {
        Err(error @ Error::Permission { .. }) if store.settings.search == SearchMode::Auto => {
            tracing::warn!(error = %error.report(), "the indexes cannot be made: have them made by a user who may");
            store.session.searching.forget();
            return Ok(());
        }
        made => made?,
    }
    store.session.searching.have_been_made();
    for index in [
        store.keyspace.checkpoint_prefix(),
        store.keyspace.write_prefix(),
    ] {
        wait_until_indexed(store, index).await?;
    }
    Ok(())
}

/// The error of a saver that needs search and has none.
async fn search_is_missing(store: &Store, reason: &str) -> Error {
    let probe = Command::new("FT.INFO").arg(text(store.keyspace.checkpoint_prefix()));
    if store.driver().database() == 0
        && let Err(error @ (Error::MissingModule { .. } | Error::Permission { .. })) =
            store.driver().call("setup", probe).await
    {
        return error;
    }
    Error::Config {
        key: "search".to_owned(),
        reason: format!("it is `required`, but there is no search: {reason}"),
        source: None,
    }
}

async fn wait_until_indexed(store: &Store, index: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let info = info::info(store, index).await?.unwrap_or(Reply::Nil);
        if !is_reading(&info) {
            return Ok(());
        }
        if started.elapsed() > store.settings.command_timeout * 6 {
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
pub(crate) async fn health(store: &Store) -> Health {
    let has_ttl = store.settings.ttl.default.is_some();
    let (mut health, (reason, problem)) =
        tokio::join!(store.driver().health(has_ttl), search_health(store));
    health.without_search = reason;
    health.problems.extend(problem);
    health
}

/// Why search does not serve, asked now; and whether it did before, so that something is wrong.
async fn search_health(store: &Store) -> (Option<String>, Option<HealthProblem>) {
    let losses = store.driver().losses();
    let is_on = matches!(&*store.session.searching.known(), Known::On(..));
    let looked = if is_on || matches!(&*store.session.searching.known(), Known::Nothing) {
        // It may have been lost since it was last used.
        look_for_search(store, losses).await
    } else {
        search(store).await
    };
    let reason = match (looked, &*store.session.searching.known()) {
        (Ok(Some(_)), _) => return (None, None),
        // What is wrong with the server is reported already.
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
