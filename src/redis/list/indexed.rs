//! The ids of all threads, as the index has them.

use std::collections::{HashSet, VecDeque};

use crate::error::Result;
use crate::id::CheckpointId;
use crate::redis::index;
use crate::redis::index::{Page, Rows, indexed};
use crate::redis::keys::CheckpointRef;
use crate::redis::store::Store;

/// The ids of all threads, as the index has them, newest first.
pub(super) struct IndexedIds {
    rows: Rows,
    ids: VecDeque<CheckpointRef>,
    /// Those that the index knows and cannot open, from where the first of them stands.
    pub(super) unopened: Option<VecDeque<CheckpointRef>>,
    /// Whether a row says nothing, as that of such a one does.
    is_silent: bool,
    /// How many the index was asked for: if some of them turn out to be gone, it is asked for all.
    limit: Option<usize>,
    pub(super) given: Given,
    /// Whether the index is asked again, so that what was given must be left out.
    again: bool,
    /// Whether something was given since it was asked last.
    progress: bool,
}

/// What comes next of them.
pub(super) enum Next {
    Id(CheckpointRef),
    End,
    /// Those are needed that the index cannot open.
    Unopened,
    /// Search does not serve any more.
    Lost,
}

/// How far a list over all has come: everything newer than the last id, and of those with that id
/// the ones named.
#[derive(Default)]
pub(super) struct Given {
    last: Option<CheckpointId>,
    at_last: HashSet<CheckpointRef>,
}

impl Given {
    pub(super) fn add(&mut self, one: &CheckpointRef) {
        if self.last.as_ref() != Some(&one.checkpoint_id) {
            self.last = Some(one.checkpoint_id.clone());
            self.at_last.clear();
        }
        self.at_last.insert(one.clone());
    }

    pub(super) fn has(&self, one: &CheckpointRef) -> bool {
        let last = self.last.as_ref();
        last.is_some_and(|last| one.checkpoint_id > *last) || self.at_last.contains(one)
    }
}

impl IndexedIds {
    pub(super) fn new(store: &Store, limit: Option<usize>) -> Self {
        Self {
            rows: index::newest_checkpoints(store, limit),
            ids: VecDeque::new(),
            unopened: None,
            is_silent: false,
            limit,
            given: Given::default(),
            again: false,
            progress: false,
        }
    }

    pub(super) async fn next(
        &mut self,
        store: &Store,
        before: Option<&CheckpointId>,
        within: &str,
    ) -> Result<Next> {
        while self.ids.is_empty() {
            match self.rows.next(store).await? {
                Page::Rows(page) => {
                    let rows: Vec<_> = page.iter().map(|row| indexed(row)).collect();
                    self.is_silent |= rows.contains(&None);
                    let rows = rows.into_iter().flatten();
                    self.ids.extend(
                        rows.filter(|one| before.is_none_or(|before| one.checkpoint_id < *before))
                            .filter(|one| one.thread_id.as_str().starts_with(within))
                            .map(|one| {
                                CheckpointRef::new(
                                    &one.thread_id,
                                    &one.namespace,
                                    &one.checkpoint_id,
                                )
                            })
                            .filter(|one| !(self.again && self.given.has(one))),
                    );
                    if self.is_silent && self.unopened.is_none() {
                        return Ok(Next::Unopened);
                    }
                }
                Page::End if self.limit.take().is_some() => self.ask_again(store),
                Page::End => break,
                Page::Lost if self.progress && index::search(store).await?.is_some() => {
                    self.ask_again(store);
                }
                Page::Lost => return Ok(Next::Lost),
            }
        }
        let mut none = VecDeque::new();
        let unopened = self.unopened.as_mut().unwrap_or(&mut none);
        let is_newer = match (self.ids.front(), unopened.front()) {
            (Some(one), Some(other)) => one.checkpoint_id < other.checkpoint_id,
            (None, _) => true,
            (Some(_), None) => false,
        };
        let next = if is_newer {
            unopened.pop_front()
        } else {
            self.ids.pop_front()
        };
        let Some(next) = next else {
            return Ok(Next::End);
        };
        self.given.add(&next);
        self.progress = true;
        Ok(Next::Id(next))
    }

    fn ask_again(&mut self, store: &Store) {
        self.rows = index::newest_checkpoints(store, None);
        self.again = true;
        self.progress = false;
    }
}
