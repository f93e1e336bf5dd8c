//! The lanes of a tree that is drawn from its leaves, newest first, as `git log --graph` places
//! commits: each checkpoint in the lane of its child.
//!
//! Only the parent that each open lane waits for is held, so that memory is bounded by the number
//! of forks, not by the length of the history.

use crate::id::CheckpointId;

/// The open lanes of a tree.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// The checkpoint that each lane waits for; `None` for a lane that is free.
    waiting: Vec<Option<CheckpointId>>,
}

/// Where a checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its lane, counted from 0.
    pub(crate) lane: usize,
    /// The lanes of its children, which end here, its own among them; empty for a leaf.
    pub(crate) children: Vec<usize>,
    /// Which lanes are open above it, before its children's meet.
    pub(crate) above: Vec<bool>,
    /// Which lanes are open beside it.
    pub(crate) beside: Vec<bool>,
    /// Whether its lane goes on to its parent.
    pub(crate) has_parent: bool,
}

impl Lanes {
    /// Places the next checkpoint, older than all before.
    pub(crate) fn place(&mut self, id: &CheckpointId, parent: Option<&CheckpointId>) -> Place {
        let children: Vec<usize> = (0..self.waiting.len())
            .filter(|lane| self.waiting[*lane].as_ref() == Some(id))
            .collect();
        let lane = if let Some(lane) = children.first() {
            *lane
        } else if let Some(free) = self.waiting.iter().position(Option::is_none) {
            free
        } else {
            self.waiting.push(None);
            self.waiting.len() - 1
        };
        let above = self.open();
        for joined in children.iter().skip(1) {
            self.waiting[*joined] = None;
        }
        let mut beside = self.open();
        beside[lane] = true;
        self.waiting[lane] = parent.cloned();
        while self.waiting.last().is_some_and(Option::is_none) {
            self.waiting.pop();
        }
        Place {
            lane,
            children,
            above,
            beside,
            has_parent: parent.is_some(),
        }
    }

    fn open(&self) -> Vec<bool> {
        self.waiting.iter().map(Option::is_some).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> CheckpointId {
        CheckpointId::new(text).unwrap()
    }

    #[test]
    fn forks_have_lanes_of_their_own_until_they_meet() {
        let mut lanes = Lanes::default();
        let placed: Vec<_> = [("4", "2"), ("3", "2"), ("2", "1"), ("1", "")]
            .iter()
            .map(|(own, parent)| {
                let parent = (!parent.is_empty()).then(|| id(parent));
                let place = lanes.place(&id(own), parent.as_ref());
                (place.lane, place.children, place.has_parent)
            })
            .collect();
        assert_eq!(
            placed,
            [
                (0, vec![], true),
                (1, vec![], true),
                (0, vec![0, 1], true),
                (0, vec![0], false)
            ]
        );
    }

    #[test]
    fn a_parent_that_is_gone_leaves_its_lane_open() {
        let mut lanes = Lanes::default();
        for own in ["3", "2", "1"] {
            lanes.place(&id(own), Some(&id("0")));
        }
        assert_eq!(lanes.waiting.len(), 3);
    }
}
