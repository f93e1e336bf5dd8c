//! The rows of a search, page by page.
//!
//! What is left of a search waits in a cursor on the server, which has 128 of them for all its
//! clients. So a saver opens few at a time, takes none where one page is all, and closes each when
//! its rows end or are dropped, also in the middle of a call.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument;

use super::query::{NO_TIME_LIMIT, Row, WRITE_LOAD, is_silent, load, rows_of};
use super::state;
use crate::error::{Error, Result};
use crate::redis::args::{number, text};
use crate::redis::driver::{Command, Driver, NodeHandle, Reply};
use crate::redis::error::{has_no_cursor_left, is_unknown_index};
use crate::redis::store::Store;
use crate::round_trips;

/// How many rows are read at once.
pub(super) const ROWS: usize = 500;

/// How long the server keeps a cursor that nobody reads from, in milliseconds: for those that a
/// lost process leaves behind. A reader that takes longer for a page searches again.
const IDLE: &str = "30000";

/// How long a search waits at first for a cursor of the server's, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// How often a search whose rows were lost in the middle is made again.
const ATTEMPTS: usize = 3;

/// How many documents tell whether an index can open any.
const SOME: u64 = 20;

/// The rows of a search.
#[derive(Debug)]
pub(crate) struct Rows {
    index: String,
    state: State,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Page {
    Rows(Vec<Row>),
    End,
    /// The index or the cursor is gone, so what was given is not all: ask [`search`](super::search)
    /// whether to search again.
    Lost,
}

#[derive(Debug)]
enum State {
    /// All rows are asked for at once.
    One(Command),
    Start(Command),
    Open(Cursor),
    End,
}

/// A cursor on the server.
#[derive(Debug)]
struct Cursor {
    id: i64,
    place: Place,
    turn: Option<OwnedSemaphorePermit>,
}

/// Where cursors of a search are.
#[derive(Debug, Clone)]
struct Place {
    index: Bytes,
    node: NodeHandle,
    driver: Arc<Driver>,
    runtime: Handle,
}

/// A page, and the cursor that has the rest.
type Read = (Vec<Row>, Option<Cursor>);

impl Rows {
    /// All rows of a command that gives no more than a page.
    pub(super) fn one_page(index: &str, command: Command) -> Self {
        Self {
            index: index.to_owned(),
            state: State::One(command.args(NO_TIME_LIMIT.map(Bytes::from))),
        }
    }

    /// The rows of a command in pages.
    pub(super) fn paged(index: &str, command: Command) -> Self {
        let command = command.arg("WITHCURSOR").arg("COUNT").arg(number(ROWS));
        let command = command.args(["MAXIDLE", IDLE].map(Bytes::from));
        Self {
            index: index.to_owned(),
            state: State::Start(command.args(NO_TIME_LIMIT.map(Bytes::from))),
        }
    }

    /// The next page.
    pub(crate) async fn next(&mut self, store: &Store) -> Result<Page> {
        let read = match std::mem::replace(&mut self.state, State::End) {
            State::End => return Ok(Page::End),
            State::One(command) => {
                let reply = store.driver().call("search", command).await;
                reply.map(|reply| (rows_of(reply), None))
            }
            State::Start(command) => self.open(store, command).await,
            State::Open(cursor) => match read(cursor).await? {
                Some(read) => Ok(read),
                None => return Ok(Page::Lost),
            },
        };
        let (rows, cursor) = match read {
            Err(error) if is_unknown_index(&error) => {
                state::index_is_lost(store, &self.index, &error).await;
                return Ok(Page::Lost);
            }
            read => read?,
        };
        if !rows.is_empty()
            && rows.iter().all(|row| is_silent(row))
            && is_blind(store, &self.index).await?
        {
            state::search_is_blind(store, &self.index);
            return Ok(Page::Lost);
        }
        if let Some(cursor) = cursor {
            self.state = State::Open(cursor);
        }
        Ok(Page::Rows(rows))
    }

    /// Searches, as soon as the server has a cursor left.
    async fn open(&self, store: &Store, command: Command) -> Result<Read> {
        let limit = store.settings.command_timeout;
        let mut turn = store.session.searching.turn(limit).await?;
        let place = Place {
            index: text(&self.index),
            node: store.driver().any_primary()?,
            driver: Arc::clone(store.driver()),
            runtime: Handle::current(),
        };
        let started = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let (place, command) = (place.clone(), command.clone());
            // In a task of its own, which sees the cursor also when the caller is gone.
            let searched = spawned(async move {
                let reply = place.driver.call_at("search", &place.node, command).await;
                match reply {
                    Ok(reply) => (Ok(page_of(reply, place, turn)), None),
                    Err(error) => (Err(error), Some(turn)),
                }
            });
            match searched.await? {
                (Err(error), Some(unused)) if has_no_cursor_left(&error) => {
                    if started.elapsed() + pause > limit {
                        return Err(Error::Unavailable {
                            reason: format!(
                                "the server had no cursor left for {limit:?}: other clients' searches are open"
                            ),
                            source: None,
                        });
                    }
                    turn = unused;
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                (read, _) => return read,
            }
        }
    }
}

/// Reads on; `None` if the cursor is gone, or the server is another.
async fn read(cursor: Cursor) -> Result<Option<Read>> {
    let read = spawned(async move {
        // A second answer would be the next page, and the first one lost.
        let command = Command::new("FT.CURSOR")
            .once()
            .arg("READ")
            .arg(cursor.place.index.clone())
            .arg(number(cursor.id))
            .arg("COUNT")
            .arg(number(ROWS));
        let place = &cursor.place;
        let reply = place.driver.call_at("search", &place.node, command).await?;
        Ok(cursor.and_then(reply))
    });
    match read.await? {
        Err(Error::Server { .. } | Error::Connection { .. }) => Ok(None),
        read => read.map(Some),
    }
}

/// Runs to its end whatever becomes of the caller, as a part of its call.
async fn spawned<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let task = round_trips::carried(future).in_current_span();
    // It is neither aborted nor does it panic; a runtime that shuts down ends it.
    tokio::spawn(task).await.map_err(|_| Error::Closed)
}

