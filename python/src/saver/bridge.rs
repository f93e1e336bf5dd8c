//! The way of results into an asyncio event loop.
//!
//! A call that ends puts its outcome into a queue and writes a byte to a socket that the loop
//! watches, if the queue was empty. The loop then takes out all that is there. So the runtime's
//! thread never waits for the GIL, and calls that end together wake the loop once.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use langgraph_checkpoint_redis::Result;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;

use super::error::exception;
use super::outcome::Outcome;

/// What has ended and is not yet known to the loop.
#[derive(Debug)]
pub(super) struct Queue {
    ended: Mutex<Vec<(u64, Result<Outcome>)>>,
    bell: UnixStream,
}

impl Queue {
    /// Hands an outcome over to the loop.
    pub(super) fn push(&self, call: u64, outcome: Result<Outcome>) {
        let first = {
            let mut ended = lock(&self.ended);
            ended.push((call, outcome));
            ended.len() == 1
        };
        if first {
            // A full socket has bytes that wake the loop, and a closed one has no loop.
            let _ = (&self.bell).write(&[1]);
        }
    }
}

/// The calls of one event loop that are under way.
#[pyclass(frozen, weakref, module = "langgraph_checkpoint_redis_rs._native")]
#[derive(Debug)]
pub struct Bridge {
    queue: Arc<Queue>,
    /// The other end of the bell.
    ear: UnixStream,
    waiting: Mutex<Waiting>,
}

/// The futures that wait, by the number of their call. The lock is taken only by threads that
/// hold the GIL.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    futures: HashMap<u64, Py<PyAny>>,
}

#[pymethods]
impl Bridge {
    #[new]
    fn new() -> PyResult<Self> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self {
            queue: Arc::new(Queue {
                ended: Mutex::default(),
                bell,
            }),
            ear,
            waiting: Mutex::default(),
        })
    }

    /// The file descriptor that becomes readable when calls have ended.
    fn fileno(&self) -> i32 {
        self.ear.as_raw_fd()
    }

    /// Completes the futures of the calls that have ended; to be called in the loop's thread.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        // The bell is silenced first: what ends from now on rings it again.
        let _ = (&self.ear).read(&mut [0; 64]);
        let ended = std::mem::take(&mut *lock(&self.queue.ended));
        for (call, outcome) in ended {
            let Some(future) = lock(&self.waiting).futures.remove(&call) else {
                continue;
            };
            let future = future.bind(py);
            // A future that was cancelled has no use for its outcome.
            if future.call_method0(intern!(py, "done"))?.is_truthy()? {
                continue;
            }
            let outcome = outcome
                .map_err(|error| exception(py, &error))
                .and_then(|outcome| outcome.into_python(py));
            match outcome {
                Ok(value) => future.call_method1(intern!(py, "set_result"), (value,))?,
                Err(error) => {
                    future.call_method1(intern!(py, "set_exception"), (error.into_value(py),))?
                }
            };
        }
        Ok(())
    }

    /// How many calls are under way.
    fn __len__(&self) -> usize {
        lock(&self.waiting).futures.len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(waiting) = self.waiting.try_lock() {
            for future in waiting.futures.values() {
                visit.call(future)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let futures = std::mem::take(&mut lock(&self.waiting).futures);
        drop(futures);
    }
}

impl Bridge {
    /// Takes in a future that a call will complete: where to, and under which number.
    pub(super) fn wait(&self, future: Py<PyAny>) -> (Arc<Queue>, u64) {
        let mut waiting = lock(&self.waiting);
        let call = waiting.next;
        waiting.next += 1;
        waiting.futures.insert(call, future);
        (Arc::clone(&self.queue), call)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
