//! The tree of a history, drawn line by line as `git log --graph` draws commits.

use std::fmt::Write as _;

use crate::inspect::lanes::Place;

/// The part of the tree beside one checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// The line between the one before and this one, where lanes meet.
    pub(crate) joint: Option<String>,
    /// The line of the checkpoint.
    pub(crate) line: String,
}

/// Draws a checkpoint where it was placed.
pub(crate) fn draw(place: &Place) -> Drawn {
    let joint = (place.children.len() > 1).then(|| row(&place.above, place.lane, &place.children));
    let mut line = row(&place.beside, place.lane, &[]);
    line.replace_range(place.lane * 2..=place.lane * 2, "*");
    Drawn { joint, line }
}

/// One column a lane; lanes that join another bend towards it.
fn row(open: &[bool], into: usize, joining: &[usize]) -> String {
    let mut row = String::with_capacity(open.len() * 2);
    let last = joining.last().copied().unwrap_or(into);
    for (position, open) in open.iter().enumerate() {
        let joins = position > into && joining.contains(&position);
        let mark = match (joins, open) {
            (true, _) => '/',
            (false, true) => '|',
            (false, false) => ' ',
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CheckpointId;
    use crate::inspect::lanes::Lanes;

    fn drawn(history: &[(&str, &str)]) -> Vec<String> {
        let mut lanes = Lanes::default();
        let mut rows = Vec::new();
        for (id, parent) in history {
            let parent = (!parent.is_empty()).then(|| CheckpointId::new(parent).unwrap());
            let place = lanes.place(&CheckpointId::new(id).unwrap(), parent.as_ref());
            let drawn = draw(&place);
            rows.extend(drawn.joint.map(|joint| joint.trim_end().to_owned()));
            rows.push(format!("{} {id}", drawn.line.trim_end()));
        }
        rows
    }

    #[test]
    fn a_history_without_forks_is_one_lane() {
        assert_eq!(
            drawn(&[("3", "2"), ("2", "1"), ("1", "")]),
            ["* 3", "* 2", "* 1"]
        );
    }

    #[test]
    fn a_fork_meets_in_its_parent() {
        assert_eq!(
            drawn(&[("5", "4"), ("4", "2"), ("3", "2"), ("2", "1"), ("1", "")]),
            ["* 5", "* 4", "| * 3", "|_/", "* 2", "* 1"]
        );
    }

    #[test]
    fn three_forks_and_one_beside_them_keep_their_lanes() {
        assert_eq!(
            drawn(&[
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
}
