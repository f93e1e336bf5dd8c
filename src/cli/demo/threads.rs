//! The threads of the demo: an export of what LangGraph programs left, with its times shifted.
//!
//! `python/tests/browser/record_demo.py` makes the file. Checkpoint ids hold times, too, and order
//! checkpoints: each is shifted by the same time, wherever it occurs. The ids of tasks stay: LangGraph
//! derives them from those of checkpoints, which matters only to who resumes a thread, and nobody
//! has the graphs of these.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::cli::failure::{Failure, Outcome};
use crate::cli::item_store::ItemStore;
use crate::cli::record::{Item, Record};
use crate::cli::ttl::TtlRule;
use crate::cli::verify::{Event, Line, Verifier, next_line};
use crate::codec::{RawJson, RawObject};
use crate::error::Error;
use crate::{RedisSaver, Result};

const RECORDED: &[u8] = include_bytes!("threads.jsonl.zst");

/// The largest size of the export.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How long before now the newest checkpoint is.
const AGE: Duration = Duration::from_secs(90);
/// The start of 1970 in the ticks of a UUIDv6, which are 100 ns and count from 1582.
const UNIX_EPOCH_TICKS: i64 = 0x01b2_1dd2_1381_4000;

/// Stores the threads.
pub(super) async fn store(saver: &RedisSaver) -> Outcome {
    let lines = recorded()?;
    let shift = Shift::to(&lines, SystemTime::now())?;
    let (mut threads, mut items) = (Vec::new(), Vec::new());
    for line in lines {
        match Record::parse(shift.line(&line)?)? {
            Record::Item(item) => items.push((item, line.len())),
            Record::Thread(_) => threads.push(std::mem::take(&mut items)),
            Record::Header(_) | Record::End(_) => {}
        }
    }
    // The thread that is written last is the one that was last written to.
    threads.sort_by_cached_key(|items| items.iter().filter_map(|(item, _)| ticks(item)).max());
    let mut store = ItemStore::new(saver, TtlRule::Remaining);
    for items in threads {
        for (item, bytes) in items {
            store.take(item, bytes).await?;
        }
        store.end_thread().await?;
    }
    Ok(())
}

/// When a checkpoint was made.
fn ticks(item: &Item) -> Option<i64> {
    match item {
        Item::Checkpoint(checkpoint) => ticks_of(checkpoint.tuple.checkpoint.id().as_str()),
        Item::Writes(_) | Item::Blob(_) => None,
    }
}

/// The lines of the export, verified.
fn recorded() -> Outcome<Vec<Bytes>> {
    let damaged = |what: String| Failure::Damaged(format!("the demo's threads {what}"));
    let text = zstd::bulk::decompress(RECORDED, MAX_BYTES)
        .map_err(|error| damaged(format!("cannot be decompressed: {error}")))?;
    let (mut reader, mut verifier, mut lines) = (&*text, Verifier::default(), Vec::new());
    while let Some(Line::Complete(line)) =
        next_line(&mut reader).map_err(|error| damaged(format!("cannot be read: {error}")))?
    {
        if let Event::Done(_) = verifier.take(&line)? {
            return Ok(lines);
        }
        lines.push(line);
    }
    Err(damaged("are truncated".to_owned()))
}

/// A change of all times by the same duration.
struct Shift {
    ticks: i64,
    /// The new id of each checkpoint.
    ids: HashMap<String, String>,
}

impl Shift {
    /// So that the newest checkpoint is a moment old.
    fn to(lines: &[Bytes], now: SystemTime) -> Result<Self> {
        let mut ids = HashMap::new();
        for line in lines {
            if let Record::Item(Item::Checkpoint(checkpoint)) = Record::parse(line.clone())? {
                let id = checkpoint.tuple.checkpoint.id().as_str().to_owned();
                ids.extend(ticks_of(&id).map(|ticks| (id, ticks)));
            }
        }
        let since_1970 = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(AGE);
        let now =
            UNIX_EPOCH_TICKS + i64::try_from(since_1970.as_nanos() / 100).unwrap_or(i64::MAX / 2);
        let ticks = ids.values().max().map_or(0, |newest| now - newest);
        let ids = ids.into_iter().map(|(id, made)| {
            let new = with_ticks(&id, made + ticks);
            (id, new)
        });
        Ok(Self {
            ticks,
            ids: ids.collect(),
        })
    }

    /// A line with its ids and the time of its checkpoint shifted.
    fn line(&self, line: &Bytes) -> Result<Bytes> {
        let mut members = RawObject::parse(self.with_new_ids(line)?)?;
        let Some(checkpoint) = members.get("checkpoint") else {
            return Ok(members.to_json().bytes().clone());
        };
        let mut checkpoint: RawObject = checkpoint.decode()?;
        if let Some(ts) = checkpoint.get("ts") {
            let ts: String = ts.decode()?;
            checkpoint.insert("ts", RawJson::encode(&self.time(&ts)?)?);
        }
        members.insert("checkpoint", checkpoint.to_json());
        Ok(members.to_json().bytes().clone())
    }

