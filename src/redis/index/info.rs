//! What the server says of the indexes.

#[cfg(test)]
use bytes::Bytes;

use super::schema::value_of;
use crate::error::{Error, Result};
use crate::redis::args::text;
use crate::redis::config::SearchMode;
use crate::redis::driver::{Command, Reply};
use crate::redis::error::is_unknown_index;
use crate::redis::store::Store;

/// What the server says of an index; `None` if there is none.
pub(super) async fn info(store: &Store, index: &str) -> Result<Option<Reply>> {
    if search_is_barred(store).is_some() {
        return Ok(None);
    }
    // In a Redis Stack cluster the name of an index counts as a key.
    let command = Command::on("FT.INFO", text(index));
    match store.driver().call("search", command).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if is_unknown_index(&error) => Ok(None),
        Err(Error::MissingModule { .. } | Error::Permission { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a search sees all documents. In a cluster that is so where the nodes search together,
/// as in Redis 8; in a Redis Stack cluster each node has an index of its own documents.
pub(crate) async fn searches_all(store: &Store) -> Result<bool> {
    if search_is_barred(store).is_some() {
        return Ok(false);
    }
    if !store.driver().is_cluster() {
        return Ok(true);
    }
    if let Some(together) = store.session.searches_together.get() {
        return Ok(*together);
    }
    let command = Command::new("COMMAND").arg("INFO").arg("FT.SEARCH");
    let together = match store.driver().call("search", command).await {
        Ok(info) => takes_no_keys(info),
        Err(Error::Permission { .. } | Error::Server { .. } | Error::MissingModule { .. }) => false,
        Err(error) => return Err(error),
    };
    // Two calls that find out at once find out the same.
    let _ = store.session.searches_together.set(together);
    Ok(together)
}

/// Why no search may be sent at all.
pub(super) fn search_is_barred(store: &Store) -> Option<String> {
    if store.settings.search == SearchMode::Off {
        return Some("the setting `search` is off".to_owned());
    }
    let database = store.driver().database();
    // One search there makes RediSearch forget what it knows of database 0.
    (database != 0)
        .then(|| format!("RediSearch knows database 0 alone, and this is database {database}"))
}

/// Whether an index still reads what was stored before it.
pub(super) fn is_reading(info: &Reply) -> bool {
    let indexing = value_of(info.clone(), "indexing").and_then(|value| value.as_int());
    let percent = value_of(info.clone(), "percent_indexed")
        .and_then(|value| value.as_str()?.parse::<f64>().ok());
    indexing.unwrap_or(0) != 0 || percent.is_some_and(|percent| percent < 1.0)
}

/// Whether a command takes no keys, as the server describes it. A search whose index is a key runs
/// on the node that has it; one without keys runs on all nodes.
fn takes_no_keys(info: Reply) -> bool {
    let command = info.into_array().into_iter().next().unwrap_or(Reply::Nil);
    // The name, the arity, the flags, and the position of the first key.
    let first_key = command.into_array().into_iter().nth(3);
    first_key.and_then(|first_key| first_key.as_int()) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What servers answer to `COMMAND INFO FT.SEARCH`, as far as it is read.
    fn described(first_key: i64) -> Reply {
        let text = |text: &'static str| Reply::Bytes(Bytes::from(text));
        let flags = Reply::Array(vec![text("readonly")]);
        let keys = [first_key, first_key, first_key].map(Reply::Int);
        let mut command = vec![text("ft.search"), Reply::Int(-1), flags];
        command.extend(keys);
        Reply::Array(vec![Reply::Array(command)])
    }

    #[test]
    fn only_a_search_without_keys_sees_all_of_a_cluster() {
        assert!(takes_no_keys(described(0)), "Redis 8");
        assert!(!takes_no_keys(described(1)), "Redis Stack");
        assert!(!takes_no_keys(Reply::Array(vec![Reply::Nil])), "no search");
    }
}
