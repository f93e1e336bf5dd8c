//! What documents say of themselves.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::Value;

use super::Doctor;
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::redis::driver::Command;
use crate::redis::keys::namespace_from_stored;

/// The ids that a document names itself by.
pub(super) struct Named {
    pub(super) thread_id: ThreadId,
    pub(super) namespace: CheckpointNamespace,
    pub(super) checkpoint_id: CheckpointId,
    /// For a write: its task and index.
    pub(super) task: Option<(TaskId, i64)>,
}

impl Doctor<'_> {
    /// The ids in the documents of a page of keys; keys without a document are left out.
    pub(super) async fn named_page(
        &mut self,
        page: Vec<Bytes>,
        writes: bool,
    ) -> Result<Vec<(Bytes, Option<Named>)>> {
        let steps = page.iter().map(|key| ids_command(key, writes).into());
        let replies = self.store.flight("doctor", steps.collect()).await?;
        let mut found = Vec::with_capacity(page.len());
        for (key, reply) in page.into_iter().zip(replies) {
            match reply {
                Err(error) => self.refused(&key, error)?,
                Ok(reply) => {
                    if let Some(document) = reply.into_bytes() {
                        found.push((key, parse_named(&document)));
                    }
                }
            }
        }
        Ok(found)
    }

    pub(super) async fn named(&mut self, key: &Bytes, writes: bool) -> Result<Option<Named>> {
        let page = self.named_page(vec![key.clone()], writes).await?;
        Ok(page.into_iter().next().and_then(|(_, named)| named))
    }
}

pub(super) fn ids_command(key: &Bytes, writes: bool) -> Command {
    let mut paths = vec!["$.thread_id", "$.checkpoint_ns", "$.checkpoint_id"];
    if writes {
        paths.extend(["$.task_id", "$.idx"]);
    }
    Command::on("JSON.GET", key.clone()).args(paths.into_iter().map(Bytes::from))
}

/// What [`ids_command`] answers; `None` if there are no ids.
pub(super) fn parse_named(document: &[u8]) -> Option<Named> {
    let fields: HashMap<String, Vec<Value>> = serde_json::from_slice(document).ok()?;
    let text = |name: &str| fields.get(name)?.first()?.as_str();
    let task = text("$.task_id").and_then(|task| {
        let idx = fields.get("$.idx")?.first()?.as_i64()?;
        Some((TaskId::new(task).ok()?, idx))
    });
    let namespace = text("$.checkpoint_ns")?;
    Some(Named {
        thread_id: ThreadId::new(text("$.thread_id")?).ok()?,
        namespace: namespace_from_stored(namespace).ok()?,
        checkpoint_id: CheckpointId::new(text("$.checkpoint_id")?).ok()?,
        task,
    })
}
