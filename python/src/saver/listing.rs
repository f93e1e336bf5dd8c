//! Listings, which are read in pages.

use std::sync::Arc;

use futures_util::StreamExt;
use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointTuple, ListOptions, Result, SaverStream, ThreadSummary,
};
use pyo3::prelude::*;
use tokio::sync::Mutex;

use super::call::{Into, run};
use super::connection::Reach;
use super::outcome::{Outcome, Tuple};

/// A listing that is under way.
#[pyclass(frozen, module = "langgraph_checkpoint_redis_rs._native")]
pub struct Listing {
    reach: Reach,
    state: Arc<Mutex<State>>,
}

/// How far a listing has come.
enum State {
    /// Checkpoints are to be listed.
    Checkpoints(Option<CheckpointConfig>, ListOptions),
    /// Threads whose ids start with a prefix are to be listed.
    Threads(String),
    ReadingCheckpoints(SaverStream<CheckpointTuple>),
    ReadingThreads(SaverStream<ThreadSummary>),
}

#[pymethods]
impl Listing {
    /// The next `count` items at most, and whether there may be more.
    fn page<'py>(&self, py: Python<'py>, into: Into, count: usize) -> PyResult<Bound<'py, PyAny>> {
        let reach = self.reach.clone();
        let state = Arc::clone(&self.state);
        run(py, into, async move {
            let mut state = state.lock().await;
            state.start(&reach).await?;
            state.read(count).await
        })
    }
}

impl Listing {
    pub(super) fn of_checkpoints(
        reach: Reach,
        config: Option<CheckpointConfig>,
        options: ListOptions,
    ) -> Self {
        Self::new(reach, State::Checkpoints(config, options))
    }

    pub(super) fn of_threads(reach: Reach, prefix: String) -> Self {
        Self::new(reach, State::Threads(prefix))
    }

    fn new(reach: Reach, state: State) -> Self {
        Self {
            reach,
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl State {
    /// Begins to read, unless that was done before.
    async fn start(&mut self, reach: &Reach) -> Result<()> {
        let reading = match self {
            Self::Checkpoints(config, options) => {
                let saver = reach.saver().await?;
                Self::ReadingCheckpoints(saver.list(config.as_ref(), std::mem::take(options)))
            }
            Self::Threads(prefix) => Self::ReadingThreads(reach.saver().await?.threads(prefix)),
            Self::ReadingCheckpoints(_) | Self::ReadingThreads(_) => return Ok(()),
        };
        *self = reading;
        Ok(())
    }

    async fn read(&mut self, count: usize) -> Result<Outcome> {
        Ok(match self {
            Self::ReadingCheckpoints(stream) => {
                let (tuples, more) = take(stream, count, Tuple::new).await?;
                Outcome::Page(tuples, more)
            }
            Self::ReadingThreads(stream) => {
                let (threads, more) = take(stream, count, |summary| summary).await?;
                Outcome::Threads(threads, more)
            }
            // Reading has begun whenever this is called; nothing was listed otherwise.
            Self::Checkpoints(..) | Self::Threads(_) => Outcome::Page(Vec::new(), false),
        })
    }
}

async fn take<T, U>(
    stream: &mut SaverStream<T>,
    count: usize,
    map: impl Fn(T) -> U,
) -> Result<(Vec<U>, bool)> {
    let mut items = Vec::new();
    while items.len() < count {
        match stream.next().await {
            Some(item) => items.push(map(item?)),
            None => return Ok((items, false)),
        }
    }
    Ok((items, true))
}
