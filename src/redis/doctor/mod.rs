//! `doctor`: looks at every key, says what is wrong, and puts it right when asked.
//!
//! The keys of each family are walked with SCAN in pages, the one call that does so. Whether
//! something is wrong is decided by a small script for each key, which looks at all that belongs to
//! it at once and, when asked, puts it right in the same step: what other callers do at the same
//! time is never taken for a fault and never undone. What one family lacks is put right before
//! those that depend on it are looked at: writes, documents, registries, blobs, sets of namespaces,
//! pointers.
//!
//! Nothing is removed or given a TTL on a guess: the key is named as `keys.rs` names it, and what
//! it holds agrees. Everything else is reported. No command and no script looks at more than a
//! page, so that the server serves others between them.

mod blobs;
mod documents;
mod idle;
mod indexes;
mod named;
mod namespaces;
mod recent;
mod registries;
mod report;
mod run;
mod shared;
mod writes;

pub(crate) use idle::IdleWrites;
pub(crate) use recent::recent_threads;
pub use report::{DoctorOptions, DoctorReport, Finding, FindingKind};

use std::sync::Arc;

use super::list::Full;
use super::store::Store;
use super::threads;
use crate::error::{Error, Result};
use run::Doctor;

/// Looks at every key, reports what is wrong, and repairs it if the options say so.
pub(crate) async fn doctor(
    store: &Arc<Store>,
    options: &DoctorOptions,
    idle: &mut IdleWrites,
) -> Result<DoctorReport> {
    if store.driver().is_cluster() && !store.settings.hash_tag_threads {
        return Err(Error::Config {
            key: "hash_tag_threads".to_owned(),
            reason: "in a cluster the doctor can only look at threads whose keys share a slot"
                .to_owned(),
            source: None,
        });
    }
    let mut doctor = Doctor::new(store, options, idle)?;
    doctor.indexes().await?;
    doctor.write_registries().await?;
    doctor.writes().await?;
    doctor.documents().await?;
    doctor.compared().await?;
    doctor.registries().await?;
    doctor.blobs().await?;
    doctor.namespaces().await?;
    doctor.pointers().await?;
    let every = threads::threads::<Full>(Arc::clone(store), &options.prefix);
    recent_threads(store, options, &mut doctor.report, every).await?;
    doctor.idle.run_is_over();
    Ok(doctor.report)
}
