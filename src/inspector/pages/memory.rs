//! What takes memory: the largest threads, and what fills one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use axum::extract::State;
use futures_util::TryStreamExt;
use maud::{Markup, html};

use super::super::failure::Failure;
use super::super::parameters::Parameters;
use super::super::parts::{Id, count, number, short_id, size, ttl};
use super::super::plot::share;
use super::super::site::{Site, Visit};
use super::super::store::Overview;
use super::{Page, Tab, or_failed, page};
use crate::config::CheckpointConfig;
use crate::diagnostics::{Diagnostics, Totals};
use crate::id::ThreadId;
use crate::inspect::values::{self, Channel};
use crate::options::{Progress, PruneStrategy};
use crate::saver::{CheckpointSaver, ThreadSummary};

/// How many of the largest threads are shown.
const LARGEST: usize = 25;

/// How long threads are counted to find the largest.
const TIME: Duration = Duration::from_secs(6);

/// How long it may take to find out what one prune would remove.
const PRUNABLE_TIME: Duration = Duration::from_secs(8);

/// How many channels of a thread are shown.
const MAX_CHANNELS: usize = 100;

pub(in super::super) async fn show(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let content = if parameters.get("id").is_empty() {
        all(&site, &visit, parameters.get("prefix")).await
    } else {
        one(&site, &visit, &parameters).await
    };
    let content = content.map_err(&failed)?;
    Ok(page(&site, &visit, Tab::Memory, "Memory", &content))
}

