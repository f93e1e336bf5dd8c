//! The small parts that pages are made of: ids, values, times, sizes.

use std::time::{Duration, SystemTime};

use maud::{Markup, Render, html};

use crate::inspect::status::Status;
use crate::printable;

/// Stored text, whatever it holds: what acts on a page or hides text is escaped. Line breaks stay.
pub(super) struct Stored<'a>(pub(super) &'a str);

impl Render for Stored<'_> {
    fn render_to(&self, buffer: &mut String) {
        printable::printable(self.0).as_ref().render_to(buffer);
    }
}

/// A stored id or name on one line; an unusual one as a JSON string in quotes.
pub(super) struct Id<'a>(pub(super) &'a str);

impl Render for Id<'_> {
    fn render_to(&self, buffer: &mut String) {
        buffer.push_str("<bdi class=\"id\">");
        printable::shown(self.0).as_ref().render_to(buffer);
        buffer.push_str("</bdi>");
    }
}

/// The id of a checkpoint, shortened to what tells it from its neighbours.
pub(super) fn short_id(id: &str) -> Markup {
    let is_uuid = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_graphic());
    html! {
        @if is_uuid {
            bdi.id title=(id) { (&id[..8]) span.faint { (&id[8..18]) } }
        } @else {
            (Id(&cut(id, 24)))
        }
    }
}

/// Text cut to a number of characters.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A size in bytes, with binary prefixes.
#[allow(clippy::cast_precision_loss)] // Three digits are shown.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_000.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if value < 10.0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// A number with its digits in groups.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun: `1 checkpoint`, `2 checkpoints`.
pub(super) fn count(many: u64, noun: &str) -> String {
    let plural = if many == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(many))
}

/// A duration in its largest units.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// When something was, as a time ago, with the exact time beside it.
pub(super) fn ago(time: Option<SystemTime>) -> Markup {
    let Some((time, stamp)) = time.and_then(|time| Some((time, stamp(time)?))) else {
        return html! { span.faint { "–" } };
    };
    let passed = SystemTime::now().duration_since(time).unwrap_or_default();
    let text = if passed < Duration::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", duration(passed))
    };
    html! { time datetime=(stamp.replace(' ', "T") + "Z") title={ (stamp) " UTC" } { (text) } }
}

/// A time in UTC, to the millisecond.
pub(super) fn stamp(time: SystemTime) -> Option<String> {
    let time = jiff::Timestamp::try_from(time).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

/// The time that is left until a thread expires.
pub(super) fn ttl(ttl: Option<Duration>) -> Markup {
    html! {
        @match ttl {
            Some(left) => span title={ "expires in " (left.as_secs()) " s" } { (duration(left)) },
            None => span.faint { "never" },
        }
    }
}

/// The status of a thread as a mark and a word.
pub(super) fn status(status: Status) -> Markup {
    let word = match status {
        Status::Interrupted => "waiting",
        Status::Error => "failed",
        Status::Idle => "idle",
        Status::Unfinished => "unfinished",
    };
    let title = match status {
        Status::Interrupted => "A task waits for an answer",
        Status::Error => "A task has failed",
        Status::Idle => "Nothing is left to run",
        Status::Unfinished => {
            "Nodes are left to run: a run goes on, was stopped, or has died; which of them is not stored"
        }
    };
    html! { span.status data-status=(status.as_str()) title=(title) { (word) } }
}

/// A list of names.
pub(super) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Markup {
    html! {
        @for (position, name) in names.into_iter().enumerate() {
            @if position > 0 { ", " }
            (Id(name))
        }
    }
}

/// Text to copy, with a button where scripts run.
pub(super) fn code(text: &str) -> Markup {
    html! { pre.copy tabindex="0" { code { (Stored(text)) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_is_shown_whatever_it_holds() {
        let hostile = "<script>alert(1)</script>\u{202e}\u{1b}[2J&\"'\0";
        for shown in [
            html! { (Stored(hostile)) }.into_string(),
            html! { (Id(hostile)) }.into_string(),
            code(hostile).into_string(),
            short_id(hostile).into_string(),
        ] {
            assert!(!shown.contains("<script"), "{shown}");
            assert!(shown.contains("&lt;script&gt;"), "{shown}");
            for hidden in ['\u{202e}', '\u{1b}', '\0'] {
                assert!(!shown.contains(hidden), "{shown}");
            }
        }
        let attribute = html! { a title=(hostile) {} }.into_string();
        assert_eq!(attribute.matches('"').count(), 2, "{attribute}");
    }

    #[test]
    fn sizes_numbers_and_durations_are_short() {
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(150 * 1_024 * 1_024), "150 MiB");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(123), "123");
        assert_eq!(count(1, "thread"), "1 thread");
        assert_eq!(duration(Duration::from_millis(1_250)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(7_200)), "2 h");
    }
}
