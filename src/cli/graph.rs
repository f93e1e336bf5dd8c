//! The tree of a history, drawn line by line as `git log --graph` draws commits: newest first, each
//! checkpoint in the lane of its child.
//!
//! Only the parent that each open lane waits for is held, so that memory is bounded by the number
//! of forks, not by the length of the history.

use std::fmt::Write as _;

use crate::id::CheckpointId;

/// The lanes of a tree that is drawn from its leaves.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// The checkpoint that each lane waits for; `None` for a lane that is free.
    lanes: Vec<Option<CheckpointId>>,
}

/// The part of the tree beside one checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// The line between the one before and this one, where lanes meet.
    pub(crate) joint: Option<String>,
    /// The line of the checkpoint.
    pub(crate) line: String,
    /// How many of those drawn before are its children.
    pub(crate) children: usize,
}

impl Graph {
    /// Draws the next checkpoint, older than all before.
    pub(crate) fn draw(&mut self, id: &CheckpointId, parent: Option<&CheckpointId>) -> Drawn {
        let waiting: Vec<usize> = (0..self.lanes.len())
            .filter(|lane| self.lanes[*lane].as_ref() == Some(id))
            .collect();
        let own = if let Some(lane) = waiting.first() {
            *lane
        } else if let Some(free) = self.lanes.iter().position(Option::is_none) {
            free
        } else {
            self.lanes.push(None);
            self.lanes.len() - 1
        };
        let joint = (waiting.len() > 1).then(|| self.row(own, &waiting));
        for joined in waiting.iter().skip(1) {
            self.lanes[*joined] = None;
        }
        let mut line = self.row(own, &[]);
        line.replace_range(own * 2..=own * 2, "*");
        self.lanes[own] = parent.cloned();
        while self.lanes.last().is_some_and(Option::is_none) {
            self.lanes.pop();
        }
        Drawn {
            joint,
            line,
            children: waiting.len(),
        }
    }

    /// One column a lane; lanes that join another bend towards it.
    fn row(&self, into: usize, joining: &[usize]) -> String {
        let mut row = String::with_capacity(self.lanes.len() * 2);
        let last = joining.last().copied().unwrap_or(into);
        for (position, lane) in self.lanes.iter().enumerate() {
            let joins = position > into && joining.contains(&position);
            let mark = match (joins, lane) {
                (true, _) => '/',
                (false, Some(_)) => '|',
                (false, None) => ' ',
            };
            // A joint runs from its lane to the one it joins.
            let after = if !joining.is_empty() && position >= into && position < last {
                '_'
            } else {
                ' '
            };
            // Writing to a string does not fail.
            let _ = write!(row, "{mark}{after}");
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(history: &[(&str, &str)]) -> Vec<String> {
        let mut graph = Graph::default();
        let mut lines = Vec::new();
        for (id, parent) in history {
            let parent = (!parent.is_empty()).then(|| CheckpointId::new(parent).unwrap());
            let drawn = graph.draw(&CheckpointId::new(id).unwrap(), parent.as_ref());
            lines.extend(drawn.joint.map(|joint| joint.trim_end().to_owned()));
            lines.push(format!("{} {id}", drawn.line.trim_end()));
        }
        lines
    }

    #[test]
    fn a_history_without_forks_is_one_lane() {
        assert_eq!(
            draw(&[("3", "2"), ("2", "1"), ("1", "")]),
            ["* 3", "* 2", "* 1"]
        );
    }

    #[test]
    fn a_fork_meets_in_its_parent() {
        assert_eq!(
            draw(&[("5", "4"), ("4", "2"), ("3", "2"), ("2", "1"), ("1", "")]),
            ["* 5", "* 4", "| * 3", "|_/", "* 2", "* 1"]
        );
    }

    #[test]
    fn three_forks_and_one_beside_them_keep_their_lanes() {
        assert_eq!(
            draw(&[
                ("6", "1"),
                ("5", "0"),
                ("4", "1"),
                ("3", "1"),
                ("1", ""),
                ("0", "")
            ]),
            [
                "* 6",
                "| * 5",
                "| | * 4",
                "| | | * 3",
                "|_|_/_/",
                "* | 1",
                "  * 0"
            ]
        );
    }

    #[test]
    fn a_parent_that_is_gone_leaves_its_lane_open() {
        let mut graph = Graph::default();
        for id in ["3", "2", "1"] {
            let gone = CheckpointId::new("0").unwrap();
            graph.draw(&CheckpointId::new(id).unwrap(), Some(&gone));
        }
        assert_eq!(graph.lanes.len(), 3);
    }
}
