//! A thread: its history as a tree, and what it waits for.

use axum::extract::State;
use maud::{Markup, html};

use super::super::failure::Failure;
use super::super::links::Links;
use super::super::parameters::Parameters;
use super::super::parts::{Id, Stored, ago, count, duration, number, short_id, size, status, ttl};
use super::super::plot;
use super::super::site::{Site, Visit};
use super::super::store::{Newest, hides_its_thread_alone};
use super::questions::questions;
use super::{Page, Tab, or_failed, page, pager};
use crate::config::CheckpointConfig;
use crate::diagnostics::ThreadSize;
use crate::id::{CheckpointId, RunId, ThreadId};
use crate::inspect::history::{self, History, NamespaceHistory, Step, StepTask};
use crate::inspect::interrupts;
use crate::inspect::lanes::Place;
use crate::inspect::status::{Status, ThreadState};
use crate::options::ListOptions;
use crate::saver::ThreadSummary;

/// How many checkpoints a page shows, those of subgraphs among them.
const PAGE: usize = 100;

/// How deep subgraphs are shown in each other.
const MAX_DEPTH: usize = 8;

/// How many runs have a colour before the colours begin again.
const COLOURS: usize = 6;

/// How many lanes of the tree are drawn.
const MAX_LANES: usize = 24;

pub(in super::super) async fn show(
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    let thread = parameters.thread(&visit.viewer).map_err(&failed)?;
    let read = Read::of(&site, &thread, &parameters);
    let read = read.await.map_err(&failed)?;
    let title = super::super::parts::cut(thread.as_str(), 60);
    let content = content(&site, &visit, &thread, &read, &parameters);
    Ok(page(&site, &visit, Tab::Other, &title, &content))
}

/// What the page is made of.
struct Read {
    summary: ThreadSummary,
    newest: Option<Newest>,
    waiting: Vec<interrupts::OpenInterrupt>,
    taken: Option<ThreadSize>,
    history: History,
}

impl Read {
    async fn of(site: &Site, thread: &ThreadId, parameters: &Parameters) -> Result<Self, Failure> {
        let summary = site.summary(thread).await?;
        let before = Some(parameters.get("before")).filter(|before| !before.is_empty());
        let options = match before {
            Some(before) => ListOptions::default().with_before(CheckpointId::new(before)?),
            None => ListOptions::default(),
        };
        let root = CheckpointConfig::of_thread(thread.clone());
        let newest = site.look(&root).await?;
        let waiting = match &newest {
            Some(newest) => interrupts::innermost(&site.saver, newest).await?,
            None => Vec::new(),
        };
        let taken = match site.diagnostics() {
            Some(diagnostics) => match diagnostics.size_of(thread).await {
                Err(error) if hides_its_thread_alone(&error) => None,
                taken => taken?,
            },
            None => None,
        };
        Ok(Self {
            history: history::of_thread(&site.saver, thread, options, PAGE).await?,
            newest: newest.as_ref().map(Newest::of),
            waiting,
            taken,
            summary,
        })
    }
}

fn content(
    site: &Site,
    visit: &Visit,
    thread: &ThreadId,
    read: &Read,
    parameters: &Parameters,
) -> Markup {
    let links = site.links();
    let is_newest = parameters.get("before").is_empty();
    let live = is_newest.then(|| links.of_thread("events", thread));
    html! {
        p.crumbs { a href=(links.page("", &[])) { "Threads" } " / " }
        div.title {
            h1 { (Id(thread.as_str())) }
            @if is_newest { p data-live-mark hidden { "live" } }
        }
        (actions(site, visit, thread))
        div #live data-live=[live] {
            (facts(read))
            @if let (true, Some(newest)) = (is_newest, &read.newest) {
                (state(links, thread, &newest.state, &read.waiting))
            }
            (plots(&read.history))
            h2 { "History" }
            @if read.history.namespaces.is_empty() {
                p.empty { "There are no checkpoints " @if is_newest { "in the history." } @else { "before this one." } }
            }
            (tree(links, thread, &read.history))
        }
        (pages(links, thread, read, is_newest))
    }
}

fn actions(site: &Site, visit: &Visit, thread: &ThreadId) -> Markup {
    let links = site.links();
    let viewer = &visit.viewer;
    html! {
        nav.actions aria-label="Actions" {
            a.button href=(links.of_thread("memory", thread)) { "Memory" }
            a.button href=(links.of_thread("bundle", thread)) title="Its structure without ids and values, to attach to a report of a bug" { "Redacted bundle" }
            @if viewer.may_write {
                a.button href=(links.of_thread("pin", thread)) { "Pin…" }
            }
            @if viewer.may_remove {
                a.button href=(links.of_thread("prune", thread)) { "Prune…" }
                a.button href=(links.of_thread("delete", thread)) { "Delete…" }
            }
        }
    }
}

