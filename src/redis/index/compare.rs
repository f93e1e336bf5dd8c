//! Whether the index knows all that is stored: its number of documents against the keys there are.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

use super::super::driver::{Command, Reply, number};
use super::super::error::is_unknown_index;
use super::super::keys::glob_escaped;
use super::super::store::Store;
use super::super::write::text;
use super::NO_TIME_LIMIT;
use super::rows::is_silent;
use super::schema::value_of;
use crate::error::Result;

/// How many keys are looked at in one step.
const STEP: usize = 1_000;
/// How many documents tell whether an index can open any.
const SOME: u64 = 20;

/// An index that does not know all documents, so that what is found by it is not all there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lacking {
    /// How many documents it knows.
    pub(crate) indexed: u64,
    /// How many there are.
    pub(crate) stored: u64,
}

impl Store {
    /// Whether an index lacks documents; `None` if it knows them all, or search does not serve. It
    /// walks over all keys, in steps. What is stored or removed at the same time raises no false
    /// alarm.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))] // The doctor alone asks.
    pub(crate) async fn index_lacks(&self, index: &str) -> Result<Option<Lacking>> {
        if !self.searches_all().await? {
            return Ok(None);
        }
        let Some((indexed, first)) = self.number_known(index).await? else {
            return Ok(None);
        };
        let stored = self.count_documents(&format!("{index}:")).await?;
        let indexed = if self.is_blind(index).await? {
            0
        } else {
            indexed
        };
        let Some((_, last)) = self.number_known(index).await? else {
            return Ok(None);
        };
        // Every document that came since, or was changed, has a number of its own.
        let came = last.saturating_sub(first);
        let lacks = stored > indexed.saturating_add(came);
        Ok(lacks.then_some(Lacking { indexed, stored }))
    }

    /// Whether an index finds documents and opens none of them, as after a search on another
    /// database: RediSearch then reads that one, until the index is made again.
    pub(super) async fn is_blind(&self, index: &str) -> Result<bool> {
        let find = Command::new("FT.SEARCH")
            .arg(text(index))
            .args(["*", "NOCONTENT", "LIMIT", "0"].map(Bytes::from))
            .arg(number(SOME))
            .args(NO_TIME_LIMIT.map(Bytes::from));
        let found = match self.driver.call("search", find).await {
            Err(error) if is_unknown_index(&error) => return Ok(false),
            found => found?.into_array().into_iter().skip(1),
        };
        // What has just expired is found for a while, and a key with a NUL is never opened.
        let keys = found.filter_map(Reply::into_bytes);
        let exist = keys
            .filter(|key| !key.contains(&0))
            .map(|key| Command::on("EXISTS", key));
        let mut is_there = false;
        for reply in self.driver.batch("search", exist.collect()).await? {
            is_there |= reply?.as_int() == Some(1);
        }
        if !is_there {
            return Ok(false);
        }
        let rows = self.rows_from(index, 0, SOME).await?;
        Ok(rows.is_some_and(|rows| !rows.is_empty() && rows.iter().all(|row| is_silent(row))))
    }

    /// How many documents an index knows, and the number of the last that it read.
    async fn number_known(&self, index: &str) -> Result<Option<(u64, u64)>> {
        let Some(info) = self.info(index).await? else {
            return Ok(None);
        };
        let number = |name| {
            let number = value_of(info.clone(), name).and_then(|value| value.as_int());
            number.and_then(|number| u64::try_from(number).ok())
        };
        Ok(number("num_docs").zip(number("max_doc_id")))
    }

    async fn count_documents(&self, start: &str) -> Result<u64> {
        // A walk may meet a key twice.
        let (mut seen, hasher) = (HashSet::new(), RandomState::new());
        for node in self.driver.primaries()? {
            let mut cursor = Bytes::from_static(b"0");
            loop {
                // A cursor means nothing to another server, nor to the same one started again.
                let command = Command::new("SCAN")
                    .once()
                    .arg(cursor)
                    .arg("MATCH")
                    .arg(format!("{}*", glob_escaped(start)))
                    .arg("COUNT")
                    .arg(number(STEP))
                    .arg("TYPE")
                    .arg("ReJSON-RL");
                let reply = self.driver.call_at("scan", &node, command).await?;
                let mut reply = reply.into_array().into_iter();
                cursor = reply.next().and_then(Reply::into_bytes).unwrap_or_default();
                let page = reply.next().unwrap_or(Reply::Nil).into_array();
                let keys = page.into_iter().filter_map(Reply::into_bytes);
                seen.extend(keys.map(|key| hasher.hash_one(&key)));
                if cursor.is_empty() || cursor == "0" {
                    break;
                }
            }
        }
        Ok(seen.len() as u64)
    }
}
