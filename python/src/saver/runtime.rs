//! The runtime that all savers of a process share.

use std::sync::Mutex;

use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime and the process that made it.
static RUNTIME: Mutex<Option<(u32, Runtime)>> = Mutex::new(None);

/// A handle on the runtime of this process, which is made when it is first asked for.
///
/// A forked child has none of its parent's threads, so it makes a runtime of its own. The token
/// says that this thread holds the GIL: it is held for as long as the lock is, so no other thread
/// can hold the lock while Python forks.
pub(super) fn handle(_py: Python<'_>) -> PyResult<Handle> {
    let pid = std::process::id();
    let mut slot = match RUNTIME.lock() {
        Ok(slot) => slot,
        Err(poisoned) => poisoned.into_inner(),
    };
    if let Some((owner, runtime)) = &*slot
        && *owner == pid
    {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("redis-saver")
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    // The parent's runtime waits for threads that are not there when it is dropped.
    std::mem::forget(slot.replace((pid, runtime)));
    Ok(handle)
}
