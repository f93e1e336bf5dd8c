//! The threads, newest first.

use std::collections::HashSet;

use axum::extract::State;
use futures_util::TryStreamExt;
use maud::{Markup, html};

use super::super::failure::Failure;
use super::super::parameters::Parameters;
use super::super::parts::{Id, ago, names, number, size, status, ttl};
use super::super::site::{Site, Visit};
use super::super::store::Overview;
use super::{Page, Tab, or_failed, page, pager};
use crate::config::CheckpointConfig;
use crate::filter::MetadataFilter;
use crate::id::{CheckpointId, ThreadId};
use crate::options::ListOptions;
use crate::saver::{CheckpointSaver, ThreadSummary};

/// How many threads a page shows.
const PAGE: usize = 50;

/// How many pages there are at most: each walks over those before it.
const MAX_PAGES: usize = 40;

/// How many checkpoints of a filter are looked at for one page.
const MAX_FILTERED: usize = 5_000;

/// What is asked for.
struct Asked {
    prefix: String,
    metadata: String,
    filter: MetadataFilter,
    number: usize,
    before: Option<CheckpointId>,
}

/// The threads of a page, and where the next begins.
struct Found {
    threads: Vec<Overview>,
    next: Option<Next>,
    note: &'static str,
}

enum Next {
    Page(usize),
    Before(CheckpointId),
}

pub(in super::super) async fn show(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let asked = Asked::of(&parameters).map_err(&failed)?;
    let found = find(&site, &visit, &asked).await.map_err(&failed)?;
    let content = html! {
        h1 { "Threads" }
        (filters(&site, &asked))
        @if found.threads.is_empty() {
            p.empty { "No thread is found." @if asked.is_narrowed() { " " a href=(site.links().page("", &[])) { "Show all" } } }
        } @else {
            (table(&site, &found.threads))
        }
        (pages(&site, &asked, &found))
    };
    Ok(page(&site, &visit, Tab::Threads, "Threads", &content))
}

impl Asked {
    fn of(parameters: &Parameters) -> Result<Self, Failure> {
        let metadata = parameters.get("metadata").trim().to_owned();
        let before = Some(parameters.get("before")).filter(|before| !before.is_empty());
        Ok(Self {
            prefix: parameters.get("prefix").to_owned(),
            filter: filter_of(&metadata)?,
            metadata,
            number: parameters.number("page").unwrap_or(1).min(MAX_PAGES),
            before: before.map(CheckpointId::new).transpose()?,
        })
    }

    fn is_narrowed(&self) -> bool {
        !self.prefix.is_empty() || !self.metadata.is_empty()
    }

    fn link(&self, site: &Site, more: &[(&str, &str)]) -> String {
        let mut parameters = Vec::new();
        for (name, value) in [("prefix", &self.prefix), ("metadata", &self.metadata)] {
            if !value.is_empty() {
                parameters.push((name, value.as_str()));
            }
        }
        parameters.extend(more);
        site.links().page("", &parameters)
    }
}

/// A filter as it is typed: a JSON object, or words such as `source=loop step=3`.
fn filter_of(text: &str) -> Result<MetadataFilter, Failure> {
    if text.starts_with('{') {
        return Ok(MetadataFilter::from_json(text.to_owned())?);
    }
    let mut filter = MetadataFilter::new();
    for word in text.split_whitespace() {
        let Some((key, value)) = word.split_once('=') else {
            return Err(Failure::new(
                axum::http::StatusCode::UNPROCESSABLE_ENTITY,
                "A metadata filter is words such as source=loop step=3, or a JSON object.",
            ));
        };
        let value = serde_json::from_str(value)
            .unwrap_or_else(|_| serde_json::Value::String(value.to_owned()));
        filter = filter.with(key, value)?;
    }
    Ok(filter)
}

async fn find(site: &Site, visit: &Visit, asked: &Asked) -> Result<Found, Failure> {
    let Some(prefix) = visit.viewer.within(&asked.prefix) else {
        return Ok(Found {
            threads: Vec::new(),
            next: None,
            note: "",
        });
    };
    if asked.filter.is_empty() {
        recent(site, prefix, asked.number).await
    } else {
        filtered(site, prefix, asked).await
    }
}

/// The threads that were written to last.
async fn recent(site: &Site, prefix: &str, page: usize) -> Result<Found, Failure> {
    let mut threads = site.saver.threads(prefix);
    let mut before = (page - 1) * PAGE;
    let mut found = Vec::new();
    let mut next = None;
    while let Some(summary) = threads.try_next().await? {
        if before > 0 {
            before -= 1;
        } else if found.len() < PAGE {
            found.push(summary);
        } else {
            next = Some(Next::Page(page + 1));
            break;
        }
    }
    drop(threads);
    let is_last = page == MAX_PAGES && next.is_some();
    Ok(Found {
        threads: site.overviews(found).await?,
        next: next.filter(|_| !is_last),
        note: if is_last {
            "There are more: narrow them by a prefix."
        } else {
            ""
        },
    })
}

