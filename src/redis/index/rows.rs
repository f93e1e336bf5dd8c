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

use super::super::driver::{Command, Driver, NodeHandle, Reply, number};
use super::super::error::{has_no_cursor_left, is_unknown_index};
use super::super::store::Store;
use super::super::write::text;
use super::{NO_TIME_LIMIT, field};
use crate::error::{Error, Result};
use crate::round_trips;

/// How many rows are read at once.
pub(super) const ROWS: usize = 500;
/// How long the server keeps a cursor that nobody reads from, in milliseconds: for those that a
/// lost process leaves behind. A reader that takes longer for a page searches again.
const IDLE: &str = "30000";
/// How long a search waits at first for a cursor of the server's, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// A row: names and values.
pub(crate) type Row = Vec<Reply>;

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
    /// The index or the cursor is gone, so what was given is not all: ask [`Store::search`] whether
    /// to search again.
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
                let reply = store.driver.call("search", command).await;
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
                store.index_is_lost(&self.index, &error).await;
                return Ok(Page::Lost);
            }
            read => read?,
        };
        if !rows.is_empty()
            && rows.iter().all(|row| is_silent(row))
            && store.is_blind(&self.index).await?
        {
            store.search_is_blind(&self.index);
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
        let mut turn = store.searching.turn(limit).await?;
        let place = Place {
            index: text(&self.index),
            node: store.driver.any_primary()?,
            driver: Arc::clone(&store.driver),
            runtime: Handle::current(),
        };
        let started = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let (place, command) = (place.clone(), command.clone());
            // In a task of its own, which sees the cursor also when nobody waits for it any more.
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
                    tracing::warn!(cursor = id, %error, "a cursor stays open on the server for half a minute");
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

/// The rows of a reply, whose first element counts them.
pub(super) fn rows_of(reply: Reply) -> Vec<Row> {
    let rows = reply.into_array().into_iter().skip(1);
    rows.map(Reply::into_array).collect()
}

/// Whether a row says nothing of its document, which is gone or cannot be opened.
pub(super) fn is_silent(row: &[Reply]) -> bool {
    field(row, "thread_id").is_none()
}
