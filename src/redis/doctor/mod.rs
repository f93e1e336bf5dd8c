//! `doctor`: looks at every key, says what is wrong, and puts it right when asked.
//!
//! The keys of each family are walked with SCAN in pages, the one call that does so. Whether
//! something is wrong is decided by a small script for each key, which looks at all that belongs
//! to it at once and, when asked, puts it right in the same step: what other callers do meanwhile
//! is never taken for a fault and never undone. What one family lacks is put right before those
//! that depend on it are looked at: writes, documents, registries, blobs, sets of namespaces,
//! pointers.
//!
//! Nothing is removed or given a TTL on a guess: the key is named as `keys.rs` names it, and what it
//! holds agrees. All else is told. No command and no script looks at more than a page, so that the
//! server serves others between them.

mod blobs;
mod documents;
mod indexes;
mod named;
mod namespaces;
mod registries;
mod report;
pub(crate) mod rest;
mod shared;
mod walk;
mod writes;

use std::collections::HashSet;

use bytes::Bytes;

use indexes::Coverage;
pub use report::{DoctorOptions, DoctorReport, Finding, FindingKind};
use rest::Rested;

use super::RedisSaver;
use super::driver::Reply;
use super::error::of_key;
use super::store::{Step, Store, milliseconds};
use crate::error::{Error, Result};

/// How many keys are asked for at once.
const PAGE: usize = 500;
/// How many members of a registry one script looks at.
const MEMBERS: usize = 200;

impl RedisSaver {
    /// Looks at every key of the saver's prefixes, says what is wrong, and puts it right if the
    /// options say so. See [`FindingKind`] for what that is.
    ///
    /// Each repair is one atomic step that checks again what is wrong, so that it is safe while
    /// others read and write, and the call may be dropped and repeated. Memory is bounded by a
    /// page of keys and by what is found. Unlike every other call it walks the whole keyspace.
    /// What has expired leaves traces that are found as well
    /// ([`CheckpointGone`](FindingKind::CheckpointGone) and the like) and do no harm.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a TTL that cannot be one, [`Error::Config`] on a cluster unless the
    /// saver is built with [`hash_tag_threads`](super::RedisSaverBuilder::hash_tag_threads),
    /// and what the store may say; the call may be repeated.
    ///
    /// ```no_run
    /// use langgraph_checkpoint_redis::RedisSaver;
    /// use langgraph_checkpoint_redis::redis::DoctorOptions;
    ///
    /// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
    /// let saver = RedisSaver::connect("redis://localhost:6379").await?;
    /// println!("{}", saver.doctor(&DoctorOptions::default()).await?);
    /// saver.doctor(&DoctorOptions::default().with_fix(true)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn doctor(&self, options: &DoctorOptions) -> Result<DoctorReport> {
        self.doctor_again(options, &mut Rested::default()).await
    }

    /// The same after others, whose looking made nothing young.
    pub(crate) async fn doctor_again(
        &self,
        options: &DoctorOptions,
        rested: &mut Rested,
    ) -> Result<DoctorReport> {
        let store = &self.0;
        if store.driver.is_cluster() && !store.settings.hash_tag_threads {
            return Err(Error::Config {
                key: "hash_tag_threads".to_owned(),
                reason: "in a cluster the doctor can only look at threads whose keys share a slot"
                    .to_owned(),
            });
        }
        let mut doctor = Doctor {
            store,
            options,
            ttl: milliseconds(options.expect_ttl.resolve(store.settings.ttl.default)?),
            report: DoctorReport::of(options),
            rested,
            told: HashSet::new(),
            coverage: Default::default(),
        };
        doctor.indexes().await?;
        doctor.write_registries().await?;
        doctor.writes().await?;
        doctor.documents().await?;
        doctor.compared().await?;
        doctor.registries().await?;
        doctor.blobs().await?;
        doctor.namespaces().await?;
        doctor.pointers().await?;
        doctor.rested.look_is_over();
        Ok(doctor.report)
    }
}

struct Doctor<'a> {
    store: &'a Store,
    options: &'a DoctorOptions,
    /// The TTL that documents and writes should have.
    ttl: Bytes,
    report: DoctorReport,
    rested: &'a mut Rested,
    /// What several keys would tell of.
    told: HashSet<(FindingKind, Bytes)>,
    /// What the indexes of checkpoints and of writes know.
    coverage: [Coverage; 2],
}

impl Doctor<'_> {
    /// Runs a script for each key, whose codes name what is wrong. With each key comes its thread's
    /// set of namespaces.
    async fn codes(
        &mut self,
        keys: Vec<(Bytes, Bytes)>,
        steps: Vec<Step>,
        unregistered: FindingKind,
    ) -> Result<()> {
        let replies = self.store.flight("doctor", steps).await?;
        for ((key, namespaces), reply) in keys.into_iter().zip(replies) {
            let codes = match reply {
                Err(error) => {
                    self.refused(&key, error)?;
                    continue;
                }
                Ok(codes) => codes.into_array(),
            };
            for code in codes {
                let kind = match code.as_str() {
                    Some("ttl") => FindingKind::MissingTtl,
                    Some("flag") => FindingKind::WritesFlagWrong,
                    Some("unsure") => {
                        self.found_once(FindingKind::PinUnknown, &namespaces, &namespaces);
                        continue;
                    }
                    _ => unregistered,
                };
                self.found(kind, &key, String::new(), self.options.fix);
            }
        }
        Ok(())
    }

    /// What the server refuses because a key is of another type is a finding. A script names the
    /// key; of other commands it is the one that was asked for.
    fn refused(&mut self, key: &[u8], error: Error) -> Result<()> {
        let named = match of_key(key, error) {
            Error::WrongType { key } => Bytes::from(key),
            error => return Err(error),
        };
        self.found_once(FindingKind::WrongType, &named, &named);
        Ok(())
    }

    fn found(&mut self, kind: FindingKind, key: &[u8], detail: String, fixed: bool) {
        let key = String::from_utf8_lossy(key).into_owned();
        let finding = Finding {
            kind,
            key,
            detail,
            fixed,
        };
        self.report.add(finding, self.options.max_findings);
    }

    /// Tells once of what is found again and again, and is never put right. What it is about is
    /// remembered as long as findings are kept.
    fn found_once(&mut self, kind: FindingKind, key: &[u8], about: &Bytes) {
        let told = (kind, about.clone());
        if self.told.contains(&told) {
            return;
        }
        if self.told.len() < self.options.max_findings {
            self.told.insert(told);
        }
        self.found(kind, key, String::new(), false);
    }

    fn mode(&self) -> Bytes {
        Bytes::from_static(if self.options.fix { b"fix" } else { b"look" })
    }
}

fn bytes_of(reply: Reply) -> Vec<Bytes> {
    let elements = reply.into_array().into_iter();
    elements.filter_map(Reply::into_bytes).collect()
}
