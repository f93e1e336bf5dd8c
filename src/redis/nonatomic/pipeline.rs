//! Pipelines of requests, each of which is on one key and therefore atomic.

use bytes::Bytes;

use super::Run;
use crate::error::{Error, Result};
use crate::redis::args::number;
use crate::redis::driver::{Command, Reply};
use crate::redis::error::of_key;
use crate::redis::scripts::Request;

impl Run<'_> {
    /// Sends requests in one pipeline.
    pub(super) async fn pipeline(&self, requests: Vec<Request>) -> Result<Replies> {
        let replies = self.session.batch(self.operation, &requests).await?;
        let replies = requests.iter().zip(replies).map(|(request, reply)| {
            let key = request.key().cloned().unwrap_or_default();
            let reply = reply.map(|reply| match (request, reply) {
                (Request::Script(_), Reply::Array(replies)) => replies,
                (_, reply) => vec![reply],
            });
            (key, reply)
        });
        let replies: Vec<_> = replies.collect();
        Ok(Replies(replies.into_iter()))
    }
}

/// The replies to the requests of a pipeline, in their order.
#[derive(Debug)]
pub(super) struct Replies(std::vec::IntoIter<(Bytes, Result<Vec<Reply>>)>);

impl Replies {
    /// What the commands of the next request returned.
    pub(super) fn all(&mut self) -> Result<Vec<Reply>> {
        let Some((key, reply)) = self.0.next() else {
            return Err(Error::Closed);
        };
        reply.map_err(|error| of_key(&key, error))
    }

    /// What the first command of the next request returned.
    pub(super) fn one(&mut self) -> Result<Reply> {
        Ok(self.all()?.into_iter().next().unwrap_or(Reply::Nil))
    }

    /// The number that the next request returned, 0 for none.
    pub(super) fn int(&mut self) -> Result<i64> {
        Ok(self.one()?.as_int().unwrap_or(0))
    }

    /// The same as a number that is never negative.
    pub(super) fn count(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.int()?).unwrap_or(0))
    }

    /// The numbers that the next requests returned.
    pub(super) fn ints(&mut self, count: usize) -> Result<Vec<i64>> {
        (0..count).map(|_| self.int()).collect()
    }

    /// The bytes that the next request returned.
    pub(super) fn bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(self.one()?.into_bytes())
    }

    /// The list of bytes that the next request returned.
    pub(super) fn list(&mut self) -> Result<Vec<Bytes>> {
        let list = self.one()?.into_array().into_iter();
        Ok(list.filter_map(Reply::into_bytes).collect())
    }

    /// Requires that all that is left went well.
    pub(super) fn finish(mut self) -> Result<()> {
        while self.0.len() > 0 {
            self.all()?;
        }
        Ok(())
    }
}

/// The command that gives a key that holds one thing its TTL in milliseconds, as the scripts do; 0
/// is none.
pub(super) fn expire(key: &Bytes, ttl: i64) -> Command {
    if ttl > 0 {
        Command::on("PEXPIRE", key.clone()).arg(number(ttl))
    } else {
        Command::on("PERSIST", key.clone())
    }
}

/// The same for a key that is shared by things of different TTLs, which gets the longest.
pub(super) fn expire_shared(key: &Bytes, ttl: i64) -> Command {
    let command = expire(key, ttl);
    if ttl > 0 { command.arg("GT") } else { command }
}