async fn all(site: &Site, visit: &Visit, asked: &str) -> Result<Markup, Failure> {
    let diagnostics = site.diagnostics();
    // What is said of the whole server is for keys that reach all of it.
    let totals = match diagnostics {
        Some(diagnostics) if visit.viewer.is_everywhere() => Some(diagnostics.totals().await?),
        _ => None,
    };
    let (largest, looked_at, ended) = match visit.viewer.within(asked) {
        Some(prefix) => largest(site, prefix).await?,
        None => (Vec::new(), 0, true),
    };
    let bytes = |thread: &Overview| match thread.size {
        Some(taken) => taken.bytes,
        None => thread.newest.as_ref().map_or(0, |newest| newest.bytes),
    };
    let most = largest.iter().map(bytes).max().unwrap_or(0);
    let links = site.links();
    Ok(html! {
        h1 { "Memory" }
        @if let Some(diagnostics) = diagnostics {
            p.lead { "Layout " (Id(diagnostics.layout())) "." }
        }
        @if let Some(totals) = &totals { (sums(totals)) }
        form.filters role="search" action=(links.page("memory", &[])) {
            label { span { "Id starts with" } input #filter type="search" name="prefix" value=(asked) autocomplete="off" spellcheck="false"; }
            button type="submit" { "Filter" }
        }
        h2 { "Largest threads" }
        p.hint {
            "Those with the most checkpoints of " (count(looked_at as u64, "thread")) " looked at"
            @if !ended { ", in the order in which they were written to last; there are more, which a prefix narrows" }
            ", ordered by what they take."
        }
        @if largest.is_empty() { p.empty { "No thread is found." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Largest threads" {
            table.largest {
                caption.hidden { "Largest threads" }
                thead { tr { th scope="col" { "Thread" } th.number scope="col" { "Memory" } th scope="col" { span.hidden { "Share" } } th.number scope="col" { "Checkpoints" } th.number scope="col" { "State" } th.number scope="col" { "Expires in" } } }
                tbody { @for thread in &largest {
                    tr data-row data-thread=(thread.summary.thread_id.as_str()) {
                        th scope="row" { a.primary href=(links.of_thread("memory", &thread.summary.thread_id)) { (Id(thread.summary.thread_id.as_str())) } }
                        td.number { @if thread.size.is_some_and(|size| size.estimated) { "≈ " } (size(bytes(thread))) }
                        td { (share(bytes(thread), most)) }
                        td.number { (number(thread.summary.checkpoints)) }
                        td.number { @if let Some(newest) = &thread.newest { (size(newest.bytes)) } @else { "–" } }
                        td.number { (ttl(thread.summary.ttl)) }
                    }
                } }
            }
            }
        }
        @if let Some(totals) = &totals { (sample(site, totals)) }
    })
}

/// The threads with the most checkpoints among those that are counted in time, the largest first;
/// how many were counted, and whether that is all.
async fn largest(site: &Site, prefix: &str) -> Result<(Vec<Overview>, usize, bool), Failure> {
    let begun = Instant::now();
    let mut threads = site.saver.threads(prefix);
    let mut kept: BinaryHeap<Reverse<(u64, ThreadId)>> = BinaryHeap::new();
    let (mut looked_at, mut ended) = (0, true);
    while let Some(summary) = threads.try_next().await? {
        looked_at += 1;
        kept.push(Reverse((summary.checkpoints, summary.thread_id)));
        if kept.len() > LARGEST {
            kept.pop();
        }
        if begun.elapsed() > TIME {
            ended = false;
            break;
        }
    }
    drop(threads);
    let mut summaries: Vec<ThreadSummary> = Vec::new();
    for Reverse((_, thread)) in kept {
        // It may have been deleted in the meantime.
        summaries.extend(site.saver.get_ref().summary(&thread).await?);
    }
    let mut largest = site.overviews(summaries).await?;
    largest.sort_by_key(|thread| Reverse(thread.size.map_or(0, |size| size.bytes)));
    Ok((largest, looked_at, ended))
}

fn sums(totals: &Totals) -> Markup {
    let sampled: u64 = totals.ttl.iter().map(|(_, number)| number).sum();
    html! {
        ul.strip aria-label="Totals" {
            @if let Some(threads) = totals.threads { li { "Threads " b { (number(threads)) } } }
            li { "Checkpoints " b { (number(totals.checkpoints)) } }
            @if let Some(bytes) = totals.checkpoint_bytes { li { "in about " b { (size(bytes)) } } }
            @if let Some(writes) = totals.writes { li { "Pending writes " b { (number(writes)) } } }
            @if let Some(bytes) = totals.write_bytes { li { "in about " b { (size(bytes)) } } }
            @if let Some(memory) = totals.server_memory {
                li { "Server " b { (size(memory)) } " " @match totals.server_memory_limit { Some(limit) => { "of " (size(limit)) }, None => span.faint { "(no limit)" } } }
            }
        }
        @if sampled > 0 {
            details { summary { "When checkpoints expire" }
                table.ttl {
                    caption.hidden { "Checkpoints of a sample by the time that they have left" }
                    tbody { @for (name, many) in &totals.ttl {
                        @if *many > 0 { tr { th scope="row" { (name) } td.number { (number(*many)) } td { (share(*many, sampled)) } } }
                    } }
                }
                p.hint { "Of " (number(sampled)) " sampled." }
            }
        }
    }
}

/// The largest checkpoints of the sample.
fn sample(site: &Site, totals: &Totals) -> Markup {
    let most = totals
        .largest
        .iter()
        .map(|one| one.bytes)
        .max()
        .unwrap_or(0);
    let links = site.links();
    html! {
        @if !totals.largest.is_empty() {
            h2 { "Largest checkpoints of a sample" }
            div.scroll tabindex="0" role="region" aria-label="Largest checkpoints" {
            table {
                caption.hidden { "Largest checkpoints of a sample" }
                thead { tr { th scope="col" { "Checkpoint" } th scope="col" { "Thread" } th.number scope="col" { "Memory" } th scope="col" { span.hidden { "Share" } } } }
                tbody { @for large in &totals.largest {
                    @let config = CheckpointConfig::of_checkpoint(large.thread.clone(), large.namespace.clone(), large.checkpoint.clone());
                    tr {
                        th scope="row" { a href=(links.checkpoint(&config)) { (short_id(large.checkpoint.as_str())) } }
                        td { (Id(large.thread.as_str())) }
                        td.number { (size(large.bytes)) }
                        td { (share(large.bytes, most)) }
                    }
                } }
            }
            }
        }
    }
}

/// What fills one thread, and what a prune would free.
async fn one(site: &Site, visit: &Visit, parameters: &Parameters) -> Result<Markup, Failure> {
    let thread = parameters.thread(&visit.viewer)?;
    let summary = site.summary(&thread).await?;
    let root = CheckpointConfig::of_thread(thread.clone());
    let newest = site.look(&root).await?;
    let mut channels = match &newest {
        Some(newest) => values::channels(&newest.checkpoint)?,
        None => Vec::new(),
    };
    channels.sort_by_key(|channel| Reverse(channel.bytes));
    let (taken, prunable) = match site.diagnostics() {
        Some(diagnostics) => (
            diagnostics.size_of(&thread).await?,
            Some(prunable(diagnostics, &thread).await?),
        ),
        None => (None, None),
    };
    let links = site.links();
    Ok(html! {
        p.crumbs {
            a href=(links.page("memory", &[])) { "Memory" } " / "
            a href=(links.thread(&thread)) { (Id(thread.as_str())) } " / "
        }
        h1 { "What fills " (Id(thread.as_str())) }
        ul.strip aria-label="Facts" {
            @if let Some(one) = taken { li { "Memory " b { @if one.estimated { "≈ " } (size(one.bytes)) } } }
            li { "Checkpoints " b { (number(summary.checkpoints)) } }
            @if let Some(diagnostics) = site.diagnostics() { li { "Layout " b { (diagnostics.layout()) } } }
            li { "Expires in " b { (ttl(summary.ttl)) } }
        }
        h2 { "Channels of the newest checkpoint" }
        (by_channel(&channels))
        @if let Some(prunable) = prunable {
            h2 { "What a prune would free" }
            (freed(&prunable, &summary, taken.map(|taken| taken.bytes)))
            @if visit.viewer.may_remove {
                p { a.button href=(links.of_thread("prune", &thread)) { "Prune…" } }
            }
        }
    })
}

fn by_channel(channels: &[Channel]) -> Markup {
    let most = channels.first().map_or(0, |channel| channel.bytes);
    html! {
        @if channels.is_empty() { p.empty { "No channel has a value." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Channels" {
            table.channels {
                caption.hidden { "Channels of the newest checkpoint" }
                thead { tr { th scope="col" { "Channel" } th.number scope="col" { "Bytes" } th scope="col" { span.hidden { "Share" } } } }
                tbody { @for channel in channels.iter().take(MAX_CHANNELS) {
                    tr data-channel=(channel.name) {
                        th scope="row" { (Id(&channel.name)) }
                        td.number { (size(channel.bytes)) }
                        td { (share(channel.bytes, most)) }
                    }
                } }
            }
            }
        }
        @if channels.len() > MAX_CHANNELS {
            p.hint { "… and " (count((channels.len() - MAX_CHANNELS) as u64, "smaller channel")) }
        }
    }
}

/// What prunes with some strategies would remove; those that take too long to find out are left
/// out.
pub(in super::super) async fn prunable(
    diagnostics: &dyn Diagnostics,
    thread: &ThreadId,
) -> Result<Vec<(&'static str, Progress)>, Failure> {
    let mut found = Vec::new();
    for (name, strategy) in [
        (
            "Keep the newest of each namespace",
            PruneStrategy::KeepLatest,
        ),
        (
            "Keep the newest 10 of each namespace",
            PruneStrategy::KeepLast(10),
        ),
    ] {
        let prunable = diagnostics.prunable(thread, &strategy);
        if let Ok(prunable) = tokio::time::timeout(PRUNABLE_TIME, prunable).await {
            found.push((name, prunable?));
        }
    }
    Ok(found)
}

fn freed(prunable: &[(&str, Progress)], summary: &ThreadSummary, bytes: Option<u64>) -> Markup {
    let share_of = |removed: u64| {
        let all = u128::from(summary.checkpoints.max(1));
        let bytes = bytes.map(|bytes| u128::from(bytes) * u128::from(removed) / all);
        bytes.and_then(|bytes| u64::try_from(bytes).ok())
    };
    html! {
        @if prunable.is_empty() { p.empty { "The thread is too large to say here: " code { "langgraph-redis prune" } " says what it would remove before it does." } }
        @else { table.prunes tabindex="0" {
            caption.hidden { "What a prune would remove" }
            thead { tr { th scope="col" { "Strategy" } th.number scope="col" { "Checkpoints" } th.number scope="col" { "Writes" } th.number scope="col" title="If checkpoints are of the same size" { "About" } th scope="col" { span.hidden { "Share" } } } }
            tbody { @for (name, progress) in prunable {
                tr {
                    th scope="row" { (name) }
                    td.number { (number(progress.checkpoints)) }
                    td.number { (number(progress.writes)) }
                    td.number { @match share_of(progress.checkpoints) { Some(bytes) => (size(bytes)), None => "–" } }
                    td { (share(progress.checkpoints, summary.checkpoints)) }
                }
            } }
        } }
    }
}
