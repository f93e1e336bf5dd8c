//! The pages before and after an action: what goes, and that it is done.

use axum::extract::State;
use maud::{Markup, html};

use super::super::failure::Failure;
use super::super::parameters::Parameters;
use super::super::parts::{Id, count, number, short_id, size, ttl};
use super::super::site::{Site, Visit};
use super::{Page, Tab, memory, or_failed, page};
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::id::ThreadId;
use crate::saver::ThreadSummary;

/// What can be done with a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Action {
    Copy,
    Pin,
    Unpin,
    Prune,
    Delete,
}

impl Action {
    pub(in super::super) const ALL: [Self; 5] = [
        Self::Copy,
        Self::Pin,
        Self::Unpin,
        Self::Prune,
        Self::Delete,
    ];

    /// The page of the action.
    pub(in super::super) fn path(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::Prune => "prune",
            Self::Delete => "delete",
        }
    }

    /// Whether something goes.
    pub(in super::super) fn removes(self) -> bool {
        matches!(self, Self::Prune | Self::Delete)
    }

    fn title(self) -> &'static str {
        match self {
            Self::Copy => "Copy from here",
            Self::Pin => "Pin",
            Self::Unpin => "Unpin",
            Self::Prune => "Prune",
            Self::Delete => "Delete",
        }
    }
}

pub(in super::super) async fn show(
    site: &Site,
    visit: &Visit,
    action: Action,
    parameters: &Parameters,
) -> Page {
    let failed = or_failed(site, visit);
    let content = content(site, visit, action, parameters).await;
    let content = content.map_err(&failed)?;
    Ok(page(site, visit, Tab::Other, action.title(), &content))
}

async fn content(
    site: &Site,
    visit: &Visit,
    action: Action,
    parameters: &Parameters,
) -> Result<Markup, Failure> {
    let thread = parameters.thread(&visit.viewer)?;
    let summary = site.summary(&thread).await?;
    let mut about = CheckpointConfig::of_thread(thread.clone());
    let fields = match action {
        Action::Copy => {
            let tuple = copied(site, visit, parameters).await?;
            about.checkpoint_id = Some(tuple.checkpoint.id().clone());
            copy(visit, &tuple)
        }
        Action::Pin => pin(&summary),
        Action::Unpin => unpin(&summary),
        Action::Prune => prune(site, &thread).await?,
        Action::Delete => delete(site, &thread, &summary).await?,
    };
    let links = site.links();
    let address = links.of_checkpoint(action.path(), &about);
    Ok(html! {
        p.crumbs {
            a href=(links.page("", &[])) { "Threads" } " / "
            a href=(links.thread(&thread)) { (Id(thread.as_str())) } " / "
        }
        h1 { (action.title()) }
        form.stacked method="post" action=(address) data-action=(action.path()) {
            input type="hidden" name="csrf" value=(visit.csrf);
            (fields)
            div.actions {
                button type="submit" class=(if action.removes() { "danger" } else { "" }) { (action.title()) }
                a.button href=(links.thread(&thread)) { "Cancel" }
            }
        }
    })
}

/// The checkpoint that is copied from.
async fn copied(
    site: &Site,
    visit: &Visit,
    parameters: &Parameters,
) -> Result<CheckpointTuple, Failure> {
    let config = parameters.checkpoint(&visit.viewer, "checkpoint")?;
    if !config.namespace().is_root() {
        return Err(Failure::new(
            axum::http::StatusCode::UNPROCESSABLE_ENTITY,
            "A thread begins with its root graph: copy from the checkpoint of the root that called the subgraph.",
        ));
    }
    site.checkpoint(&config).await
}

fn copy(visit: &Visit, tuple: &CheckpointTuple) -> Markup {
    let id = tuple.checkpoint.id().as_str();
    let suggested = format!("{}-copy", tuple.config.thread_id.as_str());
    html! {
        p {
            "A new thread gets the checkpoint " (short_id(id)) ", its ancestors, and what the next step needs of subgraphs. "
            "If it is the newest, its pending writes come along; otherwise the copy runs the step again. Nothing of this thread changes."
        }
        label for="target" { "The id of the new thread" }
        input #target type="text" name="target" value=(suggested) required autocomplete="off" spellcheck="false";
        @if !visit.viewer.prefix.is_empty() { p.hint { "It must start with " (Id(&visit.viewer.prefix)) "." } }
    }
}

fn pin(summary: &ThreadSummary) -> Markup {
    html! {
        p {
            "Nothing of the thread will expire until it is unpinned. "
            @if summary.ttl.is_some() { "Now it expires in " (ttl(summary.ttl)) "." } @else { "It has no time to live now." }
        }
    }
}

fn unpin(summary: &ThreadSummary) -> Markup {
    html! {
        p {
            "Everything of the thread gets the time to live that this service has, if it has one, and expires after it. "
            @if summary.ttl.is_some() { "Now it expires in " (ttl(summary.ttl)) "." } @else { "It has no time to live now." }
        }
    }
}

async fn prune(site: &Site, thread: &ThreadId) -> Result<Markup, Failure> {
    let prunable = match site.diagnostics() {
        Some(diagnostics) => Some(memory::prunable(diagnostics, thread).await?),
        None => None,
    };
    Ok(html! {
        p { "The oldest checkpoints of each namespace go, with their pending writes, but none that a kept one needs. This cannot be undone." }
        @if let Some(prunable) = prunable {
            ul { @for (name, progress) in prunable {
                li { (name) ": " strong { (count(progress.checkpoints, "checkpoint")) } " and " (count(progress.writes, "write")) " go" }
            } }
        }
        label for="keep" { "How many of the newest checkpoints of each namespace are kept" }
        input #keep type="number" name="keep" value="1" min="1" required;
    })
}

async fn delete(
    site: &Site,
    thread: &ThreadId,
    summary: &ThreadSummary,
) -> Result<Markup, Failure> {
    let taken = match site.diagnostics() {
        Some(diagnostics) => diagnostics.size_of(thread).await?,
        None => None,
    };
    Ok(html! {
        p {
            "The thread " (Id(thread.as_str())) " goes with everything it holds: "
            strong { (number(summary.checkpoints)) } " checkpoint" @if summary.checkpoints != 1 { "s" }
            @if let Some(taken) = taken { ", " @if taken.estimated { "about " } (size(taken.bytes)) }
            ", and all pending writes. This cannot be undone."
        }
    })
}

/// That an action is done.
pub(in super::super) async fn done(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let thread = parameters.thread(&visit.viewer).map_err(&failed)?;
    let (said, is_there) = match parameters.get("what") {
        "copy" => ("The copy is made.", true),
        "pin" => ("The thread is pinned.", true),
        "unpin" => ("The thread is unpinned.", true),
        "prune" => ("The thread is pruned.", true),
        "delete" => ("The thread is deleted.", false),
        _ => {
            let status = axum::http::StatusCode::NOT_FOUND;
            let failure = Failure::new(status, "There is no such page.");
            return Err(failed(failure));
        }
    };
    let links = site.links();
    let content = html! {
        h1 { "Done" }
        p.done role="status" { (said) }
        p {
            @if is_there { a href=(links.thread(&thread)) { (Id(thread.as_str())) } }
            @else { (Id(thread.as_str())) " · " a href=(links.page("", &[])) { "All threads" } }
        }
    };
    Ok(page(&site, &visit, Tab::Other, "Done", &content))
}
