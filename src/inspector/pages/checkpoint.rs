//! A checkpoint: what changed against its parent, its channels, its pending writes, its JSON.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::super::failure::Failure;
use super::super::links::{Links, checkpoint_query};
use super::super::parameters::Parameters;
use super::super::parts::{Id, ago, count, number, short_id, size, status};
use super::super::plot::share;
use super::super::site::{Site, Visit};
use super::changed::{changed, message, readable, value};
use super::questions::questions;
use super::{Page, Tab, or_failed, page};
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::codec::RawJson;
use crate::id::CheckpointId;
use crate::inspect::changes;
use crate::inspect::interrupts;
use crate::inspect::messages::messages;
use crate::inspect::status::of_checkpoint;
use crate::inspect::time::made;
use crate::inspect::values::{self, Channel, Readable};

/// How many of the newest messages of a channel are shown.
const MAX_MESSAGES: usize = 100;

/// How many pending writes are shown.
const MAX_WRITES: usize = 200;

pub(in super::super) async fn show(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let content = content(&site, &visit, &parameters).await;
    let content = content.map_err(&failed)?;
    Ok(page(&site, &visit, Tab::Other, "Checkpoint", &content))
}

async fn content(site: &Site, visit: &Visit, parameters: &Parameters) -> Result<Markup, Failure> {
    let config = parameters.checkpoint(&visit.viewer, "checkpoint")?;
    let tuple = site.checkpoint(&config).await?;
    let parent = match &tuple.parent_config {
        Some(parent) => site.look(parent).await?,
        None => None,
    };
    let open = interrupts::innermost(&site.saver, &tuple).await?;
    let links = site.links();
    let thread = &tuple.config.thread_id;
    let id = tuple.checkpoint.id().as_str();
    Ok(html! {
        p.crumbs {
            a href=(links.page("", &[])) { "Threads" } " / "
            a href=(links.thread(thread)) { (Id(thread.as_str())) } " / "
        }
        h1 { "Checkpoint " (short_id(id)) }
        (facts(links, &tuple))
        (actions(links, visit, &tuple))
        @if !open.is_empty() { (questions(links, thread, &open)) }
        h2 #changes { "What changed" }
        (against_parent(&tuple, parent.as_ref())?)
        h2 #channels { "Channels" }
        (channels(&tuple)?)
        h2 #writes { "Pending writes " span.faint { (number(tuple.pending_writes.len() as u64)) } }
        (writes(&tuple.pending_writes))
        h2 #metadata { "Metadata" }
        (value(&tuple.metadata.to_json()))
        h2 #versions { "Versions" }
        (versions(&tuple))
        h2 #raw { "Raw JSON" }
        details { summary { "The checkpoint as it is stored" } (value(&tuple.checkpoint.to_json())) }
        p { a href=(links.of_checkpoint("raw", &tuple.config)) { "All of it" } }
    })
}

fn facts(links: Links<'_>, tuple: &CheckpointTuple) -> Markup {
    let metadata = &tuple.metadata;
    let source: Option<String> = metadata.get("source").ok().flatten();
    let step: Option<i64> = metadata.get("step").ok().flatten();
    let run: Option<String> = metadata.get("run_id").ok().flatten();
    let namespace = tuple.config.namespace();
    html! {
        dl.facts {
            dt { "Id" } dd { (Id(tuple.checkpoint.id().as_str())) }
            dt { "Namespace" } dd { @if namespace.is_root() { span.faint { "root" } } @else { (Id(namespace.as_str())) } }
            dt { "Parent" } dd {
                @match &tuple.parent_config {
                    Some(parent) => a href=(links.checkpoint(parent)) { (short_id(parent.checkpoint_id.as_ref().map_or("", |id| id.as_str()))) },
                    None => span.faint { "none" },
                }
            }
            dt { "Made" } dd { (ago(made(&tuple.checkpoint))) }
            @if let Some(step) = step { dt { "Step" } dd { (step) } }
            @if let Some(source) = &source { dt { "Source" } dd { (Id(source)) } }
            @if let Some(run) = &run { dt { "Run" } dd { (Id(run)) } }
            dt { "Status" } dd { (status(of_checkpoint(tuple).status)) }
        }
    }
}

