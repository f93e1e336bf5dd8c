//! Keys that several checkpoints share: they do not outlive what they stand for.

use bytes::Bytes;

use super::report::FindingKind;
use super::run::{Doctor, PAGE};
use crate::error::Result;
use crate::redis::args::number;
use crate::redis::driver::Command;
use crate::redis::scan::Members;
use crate::redis::scripts::{self, Step};

/// Up to how many things one script looks at all of what a key stands for.
const MOST_AT_ONCE: usize = 500;

/// What a shared key stands for, and that it has a TTL.
pub(super) struct Lasting {
    /// Which keys, unless there are very many.
    named: Vec<Bytes>,
    /// How many members the shared key has.
    members: usize,
    /// The longest TTL in ms.
    longest: i64,
}

impl Doctor<'_> {
    /// Whether a shared key has no TTL though all that it stands for has one. `names` makes a key
    /// of a member; `None` for a member that stands for none.
    pub(super) async fn outlives(
        &self,
        key: &Bytes,
        mut members: Members,
        names: impl Fn(&[u8]) -> Option<Bytes>,
    ) -> Result<Option<Lasting>> {
        if self.time_left(key).await? != -1 {
            return Ok(None);
        }
        let mut lasting = Lasting {
            named: Vec::new(),
            members: 0,
            longest: -2,
        };
        while let Some(page) = members.next(self.store).await? {
            lasting.members += page.len();
            let keys: Vec<Bytes> = page.iter().filter_map(|member| names(member)).collect();
            for slice in keys.chunks(PAGE) {
                match self.longest(slice).await? {
                    -1 => return Ok(None),
                    left => lasting.longest = lasting.longest.max(left),
                }
            }
            if lasting.members <= MOST_AT_ONCE {
                lasting.named.extend(keys);
            } else {
                lasting.named.clear();
            }
        }
        Ok((lasting.longest >= 0).then_some(lasting))
    }

    /// Gives a shared key the TTL of what it stands for.
    pub(super) async fn shorten(
        &mut self,
        key: &Bytes,
        namespaces: &Bytes,
        lasting: Lasting,
        again: Members,
        names: impl Fn(&[u8]) -> Option<Bytes>,
    ) -> Result<()> {
        let is_large = lasting.members > MOST_AT_ONCE;
        let count = if is_large {
            self.size(key).await?
        } else {
            lasting.members
        };
        if !self
            .shorten_to(key, namespaces, &number(count), lasting)
            .await?
        {
            return Ok(());
        }
        let mut fixed = self.options.fix;
        if is_large && fixed {
            // What was put in between may have no TTL.
            let mut members = again;
            while let Some(page) = members.next(self.store).await? {
                let keys: Vec<Bytes> = page.iter().filter_map(|member| names(member)).collect();
                if self.longest(&keys).await? == -1 {
                    let persist = Command::on("PERSIST", key.clone());
                    self.store.driver().call("doctor", persist).await?;
                    fixed = false;
                    break;
                }
            }
        }
        self.found(FindingKind::SharedKeyOutlives, key, String::new(), fixed);
        Ok(())
    }

    /// A pointer is shared as well: it has a TTL if what it names has one.
    pub(super) async fn pointer_outlives(
        &mut self,
        pointer: &Bytes,
        namespaces: &Bytes,
        documents: &Bytes,
    ) -> Result<()> {
        let get = Command::on("GET", pointer.clone());
        let target = self.store.driver().call("doctor", get).await?.into_bytes();
        let Some(target) = target.filter(|target| target.starts_with(documents)) else {
            return Ok(());
        };
        let lasting = Lasting {
            named: vec![target],
            members: 0,
            longest: -2,
        };
        if self
            .shorten_to(pointer, namespaces, &Bytes::new(), lasting)
            .await?
        {
            let kind = FindingKind::SharedKeyOutlives;
            self.found(kind, pointer, String::new(), self.options.fix);
        }
        Ok(())
    }

    async fn shorten_to(
        &self,
        key: &Bytes,
        namespaces: &Bytes,
        count: &Bytes,
        lasting: Lasting,
    ) -> Result<bool> {
        // What a script looks at itself may have changed since.
        let longest = if lasting.named.is_empty() {
            lasting.longest
        } else {
            -2
        };
        let mut args = vec![self.mode(), count.clone(), number(longest)];
        args.extend(lasting.named);
        let call = scripts::DOCTOR_SHARED.call(vec![key.clone(), namespaces.clone()], args);
        Ok(self.store.script("doctor", call).await?.as_int() == Some(1))
    }

    async fn size(&self, key: &Bytes) -> Result<usize> {
        let kind = Command::on("TYPE", key.clone());
        let kind = self.store.driver().call("doctor", kind).await?;
        let name = if kind.as_str() == Some("set") {
            "SCARD"
        } else {
            "ZCARD"
        };
        let size = self
            .store
            .driver()
            .call("doctor", Command::on(name, key.clone()));
        let size = size.await?.as_int().unwrap_or(0);
        Ok(usize::try_from(size).unwrap_or(0))
    }

    /// The longest time in ms that some keys have left; -1 if one has no TTL, -2 if none is there.
    async fn longest(&self, keys: &[Bytes]) -> Result<i64> {
        let steps: Vec<Step> = keys
            .iter()
            .map(|key| Command::on("PTTL", key.clone()).into())
            .collect();
        let mut longest = -2;
        for reply in self.store.pipeline("doctor", steps).await? {
            match reply?.as_int().unwrap_or(-2) {
                -1 => return Ok(-1),
                left => longest = longest.max(left),
            }
        }
        Ok(longest)
    }

    pub(super) async fn time_left(&self, key: &Bytes) -> Result<i64> {
        let left = Command::on("PTTL", key.clone());
        let left = self.store.driver().call("doctor", left).await?;
        Ok(left.as_int().unwrap_or(-2))
    }
}
