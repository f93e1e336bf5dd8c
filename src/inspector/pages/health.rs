//! How the servers do, the indexes, and what an examination of all keys finds.

use axum::extract::State;
use maud::{Markup, html};

use super::super::failure::Failure;
use super::super::parameters::Parameters;
use super::super::parts::{Id, count, duration, number, size};
use super::super::site::{Site, Visit};
use super::{Page, Tab, or_failed, page};
use crate::blobs::StoreReadiness;
use crate::diagnostics::{Diagnostics, Examination, IndexReport, ServersReport};

pub(in super::super) async fn show(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let examine = !parameters.get("examine").is_empty();
    let content = match site.diagnostics() {
        // Addresses and keys are for those who may see everything.
        Some(diagnostics) if visit.viewer.is_everywhere() => {
            let content = whole(&site, diagnostics, examine).await;
            content.map_err(&failed)?
        }
        _ => readiness(&site).await,
    };
    let content = html! { h1 { "Health" } (content) };
    Ok(page(&site, &visit, Tab::Health, "Health", &content))
}

async fn readiness(site: &Site) -> Markup {
    let readiness = site.saver.get_ref().readiness().await;
    html! {
        @match readiness {
            StoreReadiness::Ready => p.done { "The store serves all calls." },
            StoreReadiness::WithoutSearch => p.done { "The store serves all calls, without search: those over all threads take longer." },
            StoreReadiness::NotReady(reason) => p.problem role="alert" { (reason) },
        }
    }
}

async fn whole(
    site: &Site,
    diagnostics: &dyn Diagnostics,
    examine: bool,
) -> Result<Markup, Failure> {
    let servers = diagnostics.servers().await;
    // Without a server that answers there is nothing more to ask.
    let totals = if servers.problems.is_empty() {
        Some(diagnostics.totals().await?)
    } else {
        None
    };
    let examination = match (examine, &totals) {
        (true, Some(_)) => Some(examined(site, diagnostics).await?),
        _ => None,
    };
    Ok(html! {
        (problems(&servers))
        (table(&servers))
        ul.strip aria-label="Calls" {
            li { "Calls in progress " b { (number(servers.calls_in_flight as u64)) } " of " (number(servers.calls_limit as u64)) }
            li { "Layout " b { (diagnostics.layout()) } }
            li { "Search " b { (search(diagnostics.layout(), &servers)) } }
        }
        @if let Some(reason) = &servers.without_search { p.hint { "Calls are served without search: " (reason) "." } }
        @if let Some(totals) = &totals { (indexes(&totals.indexes)) }
        h2 #data { "Stored data" }
        @match &examination {
            Some(examination) => (findings(examination)),
            None => {
                p.lead { "An examination looks at every key and says what is wrong, as `langgraph-redis doctor` does. It changes nothing, and takes about a minute for a million keys." }
                form action=(site.links().page("health", &[])) {
                    input type="hidden" name="examine" value="1";
                    button type="submit" { "Examine" }
                }
            },
        }
    })
}

async fn examined(site: &Site, diagnostics: &dyn Diagnostics) -> Result<Examination, Failure> {
    let Ok(_alone) = site.examinations.try_acquire() else {
        return Err(Failure::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "An examination is being made already; try again when it has ended.",
        ));
    };
    Ok(diagnostics.examine().await?)
}

/// Whether search is used, which the layout `compact` has no need of.
fn search(layout: &str, servers: &ServersReport) -> &'static str {
    if layout == "compact" {
        "not needed"
    } else if servers.without_search.is_some() {
        "not used"
    } else {
        "used"
    }
}

fn problems(servers: &ServersReport) -> Markup {
    html! {
        @if servers.problems.is_empty() { p.done { "The servers serve all calls." } }
        @for problem in &servers.problems { p.problem role="alert" { (Id(problem)) } }
        @for warning in &servers.warnings { p.warning { (Id(warning)) } }
    }
}

fn table(servers: &ServersReport) -> Markup {
    html! {
        h2 { "Servers" }
        div.scroll tabindex="0" role="region" aria-label="Servers" {
        table.servers {
            caption.hidden { "Servers" }
            thead { tr { th scope="col" { "Address" } th scope="col" { "Role" } th.number scope="col" { "Replicas" } th.number scope="col" { "Connections" } th.number scope="col" { "Answers in" } } }
            tbody { @for server in &servers.servers {
                tr data-server=(server.address) {
                    th scope="row" { (Id(&server.address)) }
                    td { @match server.is_primary { Some(true) => "primary", Some(false) => "replica", None => span.faint { "unknown" } } }
                    td.number { @match server.replicas { Some(replicas) => (replicas), None => "–" } }
                    td.number { (server.connections) }
                    td.number { @match server.answered_in { Some(time) => (precise(time)), None => span.status data-status="error" { "no answer" } } }
                }
            } }
        }
        }
    }
}

fn precise(time: std::time::Duration) -> String {
    if time.as_millis() < 10 {
        format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
    } else {
        duration(time)
    }
}

fn indexes(indexes: &[IndexReport]) -> Markup {
    html! {
        @if !indexes.is_empty() {
            h2 { "Indexes" }
            div.scroll tabindex="0" role="region" aria-label="Indexes" {
            table.indexes {
                caption.hidden { "Indexes" }
                thead { tr { th scope="col" { "Index" } th.number scope="col" { "Documents" } th.number scope="col" { "Memory" } th.number scope="col" { "Not indexed" } th scope="col" { "State" } } }
                tbody { @for index in indexes {
                    tr data-index=(index.name) {
                        th scope="row" { (Id(&index.name)) }
                        td.number { (number(index.documents)) }
                        td.number { (size(index.memory)) }
                        td.number { (number(index.failures)) }
                        td { @if index.busy { "still reading what was stored before it" } @else { "complete" } }
                    }
                } }
            }
            }
        }
    }
}

fn findings(examination: &Examination) -> Markup {
    let found: u64 = examination.counts.iter().map(|(_, number)| number).sum();
    html! {
        @if found == 0 {
            p.done { (count(examination.keys, "key")) " looked at: nothing is wrong." }
        } @else {
            p.problem role="alert" { (count(examination.keys, "key")) " looked at, " (count(found, "finding")) ". " code { "langgraph-redis doctor --fix" } " puts right what can be put right safely." }
            table.findings {
                caption { "What is wrong" }
                tbody { @for (what, number_of) in &examination.counts { tr { th scope="row" { (what) } td.number { (number(*number_of)) } } } }
            }
            details { summary { "The keys" }
                ul { @for wrong in &examination.findings {
                    li { (Id(&wrong.key)) ": " (wrong.what) @if !wrong.detail.is_empty() { " (" (Id(&wrong.detail)) ")" } }
                } }
                @if found > examination.findings.len() as u64 { p.hint { "The first " (examination.findings.len()) " of them." } }
            }
        }
    }
}