    /// A time as LangGraph writes it, later.
    fn time(&self, ts: &str) -> Result<String> {
        let invalid = |error: jiff::Error| Error::invalid("ts", error.to_string());
        let time: jiff::Timestamp = ts.parse().map_err(invalid)?;
        let later = jiff::SignedDuration::from_micros(self.ticks / 10);
        let time = time.checked_add(later).map_err(invalid)?;
        Ok(time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string())
    }

    fn with_new_ids(&self, line: &Bytes) -> Result<String> {
        let text = std::str::from_utf8(line)
            .map_err(|error| Error::invalid("the line", error.to_string()))?;
        let mut shifted = String::with_capacity(text.len());
        let mut rest = text;
        // The first dash of an id follows its first eight digits.
        while let Some(at) = rest.find('-') {
            let id = at.checked_sub(8).and_then(|start| {
                let id = rest.get(start..start + 36)?;
                Some((start, self.ids.get(id)?))
            });
            let end = if let Some((start, new)) = id {
                shifted.push_str(&rest[..start]);
                shifted.push_str(new);
                start + 36
            } else {
                shifted.push_str(&rest[..=at]);
                at + 1
            };
            rest = &rest[end..];
        }
        shifted.push_str(rest);
        Ok(shifted)
    }
}

/// The 60 bits of time of a UUIDv6.
fn ticks_of(id: &str) -> Option<i64> {
    let digits = id.replace('-', "");
    if digits.len() != 32 || digits.as_bytes()[12] != b'6' {
        return None;
    }
    let high = i64::from_str_radix(digits.get(..12)?, 16).ok()?;
    let low = i64::from_str_radix(digits.get(13..16)?, 16).ok()?;
    Some(high << 12 | low)
}

/// A UUIDv6 with another time.
fn with_ticks(id: &str, ticks: i64) -> String {
    let (high, middle, low) = (ticks >> 28, (ticks >> 12) & 0xffff, ticks & 0xfff);
    format!("{high:08x}-{middle:04x}-6{low:03x}{}", &id[18..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKS_A_SECOND: i64 = 10_000_000;

    #[test]
    fn ids_and_times_are_shifted_together() {
        let lines = recorded().unwrap();
        let now = SystemTime::now();
        let shift = Shift::to(&lines, now).unwrap();
        let mut newest = None;
        for line in &lines {
            let before = Record::parse(line.clone()).unwrap();
            let after = Record::parse(shift.line(line).unwrap()).unwrap();
            let (Record::Item(Item::Checkpoint(before)), Record::Item(Item::Checkpoint(after))) =
                (before, after)
            else {
                continue;
            };
            let later = Duration::from_nanos(u64::try_from(shift.ticks).unwrap() * 100);
            let (old, new) = (before.tuple.checkpoint, after.tuple.checkpoint);
            let made = new.id().time().unwrap();
            assert_eq!(made, old.id().time().unwrap() + later);
            let ts = |ts: String| SystemTime::from(ts.parse::<jiff::Timestamp>().unwrap());
            let apart = ts(new.ts().unwrap())
                .duration_since(ts(old.ts().unwrap()))
                .unwrap();
            assert!(later.abs_diff(apart) < Duration::from_micros(2));
            assert_eq!(
                new.ts().unwrap().len(),
                "2026-11-30T12:33:43.688000+00:00".len()
            );
            // Nothing still names a checkpoint of before.
            let text = format!("{:?}{:?}", after.tuple.metadata, after.tuple.parent_config);
            assert!(shift.ids.keys().all(|id| !text.contains(id.as_str())));
            newest = newest.max(Some(made));
        }
        let age = now.duration_since(newest.unwrap()).unwrap();
        assert!(age.abs_diff(AGE) < Duration::from_millis(1));
    }

    #[test]
    fn what_only_looks_like_an_id_stays() {
        let id = "1f1ecba4-7be4-64c0-bfff-382462a63fcb";
        let new = with_ticks(id, ticks_of(id).unwrap() + TICKS_A_SECOND);
        assert_eq!(ticks_of(&new), Some(ticks_of(id).unwrap() + TICKS_A_SECOND));
        let shift = Shift {
            ticks: TICKS_A_SECOND,
            ids: HashMap::from([(id.to_owned(), new.clone())]),
        };
        let other = "1f1ecba4-7be4-64c0-bfff-000000000000";
        let line = format!("-a-{other}-{id}é-{id}|reader:{other}-");
        assert_eq!(
            shift.with_new_ids(&Bytes::from(line.clone())).unwrap(),
            line.replace(id, &new)
        );
        assert_eq!(ticks_of("48b6e971-07bb-7489-d25d-fee7db73c1e6"), None);
        assert_eq!(ticks_of("6"), None);
    }
}
