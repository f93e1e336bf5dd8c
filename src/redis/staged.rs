//! Large documents, which go to the server beside the script that stores them.
//!
//! A script that is handed a document of 20 KB costs the server half as much again as `JSON.SET`.
//! So a large one is set under a key of its own, which the script then renames; a transaction in
//! one pipeline makes both one step. Where the transaction cannot be had (a proxy, an ACL, a
//! connection that broke in its middle) the script is handed the document after all.

use std::time::Duration;

use bytes::Bytes;

use super::args::milliseconds;
use super::driver::Command;
use super::scripts::{PutCall, PutReply, Step};
use super::slots::slot;
use super::store::Store;
use crate::error::{Error, Result};

/// From how many bytes on a document is staged. Measured: below it the script costs no more.
pub(crate) const LARGE: usize = 8 * 1024;

/// How long a staged document lives if nothing takes it up.
const LEASE: Duration = Duration::from_secs(60);

/// Sets the document of a call under the key `staged` and runs the script that takes it up, as one
/// step. `None` if that could not be done: then nothing has changed, or the script has already run
/// and can be run again.
pub(crate) async fn put_staged(
    store: &Store,
    operation: &'static str,
    call: &PutCall,
    staged: Bytes,
) -> Result<Option<PutReply>> {
    let call = PutCall {
        staged: Some(staged.clone()),
        ..call.clone()
    };
    let is_apart = store.session.are_in_several_slots(call.script().keys());
    if is_apart || !store.session.stages_documents() {
        return Ok(None);
    }
    let document = call.document.clone();
    let slot = slot(&staged);
    let bracket = |name| {
        Step::from(Command {
            slot: Some(slot),
            ..Command::new(name)
        })
    };
    let set = Command::on("JSON.SET", staged.clone())
        .arg("$")
        .arg(document);
    let lease = Command::on("PEXPIRE", staged.clone()).arg(milliseconds(Some(LEASE)));
    let steps = vec![
        bracket("MULTI"),
        set.into(),
        lease.into(),
        call.into(),
        bracket("EXEC"),
    ];
    let mut replies = store.pipeline(operation, steps).await?;
    let executed = replies.pop().unwrap_or(Err(Error::Closed));
    match (replies.into_iter().next(), executed) {
        (_, Err(error)) if error.is_retryable() => Err(error),
        (Some(Err(error)), _) if is_refused(&error) => {
            tracing::warn!(error = %error.report(), "the server takes no transactions: large documents go through scripts");
            store.session.stop_staging();
            Ok(None)
        }
        (_, Ok(reply)) => Ok(reply.into_array().pop().map(PutReply::from)),
        // What the script has to say it says again, to the one that asks it by itself.
        (_, Err(_)) => {
            let leftover = Command::on("UNLINK", staged);
            if let Err(error) = store.driver().call(operation, leftover).await {
                tracing::debug!(error = %error.report(), "a staged document is left to its TTL");
            }
            Ok(None)
        }
    }
}

fn is_refused(error: &Error) -> bool {
    matches!(
        error,
        Error::Permission { .. } | Error::MissingModule { .. }
    )
}
