//! One run of the doctor: what it looks at, and what it has found.

use std::collections::HashSet;

use bytes::Bytes;

use super::idle::IdleWrites;
use super::report::{DoctorOptions, DoctorReport, Finding, FindingKind};
use crate::error::{Error, Result};
use crate::redis::args::milliseconds;
use crate::redis::error::of_key;
use crate::redis::scan::Scan;
use crate::redis::scripts::Step;
use crate::redis::store::Store;

/// How many keys are asked for at once.
pub(super) const PAGE: usize = 500;
/// How many members of a registry one script looks at.
pub(super) const MEMBERS: usize = 200;

/// A run of the doctor.
pub(super) struct Doctor<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a DoctorOptions,
    /// The TTL that documents and writes should have.
    pub(super) ttl: Bytes,
    pub(super) report: DoctorReport,
    pub(super) idle: &'a mut IdleWrites,
    /// What is reported once, though several keys show it.
    reported: HashSet<(FindingKind, Bytes)>,
    /// What the indexes of checkpoints and of writes know.
    pub(super) coverage: [Coverage; 2],
}

/// What an index knows of the documents that were looked at.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// Whether it answers for all of them.
    pub(super) is_asked: bool,
    pub(super) looked_at: u64,
    pub(super) unknown: u64,
}

impl<'a> Doctor<'a> {
    pub(super) fn new(
        store: &'a Store,
        options: &'a DoctorOptions,
        idle: &'a mut IdleWrites,
    ) -> Result<Self> {
        let ttl = options.expect_ttl.resolve(store.settings.ttl.default)?;
        Ok(Self {
            store,
            options,
            ttl: milliseconds(ttl),
            report: DoctorReport::of(options),
            idle,
            reported: HashSet::new(),
            coverage: Default::default(),
        })
    }

    /// The keys of a family whose threads start with the prefix that the options name.
    pub(super) fn scan(&self, family: &str) -> Scan {
        let prefix = &self.options.prefix;
        if prefix.is_empty() {
            // Keys without hash tags are reported as well.
            return every(family);
        }
        // Without the closing brace, which is not next to the prefix.
        let segment = self.store.keyspace.segment(prefix);
        let segment = segment.strip_suffix('}').unwrap_or(&segment);
        every(&format!("{family}{segment}"))
    }

    /// Runs a script for each key, whose codes name what is wrong. With each key comes its thread's
    /// set of namespaces.
    pub(super) async fn codes(
        &mut self,
        keys: Vec<(Bytes, Bytes)>,
        steps: Vec<Step>,
        unregistered: FindingKind,
    ) -> Result<()> {
        let replies = self.store.pipeline("doctor", steps).await?;
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
    pub(super) fn refused(&mut self, key: &[u8], error: Error) -> Result<()> {
        let named = match of_key(key, error) {
            Error::WrongType { key } => Bytes::from(key),
            error => return Err(error),
        };
        self.found_once(FindingKind::WrongType, &named, &named);
        Ok(())
    }

    pub(super) fn found(&mut self, kind: FindingKind, key: &[u8], detail: String, fixed: bool) {
        let key = String::from_utf8_lossy(key).into_owned();
        let finding = Finding {
            kind,
            key,
            detail,
            fixed,
        };
        self.report.add(finding, self.options.max_findings);
    }

    /// Reports once what is found again and again, and is never repaired. What it is about is
    /// remembered as long as findings are kept.
    pub(super) fn found_once(&mut self, kind: FindingKind, key: &[u8], about: &Bytes) {
        let reported = (kind, about.clone());
        if self.reported.contains(&reported) {
            return;
        }
        if self.reported.len() < self.options.max_findings {
            self.reported.insert(reported);
        }
        self.found(kind, key, String::new(), false);
    }

    pub(super) fn mode(&self) -> Bytes {
        Bytes::from_static(if self.options.fix { b"fix" } else { b"look" })
    }
}

/// The keys that start with a text.
pub(super) fn every(start: &str) -> Scan {
    Scan::starting("doctor", start).in_steps_of(PAGE)
}
