//! The indexes: they are there, of our schema, and know what is stored.

use bytes::Bytes;

use super::named::Holds;
use super::report::FindingKind;
use super::run::{Coverage, Doctor, MEMBERS};
use crate::error::Result;
use crate::redis::driver::Command;
use crate::redis::index;
use crate::redis::index::IndexProblem;

impl Doctor<'_> {
    pub(super) async fn indexes(&mut self) -> Result<()> {
        let keyspace = &self.store.keyspace;
        if !index::searches_all(self.store).await? {
            return Ok(());
        }
        let indexes = [keyspace.checkpoint_prefix(), keyspace.write_prefix()];
        for (position, index) in indexes.into_iter().enumerate() {
            let problem = index::index_problem(self.store, index).await?;
            // The nodes of a cluster do not take a list of keys.
            self.coverage[position].is_asked = !self.store.driver().is_cluster()
                && !matches!(problem, Some(IndexProblem::Missing | IndexProblem::Busy));
            let (kind, detail) = match problem {
                None => continue,
                Some(IndexProblem::Missing) => (FindingKind::IndexMissing, String::new()),
                Some(IndexProblem::Busy) => (FindingKind::IndexBusy, String::new()),
                Some(IndexProblem::Differs(how)) => (FindingKind::IndexDiffers, how),
            };
            let fix = match kind {
                FindingKind::IndexMissing => self.options.fix,
                FindingKind::IndexDiffers => self.options.fix && self.options.rebuild_indexes,
                _ => false,
            };
            if fix {
                self.coverage[position].is_asked = false;
                index::rebuild_index(self.store, index).await?;
            }
            self.found(kind, index.as_bytes(), detail, fix);
        }
        Ok(())
    }

    /// Asks an index whether it knows some documents.
    pub(super) async fn compare(&mut self, keys: &[Bytes], holds: Holds) -> Result<()> {
        let position = usize::from(holds == Holds::Writes);
        // A key with a NUL is known to an index, which cannot look it up: it takes the NUL for the
        // end.
        let keys = keys.iter().filter(|key| !key.contains(&0)).cloned();
        let keys: Vec<Bytes> = keys.collect();
        for slice in keys.chunks(MEMBERS) {
            if !self.coverage[position].is_asked {
                return Ok(());
            }
            let unknown = self.unknown_to(position, slice).await?;
            // What was put or removed since is not held against it.
            let there = self.are_there(unknown).await?;
            let unknown = if there.is_empty() {
                there
            } else {
                self.unknown_to(position, &there).await?
            };
            let coverage = &mut self.coverage[position];
            coverage.looked_at += slice.len() as u64;
            coverage.unknown += unknown.len() as u64;
        }
        Ok(())
    }

    async fn unknown_to(&mut self, position: usize, keys: &[Bytes]) -> Result<Vec<Bytes>> {
        let known = index::known_to(self.store, self.index_at(position), keys).await?;
        let Some(known) = known else {
            self.coverage[position].is_asked = false;
            return Ok(Vec::new());
        };
        let unknown = keys.iter().filter(|key| !known.contains(*key));
        Ok(unknown.cloned().collect())
    }

    fn index_at(&self, position: usize) -> &str {
        let keyspace = &self.store.keyspace;
        [keyspace.checkpoint_prefix(), keyspace.write_prefix()][position]
    }

    async fn are_there(&self, keys: Vec<Bytes>) -> Result<Vec<Bytes>> {
        let steps = keys
            .iter()
            .map(|key| Command::on("EXISTS", key.clone()).into());
        let replies = self.store.pipeline("doctor", steps.collect()).await?;
        let mut there = Vec::new();
        for (key, reply) in keys.into_iter().zip(replies) {
            if reply?.as_int() == Some(1) {
                there.push(key);
            }
        }
        Ok(there)
    }

    /// Reports indexes that do not know what is stored, and makes them again if asked.
    pub(super) async fn compared(&mut self) -> Result<()> {
        for position in 0..self.coverage.len() {
            let Coverage {
                looked_at, unknown, ..
            } = self.coverage[position];
            if unknown == 0 {
                continue;
            }
            let index = self.index_at(position).to_owned();
            let stats = index::index_stats(self.store, &index).await?;
            // What it could not index is reported as such, and would not be taken the next time.
            if stats.is_some_and(|stats| stats.failures >= unknown) {
                continue;
            }
            if self.options.fix {
                index::rebuild_index(self.store, &index).await?;
            }
            let detail = format!("it lacks {unknown} of {looked_at} documents");
            let kind = FindingKind::IndexIncomplete;
            self.found(kind, index.as_bytes(), detail, self.options.fix);
        }
        Ok(())
    }
}
