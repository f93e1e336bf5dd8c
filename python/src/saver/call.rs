//! How a call is made: blocking without the GIL, or with a future of the caller's event loop.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use langgraph_checkpoint_redis::{Error, Result};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use tokio::sync::oneshot;

use super::bridge::Bridge;
use super::error::exception;
use super::outcome::Outcome;
use super::runtime;

/// How often a blocking call looks for signals, such as Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(100);

/// Where the outcome of an awaited call goes: a future and the way into its loop.
pub(super) type Into = Option<(Py<Bridge>, Py<PyAny>)>;

/// Makes a call. With a future it returns that future at once, else the outcome when it is there.
///
/// Either way the call runs to its end, also if the caller goes away: a write has then happened
/// as a whole or not at all. A long call is made by [`run_in_pages`].
pub(super) fn run(
    py: Python<'_>,
    into: Into,
    call: impl Future<Output = Result<Outcome>> + Send + 'static,
) -> PyResult<Bound<'_, PyAny>> {
    let handle = runtime::handle(py)?;
    if let Some((bridge, future)) = into {
        let (queue, number) = bridge.get().wait(future.clone_ref(py));
        handle.spawn(async move { queue.push(number, call.await) });
        return Ok(future.into_bound(py));
    }
    block(py, call, None)
}

/// The same for a call that does its work a page at a time: it stops at the next one when its
/// caller is cancelled or interrupted.
pub(super) fn run_in_pages(
    py: Python<'_>,
    into: Into,
    call: impl Future<Output = Result<Outcome>> + Send + 'static,
) -> PyResult<Bound<'_, PyAny>> {
    let (stop, stopped) = oneshot::channel::<()>();
    let call = async move {
        // Only a word stops the call, not that nobody can say it any more.
        let stopped = stopped.then(|word| async move {
            if word.is_err() {
                pending::<()>().await;
            }
        });
        match select(pin!(call), pin!(stopped)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(Error::Closed),
        }
    };
    let Some((bridge, future)) = into else {
        return block(py, call, Some(stop));
    };
    let stop = Mutex::new(Some(stop));
    let ended = PyCFunction::new_closure(
        py,
        None,
        None,
        move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| -> PyResult<()> {
            let future = args.get_item(0)?;
            if future.call_method0("cancelled")?.is_truthy()?
                && let Some(stop) = stop.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                // A call that has ended needs no stopping.
                let _ = stop.send(());
            }
            Ok(())
        },
    )?;
    future.call_method1(py, "add_done_callback", (ended,))?;
    run(py, Some((bridge, future)), call)
}

/// Waits for a call. If the caller is interrupted the call goes on, unless it can be stopped.
fn block(
    py: Python<'_>,
    call: impl Future<Output = Result<Outcome>> + Send + 'static,
    stop: Option<oneshot::Sender<()>>,
) -> PyResult<Bound<'_, PyAny>> {
    let (sender, mut receiver) = sync_channel(1);
    runtime::handle(py)?.spawn(async move {
        // A caller that was interrupted waits no more.
        let _ = sender.send(call.await);
    });
    loop {
        let ended;
        (ended, receiver) = py.detach(move || (receiver.recv_timeout(SIGNALS), receiver));
        match ended {
            Ok(outcome) => {
                return outcome
                    .map_err(|error| exception(py, &error))?
                    .into_python(py);
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(interrupt) = py.check_signals() {
                    // A call that has ended needs no stopping.
                    let _ = stop.map(|stop| stop.send(()));
                    return Err(interrupt);
                }
            }
            // The runtime is gone, which ends with the process.
            Err(RecvTimeoutError::Disconnected) => return Err(exception(py, &Error::Closed)),
        }
    }
}
