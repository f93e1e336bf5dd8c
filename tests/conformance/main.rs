//! The conformance table on every kind of saver, a test for each case, and recorded LangGraph runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod traces;

use std::sync::Arc;

use langgraph_checkpoint_redis::conformance;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

fn main() -> std::io::Result<()> {
    let mut arguments = Arguments::from_args();
    // Many cases only wait for something to expire.
    arguments.test_threads.get_or_insert(16);
    // One runtime for all, as the connections of a saver live on the one they were made on.
    let runtime = Arc::new(Runtime::new()?);
    let mut trials = Vec::new();
    for kind in support::kinds() {
        let subject = (kind.subject)();
        for case in conformance::cases() {
            let name = format!("{}::{}::{}", kind.name, case.group(), case.name());
            let (runtime, subject) = (Arc::clone(&runtime), subject.clone());
            trials.push(Trial::test(name, move || {
                let outcome = runtime.block_on(case.outcome(&subject));
                outcome
                    .failure
                    .map_or(Ok(()), |failure| Err(Failed::from(failure)))
            }));
        }
    }
    trials.extend(traces::trials(&runtime));
    libtest_mimic::run(&arguments, trials).exit()
}