/// The threads of checkpoints whose metadata matches, by their newest such checkpoint.
async fn filtered(site: &Site, prefix: &str, asked: &Asked) -> Result<Found, Failure> {
    let mut options = ListOptions::default().with_filter(asked.filter.clone());
    options.before.clone_from(&asked.before);
    let mut checkpoints = site.saver.list_within(prefix, options);
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    let (mut next, mut looked_at, mut last) = (None, 0, None);
    while let Some(tuple) = checkpoints.try_next().await? {
        let thread = tuple.config.thread_id;
        if !seen.contains(&thread) {
            if found.len() == PAGE {
                next = last.map(Next::Before);
                break;
            }
            seen.insert(thread.clone());
            if !was_shown(site, asked, &thread).await? {
                found.push(thread);
            }
        }
        last = Some(tuple.checkpoint.id().clone());
        looked_at += 1;
        if looked_at == MAX_FILTERED {
            next = last.map(Next::Before);
            break;
        }
    }
    drop(checkpoints);
    let mut summaries: Vec<ThreadSummary> = Vec::new();
    for thread in found {
        // It may have been deleted in the meantime.
        summaries.extend(site.saver.get_ref().summary(&thread).await?);
    }
    Ok(Found {
        threads: site.overviews(summaries).await?,
        next,
        note: "",
    })
}

/// Whether a thread was on a page before, because a newer checkpoint of it matches.
async fn was_shown(site: &Site, asked: &Asked, thread: &ThreadId) -> Result<bool, Failure> {
    let Some(before) = &asked.before else {
        return Ok(false);
    };
    let options = ListOptions::default()
        .with_filter(asked.filter.clone())
        .with_limit(1);
    let config = CheckpointConfig::of_thread(thread.clone());
    let newest = site.saver.list(Some(&config), options).try_next().await?;
    Ok(newest.is_some_and(|newest| newest.checkpoint.id() >= before))
}

fn filters(site: &Site, asked: &Asked) -> Markup {
    html! {
        form.filters role="search" action=(site.links().page("", &[])) {
            label { span { "Id starts with" } input #filter type="search" name="prefix" value=(asked.prefix) autocomplete="off" spellcheck="false"; }
            label { span { "Metadata" } input type="search" name="metadata" value=(asked.metadata) placeholder="source=loop step=3" autocomplete="off" spellcheck="false"; }
            button type="submit" { "Filter" }
        }
    }
}

fn table(site: &Site, threads: &[Overview]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Threads" {
        table.threads {
            caption.hidden { "Threads, newest first" }
            thead { tr {
                th scope="col" { "Thread" }
                th scope="col" { "Status" }
                th scope="col" { "Written" }
                th.number scope="col" { "Checkpoints" }
                th.number scope="col" title="The values of the newest checkpoint" { "State" }
                th.number scope="col" title="In the memory of the server" { "Memory" }
                th.number scope="col" { "Expires in" }
            } }
            tbody { @for thread in threads { (row(site, thread)) } }
        }
        }
    }
}

fn row(site: &Site, thread: &Overview) -> Markup {
    let summary = &thread.summary;
    let id = summary.thread_id.as_str();
    let newest = thread.newest.as_ref();
    let time = newest.and_then(|newest| newest.made);
    let time = time.or_else(|| summary.newest.as_ref()?.time());
    html! {
        tr data-thread=(id) data-row {
            th scope="row" { a.primary href=(site.links().thread(&summary.thread_id)) { (Id(id)) } }
            td {
                @if thread.unreadable {
                    span.status data-status="unreadable" title="Its newest checkpoint cannot be read" { "unreadable" }
                } @else if let Some(newest) = newest {
                    (status(newest.state.status))
                    @if !newest.state.next.is_empty() {
                        " " span.next { "→ " (names(newest.state.next.iter().map(String::as_str))) }
                    }
                } @else {
                    span.faint { "–" }
                }
            }
            td { (ago(time)) }
            td.number { (number(summary.checkpoints)) }
            td.number { @if let Some(newest) = newest { (size(newest.bytes)) } @else { "–" } }
            td.number {
                @match thread.size {
                    Some(one) => { @if one.estimated { "≈ " } (size(one.bytes)) },
                    None => "–",
                }
            }
            td.number { (ttl(summary.ttl)) }
        }
    }
}

fn pages(site: &Site, asked: &Asked, found: &Found) -> Markup {
    let before = match (asked.number, &asked.before) {
        (2.., None) => Some(asked.link(site, &[("page", &(asked.number - 1).to_string())])),
        (_, Some(_)) => Some(asked.link(site, &[])),
        _ => None,
    };
    let after = found.next.as_ref().map(|next| match next {
        Next::Page(page) => asked.link(site, &[("page", &page.to_string())]),
        Next::Before(id) => asked.link(site, &[("before", id.as_str())]),
    });
    pager(before, after, found.note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_typed_as_words_or_as_json() {
        let metadata = |text: &str| crate::CheckpointMetadata::from_json(text.to_owned()).unwrap();
        let loops = metadata(r#"{"source":"loop","step":3,"user":"7a"}"#);
        for text in ["source=loop step=3", r#"{"source":"loop"}"#, "user=7a", ""] {
            assert!(filter_of(text).unwrap().matches(&loops), "{text}");
        }
        assert!(!filter_of("step=4").unwrap().matches(&loops));
        for text in ["loop", "{", "[1]"] {
            assert!(filter_of(text).is_err(), "{text}");
        }
    }
}
