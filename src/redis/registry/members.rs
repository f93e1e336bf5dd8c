//! The set of a thread's namespaces.

use std::collections::HashSet;

use bytes::Bytes;

use crate::error::Result;
use crate::id::ThreadId;
use crate::redis::args::number;
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::Member;
use crate::redis::store::Store;

/// How many members or rows are read at once.
const PAGE: usize = 256;

/// The members of a thread's set of namespaces, a page at a time.
pub(crate) async fn scan_members(store: &Store, thread: &ThreadId) -> Result<Vec<Bytes>> {
    let namespaces = store.keyspace.thread(thread).namespaces();
    let mut members = HashSet::new();
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let scan = Command::on("SSCAN", namespaces.clone())
            .arg(cursor)
            .arg("COUNT")
            .arg(number(PAGE));
        let mut reply = store.driver.call("namespaces", scan).await?.into_array();
        let found = reply.pop().unwrap_or(Reply::Nil).into_array();
        members.extend(found.into_iter().filter_map(Reply::into_bytes));
        cursor = reply.pop().and_then(Reply::into_bytes).unwrap_or_default();
        if cursor.is_empty() || cursor == "0" {
            return Ok(members.into_iter().collect());
        }
    }
}

/// The members of a thread's set of namespaces.
pub(crate) async fn members(store: &Store, thread: &ThreadId) -> Result<Vec<Member>> {
    let members = scan_members(store, thread).await?;
    let members = members.iter().filter_map(|member| Member::of_bytes(member));
    Ok(members.collect())
}