fn facts(read: &Read) -> Markup {
    html! {
        ul.strip aria-label="Facts" {
            @if let Some(newest) = &read.newest {
                li { (status(newest.state.status)) }
                li { "State " b { (size(newest.bytes)) } }
            }
            li { "Checkpoints " b { (number(read.summary.checkpoints)) } }
            @if let Some(one) = read.taken {
                li { "Memory " b { @if one.estimated { "≈ " } (size(one.bytes)) } }
            }
            li { "Expires " @if read.summary.ttl.is_some() { "in " } b { (ttl(read.summary.ttl)) } }
            @if let Some(newest) = &read.newest { li { "Written " (ago(newest.made)) } }
        }
    }
}

/// What the newest checkpoint says: questions, failures, what is left to run.
fn state(
    links: Links<'_>,
    thread: &ThreadId,
    state: &ThreadState,
    waiting: &[interrupts::OpenInterrupt],
) -> Markup {
    html! {
        @for error in &state.errors {
            section.notice.failed aria-label="Failure" {
                p { strong { "Failed" } @if let Some(node) = &error.node { " in " (Id(node)) } }
                pre tabindex="0" { (Stored(&error.error.text())) }
            }
        }
        @if !waiting.is_empty() { (questions(links, thread, waiting)) }
        @if state.status == Status::Unfinished && !state.next.is_empty() {
            p.lead { "Left to run: " (super::super::parts::names(state.next.iter().map(String::as_str))) }
        }
    }
}

fn plots(history: &History) -> Markup {
    let steps = history.steps("");
    if steps.len() < 2 {
        return html! {};
    }
    let name = |step: &Step| match step.step {
        Some(number) => format!("step {number}"),
        None => "a step".to_owned(),
    };
    let sizes: Vec<_> = steps
        .iter()
        .rev()
        .map(|step| (step.bytes, format!("{}: {}", name(step), size(step.bytes))))
        .collect();
    // The time before an input is the user's, not the step's.
    let ran = |step: &Step| step.source.as_deref() == Some("loop");
    let took = |step: &Step| step.took.filter(|_| ran(step)).unwrap_or_default();
    let millis = |step: &Step| u64::try_from(took(step).as_millis()).unwrap_or(u64::MAX);
    let times: Vec<_> = steps
        .iter()
        .rev()
        .map(|step| {
            (
                millis(step),
                format!("{}: {}", name(step), duration(took(step))),
            )
        })
        .collect();
    let largest = steps.iter().map(|step| step.bytes).max().unwrap_or(0);
    let longest = steps.iter().map(took).max().unwrap_or_default();
    html! {
        div.plots {
            (plot::over_steps("State size", &size(largest), &sizes))
            (plot::over_steps("Step time", &duration(longest), &times))
        }
    }
}

/// The root's steps, each with the subgraphs that it called, and then the subgraphs of steps that
/// are not on the page.
fn tree(links: Links<'_>, thread: &ThreadId, history: &History) -> Markup {
    let drawing = Drawing {
        links,
        thread,
        history,
        runs: runs(history),
    };
    let roots = history.steps("");
    let others = history.namespaces.iter().filter(|one| {
        let outer = history::outer_namespace(one.namespace.as_str());
        outer.is_some_and(|outer| {
            let callers = history.steps(outer);
            !callers.iter().any(|step| {
                history
                    .called_by(step)
                    .iter()
                    .any(|called| called.namespace == one.namespace)
            })
        })
    });
    let others: Vec<_> = others.collect();
    html! {
        (drawing.steps(roots, MAX_DEPTH))
        @if !others.is_empty() {
            @if !roots.is_empty() { h3 { "Subgraphs of other steps" } }
            @for other in others { (drawing.subgraph(other, MAX_DEPTH)) }
        }
    }
}

/// The runs of a history, in the order in which they are met.
fn runs(history: &History) -> Vec<RunId> {
    let mut runs: Vec<RunId> = Vec::new();
    for namespace in &history.namespaces {
        for run in namespace
            .steps
            .iter()
            .filter_map(|step| step.run_id.as_ref())
        {
            if !runs.contains(run) {
                runs.push(run.clone());
            }
        }
    }
    runs
}

struct Drawing<'a> {
    links: Links<'a>,
    thread: &'a ThreadId,
    history: &'a History,
    runs: Vec<RunId>,
}

