//! Every open question, of the threads that were written to last.

use std::time::{Duration, Instant};

use axum::extract::State;
use futures_util::stream::{StreamExt, TryStreamExt};
use maud::html;

use super::super::failure::Failure;
use super::super::parameters::Parameters;
use super::super::parts::{Id, count, number};
use super::super::site::{Site, Visit};
use super::super::store::hides_its_thread_alone;
use super::questions::questions;
use super::{Page, Tab, or_failed, page, pager};
use crate::config::CheckpointConfig;
use crate::id::ThreadId;
use crate::inspect::interrupts::{self, OpenInterrupt};
use crate::inspect::status;
use crate::saver::CheckpointSaver;

/// How many threads that wait a page shows.
const PAGE: usize = 25;

/// How many threads are looked at for one page, and for how long.
const MAX_LOOKED_AT: usize = 2_000;
const TIME: Duration = Duration::from_secs(8);

/// How many threads there are before the last page: each walks over those before it.
const MAX_THREADS: usize = 20_000;

/// How many threads are read at the same time.
const CONCURRENT: usize = 8;

/// The threads that wait, and how far was looked.
struct Found {
    waiting: Vec<(ThreadId, Vec<OpenInterrupt>)>,
    from: usize,
    to: usize,
    ended: bool,
}

pub(in super::super) async fn show(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let asked = parameters.get("prefix");
    let from = parameters.number("from").unwrap_or(0).min(MAX_THREADS);
    let found = match visit.viewer.within(asked) {
        Some(prefix) => find(&site, prefix, from).await.map_err(&failed)?,
        None => Found {
            waiting: Vec::new(),
            from,
            to: from,
            ended: true,
        },
    };
    let links = site.links();
    let link = |from: usize| {
        let from = from.to_string();
        let mut parameters = vec![("from", from.as_str())];
        if !asked.is_empty() {
            parameters.push(("prefix", asked));
        }
        links.page("waiting", &parameters)
    };
    let content = html! {
        h1 { "Waiting" }
        p.lead { "Questions that graphs have asked and nobody has answered. Nothing is resumed from here: that needs the graph." }
        form.filters role="search" action=(links.page("waiting", &[])) {
            label { span { "Id starts with" } input #filter type="search" name="prefix" value=(asked) autocomplete="off" spellcheck="false"; }
            button type="submit" { "Filter" }
        }
        @if found.waiting.is_empty() {
            p.empty { "No thread waits for an answer." }
        }
        @for (thread, open) in &found.waiting {
            article.thread data-thread=(thread.as_str()) {
                h2 { a.primary data-row href=(links.thread(thread)) { (Id(thread.as_str())) } " " span.faint { (count(open.len() as u64, "question")) } }
                (questions(links, thread, open))
            }
        }
        (pager(
            (from > 0).then(|| links.page("waiting", &[("prefix", asked)])),
            (!found.ended && found.to < MAX_THREADS).then(|| link(found.to)),
            &looked_at(&found),
        ))
    };
    Ok(page(&site, &visit, Tab::Waiting, "Waiting", &content))
}

fn looked_at(found: &Found) -> String {
    if found.from == 0 && found.ended {
        return format!(
            "{} looked at: all there are.",
            count(found.to as u64, "thread")
        );
    }
    format!(
        "Looked at threads {} to {}, in the order in which they were written to last.",
        number(found.from as u64 + 1),
        number(found.to as u64)
    )
}

async fn find(site: &Site, prefix: &str, from: usize) -> Result<Found, Failure> {
    let begun = Instant::now();
    let mut found = Found {
        waiting: Vec::new(),
        from,
        to: from,
        ended: true,
    };
    let threads = site.saver.threads(prefix).skip(from);
    let read = threads.map(|summary| async move {
        let thread = summary?.thread_id;
        let open = open_questions(site, &thread).await?;
        Ok::<_, Failure>((thread, open))
    });
    let mut read = std::pin::pin!(read.buffered(CONCURRENT));
    while let Some((thread, open)) = read.try_next().await? {
        found.to += 1;
        if !open.is_empty() {
            found.waiting.push((thread, open));
        }
        let looked_at = found.to - from;
        if found.waiting.len() == PAGE || looked_at == MAX_LOOKED_AT || begun.elapsed() > TIME {
            found.ended = false;
            break;
        }
    }
    Ok(found)
}

/// The questions of a thread that wait for an answer; none of one that cannot be read.
async fn open_questions(site: &Site, thread: &ThreadId) -> Result<Vec<OpenInterrupt>, Failure> {
    let root = CheckpointConfig::of_thread(thread.clone());
    let newest = match site.look(&root).await {
        Err(error) if hides_its_thread_alone(&error) => None,
        newest => newest?,
    };
    let Some(newest) = newest else {
        return Ok(Vec::new());
    };
    if !status::of_checkpoint(&newest).is_waiting() {
        return Ok(Vec::new());
    }
    Ok(interrupts::innermost(&site.saver, &newest).await?)
}
