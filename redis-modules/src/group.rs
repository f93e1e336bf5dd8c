//! What sentinel and cluster deployments share: several servers that become ready together.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::standalone::{Standalone, StandaloneBuilder};

/// How long servers that are up may take to find each other.
const LIMIT: Duration = Duration::from_secs(40);

const POLL: Duration = Duration::from_millis(20);

/// Starts one server for each builder, all at the same time.
pub(crate) fn start_all(builders: Vec<StandaloneBuilder>) -> Result<Vec<Standalone>, Error> {
    thread::scope(|scope| {
        let starting: Vec<_> = builders
            .into_iter()
            .map(|builder| scope.spawn(|| builder.start()))
            .collect();
        starting
            .into_iter()
            .map(|server| {
                server.join().unwrap_or_else(|_| {
                    Err(Error::NotRunning {
                        detail: "the thread that started it failed".to_owned(),
                    })
                })
            })
            .collect()
    })
}

/// Waits until nothing is missing. An error counts as something that is missing, since servers
/// that are finding each other answer with errors now and then.
pub(crate) fn wait_until_nothing<'a>(
    mut is_missing: impl FnMut() -> Result<Option<String>, Error>,
    servers: impl Iterator<Item = &'a Standalone>,
) -> Result<(), Error> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let missing = match is_missing() {
            Ok(None) => return Ok(()),
            Ok(Some(missing)) => missing,
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            let logs: Vec<_> = servers
                .map(|server| format!("port {}:\n{}", server.port(), server.log_tail()))
                .collect();
            return Err(Error::NotReady {
                after: LIMIT,
                waiting_for: missing,
                log: logs.join("\n"),
            });
        }
        thread::sleep(POLL);
    }
}