impl Cursor {
    /// The page that a reply to a read holds, with the same cursor if there is more.
    fn and_then(mut self, reply: Reply) -> Read {
        let (rows, id) = parsed(reply);
        self.id = id;
        (rows, (id != 0).then_some(self))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if self.id == 0 {
            return;
        }
        let (id, place, turn) = (self.id, self.place.clone(), self.turn.take());
        let runtime = place.runtime.clone();
        runtime.spawn(async move {
            let command = Command::new("FT.CURSOR")
                .arg("DEL")
                .arg(place.index)
                .arg(number(id));
            match place.driver.call_at("search", &place.node, command).await {
                // It is gone already, or all of the saver's connections are.
                Ok(_) | Err(Error::Server { .. } | Error::Closed) => {}
                Err(error) => {
                    tracing::warn!(cursor = id, error = %error.report(), "a cursor stays open on the server for half a minute");
                }
            }
            drop(turn);
        });
    }
}

/// A page, and the cursor that a search opened.
fn page_of(reply: Reply, place: Place, turn: OwnedSemaphorePermit) -> Read {
    let (rows, id) = parsed(reply);
    let cursor = Cursor {
        id,
        place,
        turn: Some(turn),
    };
    (rows, (id != 0).then_some(cursor))
}

/// The rows of a reply, and the cursor that has the rest; 0 if there is none.
fn parsed(reply: Reply) -> (Vec<Row>, i64) {
    let mut reply = reply.into_array().into_iter();
    let rows = rows_of(reply.next().unwrap_or(Reply::Nil));
    let cursor = reply.next().and_then(|cursor| cursor.as_int());
    (rows, cursor.unwrap_or(0))
}

/// What all rows of a search say; `None` where search does not serve.
pub(super) async fn all_rows<T>(
    store: &Store,
    index: &str,
    command: Command,
    read: impl Fn(&Row) -> Option<T>,
) -> Result<Option<Vec<T>>> {
    for _ in 0..ATTEMPTS {
        let mut rows = Rows::paged(index, command.clone());
        let mut found = Vec::new();
        loop {
            match rows.next(store).await? {
                Page::Rows(page) => found.extend(page.iter().filter_map(&read)),
                Page::End => return Ok(Some(found)),
                Page::Lost => break,
            }
        }
        if state::search(store).await?.is_none() {
            break;
        }
    }
    Ok(None)
}

/// Rows of an index from a position on, in the order in which it came to know them; `None`
/// where it turns out to be gone.
pub(crate) async fn rows_from(
    store: &Store,
    index: &str,
    start: u64,
    limit: u64,
) -> Result<Option<Vec<Row>>> {
    // The limit comes first, so that only what it leaves is loaded.
    let command = Command::new("FT.AGGREGATE")
        .arg(text(index))
        .args(["*", "LIMIT"].map(Bytes::from))
        .arg(number(start))
        .arg(number(limit));
    let command = load(command, WRITE_LOAD).args(NO_TIME_LIMIT.map(Bytes::from));
    rows_at(store, index, command).await
}

async fn rows_at(store: &Store, index: &str, command: Command) -> Result<Option<Vec<Row>>> {
    match store.driver().call("search", command).await {
        Err(error) if is_unknown_index(&error) => {
            state::index_is_lost(store, index, &error).await;
            Ok(None)
        }
        reply => Ok(Some(rows_of(reply?))),
    }
}

/// Whether an index finds documents and opens none of them, as after a search on another
/// database: RediSearch then reads that one, until the index is made again.
pub(super) async fn is_blind(store: &Store, index: &str) -> Result<bool> {
    let find = Command::new("FT.SEARCH")
        .arg(text(index))
        .args(["*", "NOCONTENT", "LIMIT", "0"].map(Bytes::from))
        .arg(number(SOME))
        .args(NO_TIME_LIMIT.map(Bytes::from));
    let found = match store.driver().call("search", find).await {
        Err(error) if is_unknown_index(&error) => return Ok(false),
        found => found?.into_array().into_iter().skip(1),
    };
    // What has just expired is found for a while, and a key with a NUL is never opened.
    let keys = found.filter_map(Reply::into_bytes);
    let exist = keys
        .filter(|key| !key.contains(&0))
        .map(|key| Command::on("EXISTS", key));
    let mut is_there = false;
    for reply in store.driver().batch("search", exist.collect()).await? {
        is_there |= reply?.as_int() == Some(1);
    }
    if !is_there {
        return Ok(false);
    }
    let rows = rows_from(store, index, 0, SOME).await?;
    Ok(rows.is_some_and(|rows| !rows.is_empty() && rows.iter().all(|row| is_silent(row))))
}
