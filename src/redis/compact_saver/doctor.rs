//! `doctor` of the layout: looks at every thread, says what is wrong, and puts it right when asked.
//!
//! A thread is looked at step by step. What is removed is removed by scripts that check again that
//! nothing needs it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::list::{codecs, readers};
use super::scripts::{Order, forget_writes, page_call, page_of};
use super::{Compact, collect, threads};
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, ThreadId};
use crate::redis::doctor::{DoctorOptions, DoctorReport, Finding, FindingKind, recent_threads};
use crate::redis::driver::Command;
use crate::redis::keys::{CheckpointRef, CompactKeys};
use crate::redis::scan::Scan;

/// How many checkpoints are read at once.
const PAGE: usize = 32;

/// How often a thread is looked at again that was written at the same time.
const ATTEMPTS: usize = 3;

/// Looks at every thread, reports what is wrong, and repairs it if the options say so.
pub(super) async fn doctor(layout: &Arc<Compact>, options: &DoctorOptions) -> Result<DoctorReport> {
    options
        .expect_ttl
        .resolve(layout.store.settings.ttl.default)?;
    let mut doctor = Doctor {
        layout,
        options,
        report: DoctorReport::of(options),
    };
    let store = &layout.store;
    let hasher = RandomState::new();
    let mut seen = HashSet::new();
    for pattern in store.keyspace.compact_patterns(&options.prefix) {
        let mut scan = Scan::matching("doctor", pattern);
        while let Some(keys) = scan.next(store).await? {
            for key in keys {
                let Some(thread) = store.keyspace.of_compact(&key) else {
                    doctor.found(FindingKind::Foreign, &key, "", false);
                    continue;
                };
                let is_wanted = thread.as_str().starts_with(&options.prefix);
                if is_wanted && seen.insert(hasher.hash_one(&thread)) {
                    doctor.thread(&thread).await?;
                }
            }
        }
    }
    let every = threads::threads(layout, &options.prefix);
    recent_threads(store, options, &mut doctor.report, every).await?;
    Ok(doctor.report)
}

/// A run of the doctor.
struct Doctor<'a> {
    layout: &'a Compact,
    options: &'a DoctorOptions,
    report: DoctorReport,
}

impl Doctor<'_> {
    async fn thread(&mut self, thread: &ThreadId) -> Result<()> {
        let keys = self.layout.store.keyspace.compact(thread);
        let Some(has) = self.types(&keys).await? else {
            return Ok(());
        };
        self.lost_writes(&keys).await?;
        match self.parts(thread, &keys, has).await {
            Err(error) => self.unreadable(error)?,
            Ok(()) if self.options.read_values => self.values(thread).await?,
            Ok(()) => {}
        }
        Ok(())
    }

    /// Which keys a thread has; `None` if one of them holds another type.
    async fn types(&mut self, keys: &CompactKeys) -> Result<Option<[bool; 3]>> {
        let wanted = ["zset", "hash", "zset"];
        let all = keys.all();
        self.report.looked_at(all.len());
        let steps = all
            .iter()
            .map(|key| Command::on("TYPE", key.clone()).into());
        let replies = self
            .layout
            .store
            .pipeline("doctor", steps.collect())
            .await?;
        let (mut has, mut is_wrong) = ([false; 3], false);
        for (((key, wanted), has), reply) in all.iter().zip(wanted).zip(&mut has).zip(replies) {
            let reply = reply?;
            match reply.as_str() {
                Some("none") => {}
                Some(found) if found == wanted => *has = true,
                _ => {
                    self.found(FindingKind::WrongType, key, "", false);
                    is_wrong = true;
                }
            }
        }
        Ok((!is_wrong).then_some(has))
    }

    async fn lost_writes(&mut self, keys: &CompactKeys) -> Result<()> {
        let fix = self.options.fix;
        let lost = forget_writes(&self.layout.store, "doctor", keys, fix).await?;
        if let Some(key) = lost {
            self.found(FindingKind::WritesGone, &key, "", fix);
        }
        Ok(())
    }

    /// Which parts nothing names, and which are named and gone.
    async fn parts(&mut self, thread: &ThreadId, keys: &CompactKeys, has: [bool; 3]) -> Result<()> {
        let mut counted = None;
        for _ in 0..ATTEMPTS {
            counted = collect::count(self.layout, "doctor", thread).await?;
            if counted.is_some() {
                break;
            }
        }
        // A thread that is being written all the time is looked at by another run.
        let Some(counted) = counted else {
            return Ok(());
        };
        if counted.absent > 0 {
            let detail = format!("{} of them", counted.absent);
            self.found(FindingKind::PartsGone, &keys.parts, &detail, false);
        }
        let are_alone = has == [false, true, false];
        if counted.unnamed == 0 && !are_alone {
            return Ok(());
        }
        let mut fixed = false;
        if self.options.fix {
            let removed = collect::collect(self.layout, "doctor", thread).await?;
            fixed = removed.is_some_and(|removed| removed >= counted.unnamed);
        }
        let detail = if are_alone {
            "nothing else is left of the thread".to_owned()
        } else {
            format!("{} of them", counted.unnamed)
        };
        self.found(FindingKind::PartsUnnamed, &keys.parts, &detail, fixed);
        Ok(())
    }

    /// Whether calls can read all that a thread has.
    async fn values(&mut self, thread: &ThreadId) -> Result<()> {
        let namespaces = match self.layout.namespaces("doctor", thread).await {
            Ok(namespaces) => namespaces,
            Err(error) => return self.unreadable(error),
        };
        for namespace in namespaces {
            if let Err(error) = self.values_of(thread, &namespace).await {
                self.unreadable(error)?;
            }
        }
        Ok(())
    }

    async fn values_of(
        &mut self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<()> {
        let (layout, store) = (self.layout, &self.layout.store);
        let keys = store.keyspace.compact(thread);
        let mut last = None;
        loop {
            let call = page_call(&keys, namespace, Order::NewestFirst, last.as_ref(), PAGE);
            let (more, ids) = page_of(&keys, store.script("doctor", call).await?)?;
            last = ids.last().cloned().or(last);
            let page: Vec<_> = ids
                .iter()
                .map(|id| CheckpointRef::new(thread, namespace, id))
                .collect();
            let codecs = codecs(layout, page.iter());
            let mut readers = readers(&codecs);
            for found in layout.read_heads("doctor", &page, &mut readers).await? {
                let found = match found {
                    Ok(Some(found)) => layout.read("doctor", &found.at.config(), false).await,
                    Ok(None) => continue,
                    Err(error) => Err(error),
                };
                if let Err(error) = found {
                    self.unreadable(error)?;
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// What cannot be read is a finding.
    fn unreadable(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corrupt { key, reason, .. } => {
                self.found(FindingKind::Unreadable, key.as_bytes(), &reason, false);
                Ok(())
            }
            Error::WrongType { key } => {
                self.found(FindingKind::WrongType, key.as_bytes(), "", false);
                Ok(())
            }
            error => Err(error),
        }
    }

    fn found(&mut self, kind: FindingKind, key: &[u8], detail: &str, fixed: bool) {
        let finding = Finding {
            kind,
            key: String::from_utf8_lossy(key).into_owned(),
            detail: detail.to_owned(),
            fixed,
        };
        self.report.add(finding, self.options.max_findings);
    }
}