impl Drawing<'_> {
    fn steps(&self, steps: &[Step], depth: usize) -> Markup {
        html! {
            @if !steps.is_empty() {
                ol.history {
                    @for step in steps { (self.step(step, depth)) }
                }
            }
        }
    }

    fn step(&self, step: &Step, depth: usize) -> Markup {
        let run = step.run_id.as_ref();
        let colour = run.and_then(|run| self.runs.iter().position(|one| one == run));
        let colour = colour.map(|position| format!("run-{}", position % COLOURS));
        let config = CheckpointConfig::of_checkpoint(
            self.thread.clone(),
            step.namespace.clone(),
            step.id.clone(),
        );
        let called = if depth > 0 {
            self.history.called_by(step)
        } else {
            Vec::new()
        };
        let tasks: Vec<_> = step.tasks.iter().collect();
        html! {
            @if step.place.children.len() > 1 {
                li.joint aria-hidden="true" { (joint(&step.place)) }
            }
            li class={ "step " (colour.unwrap_or_default()) } data-checkpoint=(step.id.as_str())
                data-run=[run.map(RunId::as_str)] {
                (lanes(&step.place))
                div.what {
                    div.line {
                        a.primary data-row href=(self.links.checkpoint(&config)) { (short_id(step.id.as_str())) }
                        @if let Some(number) = step.step { span.mono.faint title="The number of the step" { "#" (number) } }
                        @if let Some(source) = &step.source { span.badge.source { (Id(source)) } }
                        @for task in &tasks { (ran(task)) }
                        @for node in left(step) { span.task.left title="Left to run" { (Id(node)) } }
                        span.facts {
                            @if let Some(took) = step.took { span title="Since the step before" { "+" (duration(took)) } " " }
                            span title="The length of the checkpoint" { (size(step.bytes)) } " "
                            (ago(step.made))
                        }
                    }
                    @for task in &tasks { (said(task)) }
                    @if let Some(run) = run { p.run.faint { "run " (Id(run.as_str())) } }
                    @for subgraph in called { (self.subgraph(subgraph, depth - 1)) }
                }
            }
        }
    }

    fn subgraph(&self, namespace: &NamespaceHistory, depth: usize) -> Markup {
        let name = namespace.namespace.as_str();
        let last = name.rsplit('|').next().unwrap_or(name);
        let node = last.split(':').next().unwrap_or(last);
        html! {
            details.subgraph data-key=(name) data-namespace=(name) {
                summary title=(crate::printable::printable(name)) {
                    "subgraph " (Id(node)) " " span.faint { (count(namespace.steps.len() as u64, "step")) }
                }
                (self.steps(&namespace.steps, depth))
            }
        }
    }
}

/// The nodes that were left to run and have not run by now.
fn left(step: &Step) -> impl Iterator<Item = &str> {
    let ran = |node: &&String| {
        let known = step.tasks.iter();
        !known
            .filter_map(|task| task.node.as_ref())
            .any(|one| one == *node)
    };
    step.next.iter().filter(ran).map(String::as_str)
}

/// A task by its node and what became of it.
fn ran(task: &StepTask) -> Markup {
    let (class, title) = if task.finished {
        ("done", "It ran to its end")
    } else if task.error.is_some() {
        ("failed", "It has failed")
    } else if !task.interrupts.is_empty() {
        ("waiting", "It waits for an answer")
    } else {
        ("left", "It has not finished")
    };
    html! {
        span class={ "task " (class) } data-task=(class) title=(title) {
            @match &task.node {
                Some(node) => (Id(node)),
                None => "task",
            }
        }
    }
}

/// What a task has asked, and how it failed.
fn said(task: &StepTask) -> Markup {
    html! {
        @for question in &task.interrupts {
            p class={ "said " @if task.finished { "answered" } @else { "waiting" } } {
                @if task.finished { "asked, and was answered: " } @else { "asks: " }
                (Stored(question))
            }
        }
        @if let Some(error) = &task.error {
            p class={ "said " @if task.finished { "answered" } @else { "failed" } } {
                @if task.finished { "failed at first: " } @else { "failed: " }
                (Stored(error))
            }
        }
    }
}

/// The tree beside a step: its own lane, and those that pass.
fn lanes(place: &Place) -> Markup {
    let open = place.beside.iter().rposition(|open| *open);
    let width = open.map_or(0, |last| last + 1);
    let width = width.max(place.lane + 1).min(MAX_LANES);
    html! {
        span.lanes aria-hidden="true" {
            @for lane in 0..width {
                @if lane == place.lane {
                    i class={ "lane node" @if !place.children.is_empty() { " up" } @if place.has_parent { " down" } } {}
                } @else if place.beside.get(lane) == Some(&true) {
                    i.lane.through {}
                } @else {
                    i.lane {}
                }
            }
        }
    }
}

/// The line above a step where the lanes of its children meet.
fn joint(place: &Place) -> Markup {
    let last = place.children.last().copied().unwrap_or(place.lane);
    let width = place.above.len().min(MAX_LANES);
    html! {
        span.lanes {
            @for lane in 0..width {
                @let is_child = place.children.contains(&lane);
                @let open = place.above.get(lane) == Some(&true);
                i class={ "lane"
                    @if is_child && lane != place.lane { " bend" } @else if open { " through" }
                    @if lane >= place.lane && lane < last { " across" } } {}
            }
        }
    }
}

fn pages(links: Links<'_>, thread: &ThreadId, read: &Read, is_newest: bool) -> Markup {
    let steps = read.history.namespaces.iter().flat_map(|one| &one.steps);
    let oldest = steps.map(|step| &step.id).min();
    let oldest = oldest.filter(|_| read.history.is_cut);
    let older = oldest.map(|oldest| {
        links.page(
            "thread",
            &[("id", thread.as_str()), ("before", oldest.as_str())],
        )
    });
    let newest = (!is_newest).then(|| links.thread(thread));
    pager(newest, older, "")
}
