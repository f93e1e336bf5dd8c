//! One server for a whole test process.

use std::env;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::Error;
use crate::standalone::Standalone;

/// `REDIS_URL` when it is set, else the URL of a server that this process shares: it starts on
/// first use and ends with the process. Callers must keep apart what they store.
///
/// # Errors
/// Those of [`Standalone::start`]. A later call tries again.
pub fn shared_url() -> Result<&'static str, Error> {
    static URL: OnceLock<String> = OnceLock::new();
    // A static is never dropped, so the server runs until its supervisor sees this process end.
    static SERVER: Mutex<Option<Standalone>> = Mutex::new(None);

    if let Some(url) = URL.get() {
        return Ok(url);
    }
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let url = match (env::var("REDIS_URL"), server.as_ref()) {
        (Ok(url), _) if !url.is_empty() => url,
        (_, Some(running)) => running.url(),
        (_, None) => server.insert(Standalone::start()?).url(),
    };
    Ok(URL.get_or_init(|| url))
}
