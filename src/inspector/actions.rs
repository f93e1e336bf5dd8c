//! What changes threads: each by a form of a page that says what goes, and only if the key may.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use super::copy::copy_from;
use super::failure::Failure;
use super::form::Form;
use super::guard;
use super::pages::confirm::{self, Action};
use super::pages::{Page, or_failed};
use super::parameters::Parameters;
use super::site::{Site, Visit};
use crate::id::ThreadId;
use crate::options::{DeleteOptions, PruneOptions, PruneStrategy};
use crate::saver::CheckpointSaver;

/// The page that says what an action does, with the form that does it.
pub(super) async fn ask(
    action: Action,
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
) -> Page {
    let failed = or_failed(&site, &visit);
    check_permission(&visit, action).map_err(&failed)?;
    confirm::show(&site, &visit, action, &parameters).await
}

/// Does what the form of an action says. What it is done to is in the address, because a form
/// changes line breaks and NULs.
pub(super) async fn act(
    action: Action,
    State(site): State<Site>,
    visit: Visit,
    parameters: Parameters,
    headers: HeaderMap,
    form: Form,
) -> Page {
    let failed = or_failed(&site, &visit);
    let Form(form) = form;
    let allowed =
        guard::check_form(&visit, &headers, &form).and_then(|()| check_permission(&visit, action));
    allowed.map_err(&failed)?;
    let done = perform(&site, &visit, action, &parameters, &form).await;
    let shown = done.map_err(&failed)?;
    Ok(go_on(&site, action, &shown))
}

fn check_permission(visit: &Visit, action: Action) -> Result<(), Failure> {
    let may = if action.removes() {
        visit.viewer.may_remove
    } else {
        visit.viewer.may_write
    };
    if may {
        Ok(())
    } else {
        Err(Failure::new(
            StatusCode::FORBIDDEN,
            "The key does not allow this.",
        ))
    }
}

/// Does an action, and returns the thread to go on with.
async fn perform(
    site: &Site,
    visit: &Visit,
    action: Action,
    parameters: &Parameters,
    form: &Parameters,
) -> Result<ThreadId, Failure> {
    let thread = &parameters.thread(&visit.viewer)?;
    let saver = &site.saver;
    if action != Action::Copy {
        site.gate.changes(&visit.viewer, thread, None);
    }
    match action {
        Action::Copy => {
            let target = ThreadId::new(form.get("target"))?;
            if !visit.viewer.reaches(&target) {
                return Err(Failure::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    format!(
                        "The id of the copy must start with {}, as those of all threads of this key.",
                        crate::printable::shown(&visit.viewer.prefix)
                    ),
                ));
            }
            site.gate.changes(&visit.viewer, &target, Some(thread));
            let from = parameters.checkpoint(&visit.viewer, "checkpoint")?;
            copy_from(site, &from, &target).await?;
            return Ok(target);
        }
        Action::Pin => {
            if !saver.pin(thread).await? {
                return Err(Failure::no_such_thread());
            }
        }
        Action::Unpin => {
            // It is `false` as well where the saver has no TTL, so that nothing ever expires.
            site.summary(thread).await?;
            saver.unpin(thread).await?;
        }
        Action::Prune => {
            let strategy = strategy(form)?;
            site.summary(thread).await?;
            let options = PruneOptions::new(strategy);
            saver.prune(std::slice::from_ref(thread), &options).await?;
        }
        Action::Delete => {
            let options = DeleteOptions::default();
            saver.delete_thread(thread, &options).await?;
        }
    }
    Ok(thread.clone())
}

fn strategy(form: &Parameters) -> Result<PruneStrategy, Failure> {
    let keep = form.number("keep").ok_or_else(|| {
        Failure::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "How many checkpoints are kept must be a number from 1.",
        )
    })?;
    Ok(PruneStrategy::KeepLast(keep))
}

fn go_on(site: &Site, action: Action, thread: &ThreadId) -> Response {
    let parameters = [("what", action.path()), ("id", thread.as_str())];
    Redirect::to(&site.links().page("done", &parameters)).into_response()
}