fn actions(links: Links<'_>, visit: &Visit, tuple: &CheckpointTuple) -> Markup {
    let config = &tuple.config;
    html! {
        div.actions {
            @if visit.viewer.may_write && config.namespace().is_root() {
                a.button href=(links.of_checkpoint("copy", config)) { "Copy from here…" }
            }
            form.inline action=(links.page("compare", &[])) {
                input type="hidden" name="of" value=(checkpoint_query(config));
                label { span.hidden { "The id of the other checkpoint" } input type="text" name="with" placeholder="id of another checkpoint" required autocomplete="off" spellcheck="false"; }
                button type="submit" { "Compare" }
            }
        }
    }
}

fn against_parent(
    tuple: &CheckpointTuple,
    parent: Option<&CheckpointTuple>,
) -> Result<Markup, Failure> {
    Ok(match (parent, &tuple.parent_config) {
        (Some(parent), _) => changed(&changes::changes(&parent.checkpoint, &tuple.checkpoint)?),
        (None, Some(_)) => {
            html! { p.empty { "The parent is gone: it has expired, or was pruned." } }
        }
        (None, None) => html! { p.empty { "It is the first: all below is new." } },
    })
}

fn channels(tuple: &CheckpointTuple) -> Result<Markup, Failure> {
    let channels = values::channels(&tuple.checkpoint)?;
    let versions = tuple.checkpoint.channel_versions().unwrap_or_default();
    let largest = channels.iter().map(|one| one.bytes).max().unwrap_or(0);
    Ok(html! {
        @if channels.is_empty() { p.empty { "No channel has a value." } }
        @for channel in &channels {
            details.channel data-key={ "channel " (channel.name) } data-channel=(channel.name) {
                summary {
                    (Id(&channel.name)) " "
                    span.facts {
                        (share(channel.bytes, largest)) " "
                        span.number { (size(channel.bytes)) } " "
                        @if let Some(version) = versions.get(&channel.name) {
                            span.faint title="The version" { (Id(&super::super::parts::cut(&version.to_string(), 20))) }
                        }
                    }
                }
                (channel_value(channel))
            }
        }
    })
}

fn channel_value(channel: &Channel) -> Markup {
    let found = channel.value.json().and_then(messages);
    let Some(found) = found else {
        return readable(&channel.value);
    };
    let before = found.len().saturating_sub(MAX_MESSAGES);
    html! {
        @if before > 0 {
            p.hint { (count(before as u64, "earlier message")) " not shown; the raw JSON has all" }
        }
        @for (position, one) in found.iter().enumerate().skip(before) {
            (message(one, Some(position)))
        }
    }
}

fn writes(writes: &[PendingWrite]) -> Markup {
    html! {
        @if writes.is_empty() { p.empty { "There are none." } }
        @for write in writes.iter().take(MAX_WRITES) {
            details.channel data-key={ "write " (write.task_id.as_str()) " " (write.idx) } data-write=(write.channel) {
                summary {
                    (Id(&write.channel)) " " span.faint { "task " (short_id(write.task_id.as_str())) }
                    span.facts { span.badge { (Id(&write.value.type_name)) } " " span.number { (size(write.value.blob.len() as u64)) } }
                }
                dl.facts {
                    dt { "Task" } dd { (Id(write.task_id.as_str())) }
                    @if !write.task_path.is_empty() { dt { "Path" } dd { (Id(&write.task_path)) } }
                    dt { "Index" } dd { (write.idx) }
                }
                (readable(&values::readable(&write.value)))
            }
        }
        @if writes.len() > MAX_WRITES {
            p.hint { "… and " (count((writes.len() - MAX_WRITES) as u64, "more write")) }
        }
    }
}

