//! The RediSearch indexes. Only this module speaks `FT.*`.
//!
//! An index is a finder of candidates, never of truth: what it names is read and compared with
//! the exact ids. An index that the Python saver made folds case, trims blanks and splits at
//! commas, so a thread is looked up by the longest piece that such an index would keep of it.

mod all;
mod compare;
mod info;
mod query;
mod rows;
mod schema;
mod state;
mod thread;
mod upkeep;

pub(crate) use all::{
    checkpoints_at, indexed_run, indexed_thread_of_each, indexed_threads, newest_checkpoints,
    unopened_documents,
};
pub(crate) use compare::known_to;
#[cfg(feature = "cli")]
pub(crate) use compare::{Lacking, index_lacks};
pub(crate) use info::searches_all;
pub(crate) use query::{indexed, thread};
pub(crate) use rows::{Page, Rows};
pub(crate) use state::{create_indexes, do_without_search, health, search};
pub(crate) use thread::{
    Kind, count_command, count_in_time, count_indexed, count_of, indexed_checkpoints,
    namespaces_of_writes, rows_of_thread,
};
pub use upkeep::IndexStats;
#[cfg(feature = "cli")]
pub(crate) use upkeep::drop_index;
pub(crate) use upkeep::{IndexProblem, index_problem, index_stats, rebuild_index};
