//! Colour and width, as the terminal has them.

use std::io::{self, IsTerminal};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When output has colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal that has them, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Also into a file or a pipe.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether stdout gets colours.
    pub(crate) fn applies(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
            }
        }
    }
}

/// The width of the terminal in columns; `None` if stdout is none, so that what others read is
/// never broken into lines.
pub(crate) fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let (width, _) = terminal_size::terminal_size_of(&stdout)?;
    Some(usize::from(width.0))
}

/// What a text is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    /// A heading.
    Heading,
    /// What is beside the point, such as ids.
    Faint,
    Added,
    Removed,
    /// What waits, or changed.
    Attention,
    Bad,
}

impl Ink {
    pub(crate) fn style(self) -> Style {
        let color = |color: AnsiColor| color.on_default();
        match self {
            Self::Plain => Style::new(),
            Self::Heading => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Added => color(AnsiColor::Green),
            Self::Removed | Self::Bad => color(AnsiColor::Red),
            Self::Attention => color(AnsiColor::Yellow),
        }
    }
}

/// Breaks a line of text at blanks into lines of a width, in columns; a word that is longer is
/// broken where the line ends.
pub(crate) fn wrapped(line: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = line;
    loop {
        let mut columns = 0;
        let mut blank = None;
        let mut end = None;
        for (position, character) in rest.char_indices() {
            columns += unicode_width::UnicodeWidthChar::width(character).unwrap_or(0);
            // A blank may be the first beyond the width.
            if character == ' ' && position > 0 {
                blank = Some(position);
            }
            if columns > width && position > 0 {
                end = Some(position);
                break;
            }
        }
        let Some(end) = end else {
            lines.push(rest);
            return lines;
        };
        let (taken, next) = match blank {
            Some(blank) => (blank, blank + 1),
            None => (end, end),
        };
        lines.push(&rest[..taken]);
        rest = &rest[next..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_at_blanks_and_loses_nothing_else() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("你好吗", 4), ["你好", "吗"]);
        assert_eq!(wrapped("  indented", 20), ["  indented"]);
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("界", 1), ["界"]);
    }
}
