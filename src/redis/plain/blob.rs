//! Blobs. Each script is on one key, so it runs wherever that key is.

use bytes::Bytes;

use super::super::driver::Reply;
use super::super::scripts::{self, Script};
use super::Plain;
use super::flight::Part;
use crate::error::Result;

/// Runs a script on its one key.
async fn run(
    plain: &Plain<'_>,
    script: &'static Script,
    keys: &[Bytes],
    args: &[Bytes],
) -> Result<Vec<Reply>> {
    let call = script.call(keys.to_vec(), args.to_vec());
    plain.flight(vec![Part::script(call)]).await?.all()
}

fn first(answers: Vec<Reply>) -> Reply {
    answers.into_iter().next().unwrap_or(Reply::Nil)
}

/// Stores a blob, unless it is there.
pub(super) async fn put(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    run(plain, &scripts::BLOB_PUT, keys, args).await.map(first)
}

/// Registers blobs before they are stored.
pub(super) async fn register(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let answers = run(plain, &scripts::BLOB_REGISTER, keys, args).await;
    answers.map(first)
}

/// Notes that a namespace has blobs.
pub(super) async fn mark(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    run(plain, &scripts::BLOB_MARK, keys, args).await.map(first)
}

/// Takes blobs that nothing names out of their registry.
pub(super) async fn forget(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let answers = run(plain, &scripts::BLOB_FORGET, keys, args).await;
    answers.map(Reply::Array)
}
