//! How a call is made: blocking without the GIL, or with a future of the caller's event loop.

use std::future::Future;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use langgraph_checkpoint_redis::{Error, Result};
use pyo3::prelude::*;

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
/// as a whole or not at all.
pub(super) fn run<'py>(
    py: Python<'py>,
    into: Into,
    call: impl Future<Output = Result<Outcome>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>> {
    let handle = runtime::handle(py)?;
    if let Some((bridge, future)) = into {
        let (queue, number) = bridge.get().wait(future.clone_ref(py));
        handle.spawn(async move { queue.push(number, call.await) });
        return Ok(future.into_bound(py));
    }
    let (sender, mut receiver) = sync_channel(1);
    handle.spawn(async move {
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
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            // The runtime is gone, which ends with the process.
            Err(RecvTimeoutError::Disconnected) => return Err(exception(py, &Error::Closed)),
        }
    }
}
