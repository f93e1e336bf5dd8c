//! Open questions, with what to paste to answer them.

use maud::{Markup, html};

use super::super::links::Links;
use super::super::parts::{Id, Stored, ago, code, short_id};
use crate::config::CheckpointConfig;
use crate::id::ThreadId;
use crate::inspect::interrupts::{self, OpenInterrupt};
use crate::inspect::values::Readable;
use crate::printable;

/// The open questions of a thread. No page answers them: that needs the graph.
pub(in super::super) fn questions(
    links: Links<'_>,
    thread: &ThreadId,
    open: &[OpenInterrupt],
) -> Markup {
    html! {
        @for interrupt in open {
            section.notice.waiting aria-label="Question" data-interrupt=[interrupt.id.as_deref()] {
                (head(links, thread, interrupt))
                (question(&interrupt.value))
                @if let Some(schema) = &interrupt.response_schema {
                    details { summary { "Schema of the answer" } pre tabindex="0" { (Stored(&printable::pretty(schema.as_str()))) } }
                }
                @if interrupt.answered {
                    p.lead { "An answer was given, and the task has not used it up to now: a run goes on with it, or has died with it." }
                }
                (answer(thread, open, interrupt))
            }
        }
    }
}

fn head(links: Links<'_>, thread: &ThreadId, interrupt: &OpenInterrupt) -> Markup {
    let config = CheckpointConfig::of_checkpoint(
        thread.clone(),
        interrupt.namespace.clone(),
        interrupt.checkpoint_id.clone(),
    );
    html! {
        p {
            strong { "Waits for an answer" }
            @if let Some(node) = &interrupt.node { " in " (Id(node)) }
            @if !interrupt.namespace.is_root() { " of the subgraph " (Id(interrupt.namespace.as_str())) }
            ", since " (ago(interrupt.since)) " at "
            a href=(links.checkpoint(&config)) { (short_id(interrupt.checkpoint_id.as_str())) }
        }
    }
}

fn question(value: &Readable) -> Markup {
    let text = value.json().map(|json| printable::pretty(json.as_str()));
    let is_text = value
        .json()
        .is_some_and(|json| json.as_str().starts_with('"'));
    html! {
        @match text {
            Some(json) if !is_text => pre tabindex="0" { (Stored(&json)) },
            _ => blockquote { (Stored(&value.text())) },
        }
    }
}

/// What to paste into a program that has the graph.
fn answer(thread: &ThreadId, open: &[OpenInterrupt], interrupt: &OpenInterrupt) -> Markup {
    let config = interrupts::python_config(&CheckpointConfig::of_thread(thread.clone()));
    html! {
        @match interrupts::python_command(open, interrupt) {
            Some(command) => {
                p.hint { "Answer it from a program that has the graph:" }
                (code(&format!("config = {config}\ngraph.invoke({command}, config)")))
            },
            None => p.hint { "Other tasks wait as well and this one has no id, so LangGraph cannot tell which is answered." },
        }
    }
}
