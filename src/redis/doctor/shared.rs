//! Keys that several checkpoints share: they do not outlive what they stand for.

use bytes::Bytes;

use super::{Doctor, FindingKind, MOST_SHARED};
use crate::error::Result;
use crate::redis::driver::Command;
use crate::redis::scripts;
use crate::redis::write::text;

impl Doctor<'_> {
    /// A shared key has a TTL if all that it stands for has one.
    pub(super) async fn shared(
        &mut self,
        key: &Bytes,
        namespaces: &Bytes,
        count: &str,
        prefix: Bytes,
        named: &[Bytes],
    ) -> Result<()> {
        if named.is_empty() || named.len() > MOST_SHARED || self.time_left(key).await? != -1 {
            return Ok(());
        }
        let mut args = vec![self.mode(), text(count), prefix];
        args.extend_from_slice(named);
        let call = scripts::DOCTOR_SHARED.call(vec![key.clone(), namespaces.clone()], args);
        if self.store.script("doctor", call).await?.as_int() == Some(1) {
            let kind = FindingKind::SharedKeyOutlives;
            self.found(kind, key, String::new(), self.options.fix);
        }
        Ok(())
    }

    pub(super) async fn time_left(&self, key: &Bytes) -> Result<i64> {
        let left = Command::on("PTTL", key.clone());
        let left = self.store.driver.call("doctor", left).await?;
        Ok(left.as_int().unwrap_or(-2))
    }
}
