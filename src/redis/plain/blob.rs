//! Blobs. Each script is on one key, so it runs wherever scripts are taken; elsewhere the commands
//! follow each other.

use bytes::Bytes;

use super::super::driver::{Command, Reply};
use super::super::scripts::{self, Script};
use super::flight::{Group, Part};
use super::thread::Thread;
use super::{Plain, flag, integer};
use crate::error::Result;

/// Runs a script on its one key, unless scripts are refused.
async fn at_once(
    plain: &Plain<'_>,
    script: &'static Script,
    keys: &[Bytes],
    args: &[Bytes],
) -> Result<Option<Vec<Reply>>> {
    if plain.store.scripts_are_refused() {
        return Ok(None);
    }
    let call = script.call(keys.to_vec(), args.to_vec());
    let mut answers = plain.flight(vec![Part::script(call, Vec::new())]).await?;
    answers.all().map(Some)
}

fn first(answers: Vec<Reply>) -> Reply {
    answers.into_iter().next().unwrap_or(Reply::Nil)
}

/// Stores a blob, unless it is there.
pub(super) async fn put(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    if let Some(answers) = at_once(plain, &scripts::BLOB_PUT, keys, args).await? {
        return Ok(first(answers));
    }
    let [blob] = plain.first::<1>(keys)?;
    let [document, ttl] = plain.first::<2>(args)?;
    let had_blob = plain.are_there([blob.clone()]).await?.contains(&true);
    let arguments = [Bytes::from("$"), document.clone(), Bytes::from("NX")];
    let stored = Group::on(blob).run("JSON.SET", arguments);
    let parts = vec![stored.shared_ttl(integer(ttl), had_blob).part()];
    plain.flight(parts).await?.finish()?;
    Ok(flag(!had_blob))
}

/// Registers blobs before they are stored.
pub(super) async fn register(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    if let Some(answers) = at_once(plain, &scripts::BLOB_REGISTER, keys, args).await? {
        return Ok(first(answers));
    }
    let [registry] = plain.first::<1>(keys)?;
    let [ttl] = plain.first::<1>(args)?;
    let parts = vec![time(), Part::of("EXISTS", registry, [])];
    let mut answers = plain.flight(parts).await?;
    let now = seconds(answers.one()?);
    let had_registry = answers.int()? == 1;
    let members = args[1..]
        .iter()
        .flat_map(|member| [now.clone(), member.clone()]);
    let registered = Group::on(registry).run("ZADD", members);
    let parts = vec![registered.shared_ttl(integer(ttl), had_registry).part()];
    let mut answers = plain.flight(parts).await?;
    Ok(Reply::Int(answers.int()?))
}

/// Notes that a namespace has blobs.
pub(super) async fn mark(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    if let Some(answers) = at_once(plain, &scripts::BLOB_MARK, keys, args).await? {
        return Ok(first(answers));
    }
    let [namespaces] = plain.first::<1>(keys)?;
    let [member, wanted, whole] = plain.first::<3>(args)?;
    let mut answers = plain.flight(Thread::of(namespaces).into()).await?;
    let thread = Thread::read(&mut answers)?;
    let (ttl, whole) = thread.allowed(integer(wanted), integer(whole));
    let named = Group::on(namespaces).run("SADD", [member.clone()]);
    let (named, _) = thread.expire(named, ttl, whole);
    plain.flight(vec![named.part()]).await?.finish()?;
    Ok(flag(ttl == integer(wanted)))
}

/// Takes blobs that nothing names out of their registry.
pub(super) async fn forget(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    if let Some(members) = at_once(plain, &scripts::BLOB_FORGET, keys, args).await? {
        return Ok(Reply::Array(members));
    }
    let [registry] = plain.first::<1>(keys)?;
    let [patience] = plain.first::<1>(args)?;
    let members = &args[1..];
    if members.is_empty() {
        return Ok(Reply::Array(Vec::new()));
    }
    let scores = Part::of(
        "ZMSCORE",
        registry,
        members.iter().map(|member| &member[..]),
    );
    let mut answers = plain.flight(vec![time(), scores]).await?;
    let before = integer(&seconds(answers.one()?)) - integer(patience);
    let is_free = |score: &Reply| match score.as_str() {
        None => true,
        Some(score) => score
            .parse::<f64>()
            .is_ok_and(|since| since == 0.0 || since < seconds_of(before)),
    };
    let scores = answers.one()?.into_array();
    let free: Vec<_> = members
        .iter()
        .zip(scores)
        .filter(|(_, score)| is_free(score))
        .map(|(member, _)| member)
        .collect();
    if !free.is_empty() {
        let taken = Part::of("ZREM", registry, free.iter().map(|member| &member[..]));
        plain.flight(vec![taken]).await?.finish()?;
    }
    let taken = free.into_iter().cloned().map(Reply::Bytes);
    Ok(Reply::Array(taken.collect()))
}

/// The part that asks a server for its time.
fn time() -> Part {
    Part::command(Command::new("TIME"))
}

/// The whole seconds of a server's time.
fn seconds(time: Reply) -> Bytes {
    let seconds = time.into_array().into_iter().next();
    seconds.and_then(Reply::into_bytes).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss)] // Seconds since 1970 are exact in 53 bits.
fn seconds_of(seconds: i64) -> f64 {
    seconds as f64
}
