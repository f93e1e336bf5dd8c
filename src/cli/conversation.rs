//! Prints messages and other values.

use super::failure::Outcome;
use super::output::Output;
use super::style::{Ink, wrapped};
use super::text::{count, cut, pretty, printable, printable_json, shown};
use crate::codec::RawJson;
use crate::inspect::messages::{Block, Message, ToolCall};
use crate::inspect::values::Readable;

/// How much is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    /// The length to which a text or a value is cut, in characters.
    pub(crate) chars: usize,
    /// How many of the newest messages are printed.
    pub(crate) messages: usize,
}

impl Amount {
    /// Everything.
    pub(crate) const ALL: Self = Self {
        chars: usize::MAX,
        messages: usize::MAX,
    };
}

/// Prints messages with their positions, the newest last.
pub(crate) fn say_messages(output: &mut Output, messages: &[Message], amount: Amount) -> Outcome {
    let skipped = messages.len().saturating_sub(amount.messages);
    if skipped > 0 {
        let before = count(skipped as u64, "message");
        let text = format!("    … {before} before; --full shows all");
        output.spans(&[(Ink::Faint, &text)])?;
    }
    for (position, message) in messages.iter().enumerate().skip(skipped) {
        say_message(output, ("    ", Ink::Plain), position, message, amount)?;
    }
    Ok(())
}

/// Prints one message: a line of who and what, and below it what is said, deeper than any such
/// line, so that no text looks like another message.
pub(crate) fn say_message(
    output: &mut Output,
    (sign, ink): (&str, Ink),
    position: usize,
    message: &Message,
    amount: Amount,
) -> Outcome {
    let head = format!("[{position}] {}", shown(&message.role));
    let details = details(message);
    let head_ink = if ink == Ink::Plain { Ink::Heading } else { ink };
    output.spans(&[(ink, sign), (head_ink, &head), (Ink::Faint, &details)])?;
    for block in &message.content {
        match block {
            Block::Text(text) => paragraph(output, text, ink, amount)?,
            Block::Reasoning(text) => {
                output.spans(&[(Ink::Faint, "        (reasoning)")])?;
                paragraph(output, text, Ink::Faint, amount)?;
            }
            Block::Other { kind, value } => {
                let text = one_line(value, amount);
                let text = format!("        ({}) {text}", shown(kind));
                output.spans(&[(Ink::Faint, &text)])?;
            }
        }
    }
    for call in &message.tool_calls {
        say_call(output, call, ink, amount)?;
    }
    Ok(())
}

/// What is known of a message beside what it says.
fn details(message: &Message) -> String {
    let mut details = String::new();
    let mut add = |text: String| details.push_str(&text);
    if let Some(name) = &message.name {
        add(format!(" {}", shown(name)));
    }
    if let Some(id) = &message.id {
        add(format!(" ({})", shown(id)));
    }
    if let Some(result) = &message.result_of {
        add(format!(", result of {}", shown(&result.tool_call_id)));
        if let Some(status) = &result.status {
            add(format!(": {}", shown(status)));
        }
    }
    if let Some(model) = &message.model {
        add(format!(", {}", shown(model)));
    }
    if let Some(usage) = message.usage {
        let tokens = count(usage.total, "token");
        add(format!(
            ", {tokens} ({} in, {} out)",
            usage.input, usage.output
        ));
    }
    details
}

fn say_call(output: &mut Output, call: &ToolCall, ink: Ink, amount: Amount) -> Outcome {
    let arguments = one_line(&call.arguments, amount);
    let text = format!("        calls {} {arguments}", shown(&call.name));
    let id = call.id.as_ref().map(|id| format!(" ({})", shown(id)));
    let error = call.error.as_ref();
    let error = error.map(|error| format!(", which cannot be read: {}", shown(error)));
    output.spans(&[
        (ink, text.as_str()),
        (Ink::Faint, id.as_deref().unwrap_or_default()),
        (Ink::Bad, error.as_deref().unwrap_or_default()),
    ])
}

fn one_line(value: &RawJson, amount: Amount) -> String {
    let text = printable_json(value.as_str());
    cut(&text, amount.chars).into_owned()
}

/// Prints text below a message, broken where the terminal ends.
fn paragraph(output: &mut Output, text: &str, ink: Ink, amount: Amount) -> Outcome {
    let text = cut(text, amount.chars);
    // What a terminal shows is what is counted.
    let text = printable(&text);
    let width = output.width().map(|width| width.saturating_sub(8).max(20));
    for line in text.lines() {
        let lines = match width {
            Some(width) => wrapped(line, width),
            None => vec![line],
        };
        for line in lines {
            output.spans(&[(Ink::Plain, "        "), (ink, line)])?;
        }
    }
    Ok(())
}

/// Prints a value as indented JSON.
pub(crate) fn say_value(output: &mut Output, value: &Readable, amount: Amount) -> Outcome {
    let text = match value {
        Readable::Json(json) => pretty(json.as_str()),
        Readable::Opaque { .. } => value.text().into_owned(),
    };
    for line in cut(&text, amount.chars).lines() {
        output.line(format!("    {line}"))?;
    }
    Ok(())
}