fn versions(tuple: &CheckpointTuple) -> Markup {
    let fields = tuple.checkpoint.fields();
    let field = |name: &str| fields.get(name).cloned();
    html! {
        @for (name, title) in [("channel_versions", "Versions of the channels"), ("versions_seen", "Versions that each node has seen")] {
            details { summary { (title) }
                @match field(name) {
                    Some(json) => (value(&json)),
                    None => p.empty { "There are none." },
                }
            }
        }
    }
}

/// Two checkpoints of a thread, side by side.
pub(in super::super) async fn compare(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let content = compared(&site, &visit, &parameters).await;
    let content = content.map_err(&failed)?;
    Ok(page(&site, &visit, Tab::Other, "Compare", &content))
}

async fn compared(site: &Site, visit: &Visit, parameters: &Parameters) -> Result<Markup, Failure> {
    // A form has the first in one field, encoded, as it would change line breaks in it.
    let of = Parameters::parse(parameters.get("of").as_bytes());
    let named = if parameters.get("of").is_empty() {
        parameters
    } else {
        &of
    };
    let one = named.checkpoint(&visit.viewer, "checkpoint")?;
    let other = CheckpointId::new(parameters.get("with").trim());
    let other = other.map_err(|_| Failure::no_such_checkpoint())?;
    let other = one.clone().with_checkpoint(other);
    let (one, other) = tokio::try_join!(site.checkpoint(&one), site.checkpoint(&other))?;
    // From the older to the newer.
    let (from, to) = if one.checkpoint.id() <= other.checkpoint.id() {
        (one, other)
    } else {
        (other, one)
    };
    let links = site.links();
    let thread = &to.config.thread_id;
    let described = |tuple: &CheckpointTuple| {
        let step: Option<i64> = tuple.metadata.get("step").ok().flatten();
        html! {
            a href=(links.checkpoint(&tuple.config)) { (Id(tuple.checkpoint.id().as_str())) }
            @if let Some(step) = step { " " span.faint { "step " (step) } }
            ", " (ago(made(&tuple.checkpoint)))
        }
    };
    Ok(html! {
        p.crumbs {
            a href=(links.page("", &[])) { "Threads" } " / "
            a href=(links.thread(thread)) { (Id(thread.as_str())) } " / "
        }
        h1 { "Compare" }
        dl.facts { dt { "From" } dd { (described(&from)) } dt { "To" } dd { (described(&to)) } }
        (changed(&changes::changes(&from.checkpoint, &to.checkpoint)?))
    })
}

/// A checkpoint as it is stored, with its metadata and pending writes, as JSON.
pub(in super::super) async fn raw(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let config = parameters.checkpoint(&visit.viewer, "checkpoint");
    let config = config.map_err(&failed)?;
    let tuple = site.checkpoint(&config).await.map_err(&failed)?;
    Ok(raw_json(&tuple))
}

fn raw_json(tuple: &CheckpointTuple) -> Response {
    let mut text = String::from("{\"checkpoint\":");
    text.push_str(tuple.checkpoint.to_json().as_str());
    text.push_str(",\"metadata\":");
    text.push_str(tuple.metadata.to_json().as_str());
    text.push_str(",\"pending_writes\":[");
    for (position, write) in tuple.pending_writes.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        let value = match values::readable(&write.value) {
            Readable::Json(json) => json,
            // A value without a JSON form is named by its type and size.
            opaque @ Readable::Opaque { .. } => encoded(&opaque.text()),
        };
        let head = serde_json::json!({
            "task_id": write.task_id,
            "task_path": write.task_path,
            "idx": write.idx,
            "channel": write.channel,
            "type": write.value.type_name,
        });
        let head = head.to_string();
        text.push_str(&head[..head.len() - 1]);
        text.push_str(",\"value\":");
        text.push_str(value.as_str());
        text.push('}');
    }
    text.push_str("]}");
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn encoded(text: &str) -> RawJson {
    // Text always has a JSON form.
    RawJson::encode(text).unwrap_or_else(|_| RawJson::trusted("null"))
}
