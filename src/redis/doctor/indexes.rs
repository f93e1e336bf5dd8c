//! The indexes: they are there, and of our schema.

use super::{Doctor, FindingKind};
use crate::error::Result;
use crate::redis::index::IndexProblem;

impl Doctor<'_> {
    pub(super) async fn indexes(&mut self) -> Result<()> {
        let keyspace = &self.store.keyspace;
        if !self.store.searches_all().await? {
            return Ok(());
        }
        for index in [keyspace.checkpoint_prefix(), keyspace.write_prefix()] {
            let (kind, detail) = match self.store.index_problem(index).await? {
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
                self.store.rebuild_index(index).await?;
            }
            self.found(kind, index.as_bytes(), detail, fix);
        }
        Ok(())
    }
}
