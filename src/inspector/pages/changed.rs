//! What differs between two checkpoints, and the messages in it.

use maud::{Markup, html};

use super::super::parts::{Id, Stored, count, cut, number, size};
use crate::codec::RawJson;
use crate::inspect::changes::{ChannelChange, Kind, MessageChange, Part, ValueChange, What};
use crate::inspect::messages::{Block, Message, ToolCall};
use crate::inspect::values::{Readable, plain_text};
use crate::printable;

/// The length to which a value is shown, in characters.
const MAX_CHARS: usize = 4_000;

/// How many differences of a channel are shown.
const MAX_CHANGES: usize = 200;

/// The channels that differ.
pub(super) fn changed(changes: &[ChannelChange]) -> Markup {
    html! {
        @if changes.is_empty() { p.empty { "The values of all channels are the same." } }
        @for change in by_interest(changes) {
            section.change data-channel=(change.channel) data-kind=(word(change.kind)) {
                h3 {
                    span class={ "kind " (word(change.kind)) } { (word(change.kind)) } " "
                    (Id(&change.channel)) " "
                    span.faint.small { (sizes(change.bytes_before, change.bytes_after)) }
                }
                @match &change.what {
                    What::Messages { changes, unchanged } => {
                        @if *unchanged > 0 { p.hint { (count(*unchanged as u64, "message")) " unchanged" } }
                        @for change in changes.iter().take(MAX_CHANGES) { (message_change(change)) }
                        (rest(changes.len()))
                    },
                    What::Values(changes) => {
                        @for change in changes.iter().take(MAX_CHANGES) { (value_change(change)) }
                        (rest(changes.len()))
                    },
                    What::Opaque(from, to) => {
                        @if let Some(from) = from { div.removed { (readable(from)) } }
                        @if let Some(to) = to { div.added { (readable(to)) } }
                    },
                }
            }
        }
    }
}

/// Messages first, and the channels by which LangGraph runs the graph last.
fn by_interest(changes: &[ChannelChange]) -> Vec<&ChannelChange> {
    let mut sorted: Vec<_> = changes.iter().collect();
    sorted.sort_by_key(|change| {
        let is_internal =
            change.channel.starts_with("__") || change.channel.starts_with("branch:to:");
        let is_messages = matches!(change.what, What::Messages { .. });
        (is_internal, !is_messages)
    });
    sorted
}

fn rest(all: usize) -> Markup {
    html! {
        @if all > MAX_CHANGES {
            p.hint { "… and " (number((all - MAX_CHANGES) as u64)) " more" }
        }
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "added",
        Kind::Removed => "removed",
        Kind::Changed => "changed",
    }
}

fn sizes(before: Option<u64>, after: Option<u64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) if before != after => {
            format!("{} → {}", size(before), size(after))
        }
        (_, Some(one)) | (Some(one), None) => size(one),
        (None, None) => String::new(),
    }
}

fn message_change(change: &MessageChange) -> Markup {
    html! {
        @if let Some(from) = &change.from { div.removed { (message(from, Some(change.position))) } }
        @if let Some(to) = &change.to { div.added { (message(to, Some(change.position))) } }
    }
}

fn value_change(change: &ValueChange) -> Markup {
    html! {
        @if !change.path.is_empty() { p.path.mono { (Stored(&path(&change.path))) } }
        @if let Some(from) = &change.from { div.removed { (value(from)) } }
        @if let Some(to) = &change.to { div.added { (value(to)) } }
    }
}

/// A path as a program would write it.
fn path(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Member(name) => {
                text.push('[');
                text.push_str(&printable::quoted(name));
                text.push(']');
            }
            Part::Item(position) => {
                text.push('[');
                text.push_str(&position.to_string());
                text.push(']');
            }
        }
    }
    text
}

/// A message: who speaks, what is said, and the calls of tools.
pub(super) fn message(message: &Message, position: Option<usize>) -> Markup {
    html! {
        article.message data-role=(message.role) {
            header {
                span.role { (Stored(&message.role)) }
                @if let Some(name) = &message.name { " " (Id(name)) }
                @if let Some(result) = &message.result_of {
                    " " span.faint { "result of " (Id(&result.tool_call_id)) }
                    @if let Some(status) = &result.status { " " span.badge { (Stored(status)) } }
                }
                span.facts {
                    @if let Some(usage) = &message.usage {
                        span title="Tokens: input, output" { (number(usage.input)) " in · " (number(usage.output)) " out" } " "
                    }
                    @if let Some(model) = &message.model { span { (Id(model)) } " " }
                    @if let Some(id) = &message.id { span.faint { (Id(&cut(id, 20))) } " " }
                    @if let Some(position) = position { span.faint { "[" (position) "]" } }
                }
            }
            @for block in &message.content { (part(block)) }
            @for call in &message.tool_calls { (tool_call(call)) }
        }
    }
}

fn part(block: &Block) -> Markup {
    html! {
        @match block {
            Block::Text(text) => (long(text)),
            Block::Reasoning(text) => details.reasoning { summary { "Reasoning" } (long(text)) },
            Block::Other { kind, value: json } => details { summary { (Id(kind)) " " span.faint { (size(json.bytes().len() as u64)) } } (value(json)) },
        }
    }
}

fn tool_call(call: &ToolCall) -> Markup {
    html! {
        div.call data-tool=(call.name) {
            p { "calls " strong { (Id(&call.name)) } @if let Some(id) = &call.id { " " span.faint { (Id(id)) } } }
            (value(&call.arguments))
            @if let Some(error) = &call.error { p.said.failed { (Stored(error)) } }
        }
    }
}

/// Text, of which the rest is unfolded if it is long.
fn long(text: &str) -> Markup {
    let shown = cut(text, MAX_CHARS);
    html! {
        div.text { (Stored(&shown)) }
        @if shown.len() < text.len() {
            p.hint { "cut after " (number(MAX_CHARS as u64)) " characters; the raw JSON has all" }
        }
    }
}

/// A value as JSON, laid out.
pub(super) fn value(json: &RawJson) -> Markup {
    let text = if json.as_str().starts_with('"') {
        plain_text(json).into_owned()
    } else if json.bytes().len() > 16 * MAX_CHARS {
        // Not laid out to be cut.
        json.as_str().to_owned()
    } else {
        printable::pretty(json.as_str())
    };
    let shown = cut(&text, MAX_CHARS);
    html! {
        pre tabindex="0" { (Stored(&shown)) }
        @if shown.len() < text.len() {
            p.hint { "cut after " (number(MAX_CHARS as u64)) " characters of " (size(json.bytes().len() as u64)) "; the raw JSON has all" }
        }
    }
}

/// A value that may not be readable.
pub(super) fn readable(readable: &Readable) -> Markup {
    html! {
        @match readable {
            Readable::Json(json) => (value(json)),
            Readable::Opaque { .. } => p.opaque { (Stored(&readable.text())) },
        }
    }
}
