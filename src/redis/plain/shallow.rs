//! Shallow mode: the document decides; what it consumed is removed after it is there.

use bytes::Bytes;

use super::super::driver::{Command, Reply, number};
use super::super::error::{foreign, unexpected};
use super::super::scripts;
use super::flight::{Answers, Group, Part, expire};
use super::lock::Lock;
use super::read::document_of;
use super::thread::{Thread, forget_namespace, pexpire};
use super::ttl::change_of;
use super::{Names, PINNED, Plain, after, count, flag, integer, join};
use crate::error::Result;

pub(super) use super::put_writes::put_shallow as put_writes;

/// The keys and arguments that all scripts of shallow mode have.
struct Place<'a> {
    document: &'a Bytes,
    registries: Vec<&'a Bytes>,
    namespaces: &'a Bytes,
    thread: &'a Bytes,
    namespace: &'a Bytes,
    stored: &'a Bytes,
    writes: &'a Bytes,
}

/// Writes of a registry.
#[derive(Default)]
struct Writes {
    own: Vec<Bytes>,
    gone: Vec<Bytes>,
}

/// Stores the one checkpoint of a namespace, unless a newer one is there.
pub(super) async fn put(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let place = Place::of(plain, keys, args)?;
    let [_, _, _, _, json, id, ttl, expected] = plain.first::<8>(args)?;
    let ttl = integer(ttl);
    // Without scripts the document cannot decide, so calls go one by one.
    let lock: Option<Lock> = if plain.store.scripts_are_refused() {
        Some(plain.lock(place.document).await?)
    } else {
        None
    };
    let reply = place
        .put(plain, json, id, ttl, (expected, lock.as_ref()))
        .await;
    if let Some(lock) = lock {
        plain.unlock(lock).await;
    }
    reply
}

/// Reads the checkpoint of a namespace with its writes.
pub(super) async fn read(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let place = Place::of(plain, keys, args)?;
    let [_, _, _, _, id, ttl, all] = plain.first::<7>(args)?;
    let (ttl, all) = (integer(ttl), all == "all");
    let mut parts = vec![
        Names::of(place.document),
        Part::of("JSON.GET", place.document, []),
        Part::of("PTTL", place.document, []),
    ];
    parts.extend(place.registered());
    let mut answers = plain.flight(parts).await?;
    let names = Names::read(answers.bytes()?);
    let document = answers.bytes()?;
    let left = answers.int()?;
    let names = names.filter(|names| {
        let checkpoint = names.checkpoint().map(str::as_bytes);
        place.is_of(names) && checkpoint.is_some_and(|found| id.is_empty() || found == id)
    });
    if names.is_none() && !all {
        return Ok(Reply::Array(Vec::new()));
    }
    let document = document.filter(|_| names.is_some()).unwrap_or_default();
    let prefix = match names.as_ref().and_then(Names::checkpoint) {
        Some(id) if !all => join(&[place.writes, id.as_bytes(), b":"]),
        _ => place.writes.clone(),
    };
    let mut writes = Vec::new();
    for _ in &place.registries {
        let keys = answers.list()?.into_iter();
        writes.extend(keys.filter(|key| after(key, &prefix).is_some()));
    }
    let mut parts: Vec<_> = writes
        .iter()
        .map(|key| Part::of("JSON.GET", key, []))
        .collect();
    // A document without a TTL is pinned, or kept for ever; reading it does not give it one.
    if ttl > 0 && left > 0 {
        let own = [place.document].into_iter().chain(&writes);
        parts.extend(own.map(|key| pexpire(key, ttl, Some("XX"))));
        let shared = place.registries.iter().copied().chain([place.namespaces]);
        parts.extend(shared.map(|key| pexpire(key, ttl, Some("GT"))));
    }
    let mut result = vec![Reply::Bytes(document)];
    if !parts.is_empty() {
        let mut answers = plain.flight(parts).await?;
        for _ in &writes {
            result.extend(document_of(answers.bytes())?.map(Reply::Bytes));
        }
        answers.finish()?;
    }
    Ok(Reply::Array(result))
}

/// Removes the checkpoint of a namespace with its writes.
pub(super) async fn remove(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let place = Place::of(plain, keys, args)?;
    let [_, _, _, _, id, run, most] = plain.first::<7>(args)?;
    let most = usize::try_from(integer(most)).unwrap_or(usize::MAX);
    let mut parts = vec![
        Names::of(place.document),
        Part::of("JSON.GET", place.document, [&b"$.run_id"[..]]),
    ];
    parts.extend(place.registered());
    let mut answers = plain.flight(parts).await?;
    let names = Names::read(answers.bytes()?);
    let made_by = answers.bytes()?.unwrap_or_default();
    let mut is_own = names.as_ref().is_some_and(|names| place.is_of(names));
    if !id.is_empty() {
        let checkpoint = names.as_ref().and_then(Names::checkpoint);
        is_own &= checkpoint.map(str::as_bytes) == Some(id);
        if !run.is_empty() {
            let made_by = serde_json::from_slice::<[String; 1]>(&made_by).ok();
            is_own &= made_by.is_some_and(|[made_by]| made_by.as_bytes() == run);
        }
        if !is_own {
            return Ok(Reply::Array(vec![count(0), count(0), flag(false)]));
        }
    }
    let is_wanted = |of: &[u8]| id.is_empty() || of == id;
    let (mut removed, mut are_left) = (0, false);
    for registry in &place.registries {
        let writes = place
            .own_writes(plain, answers.list()?, most, &is_wanted)
            .await?;
        are_left |= writes.own.len() + writes.gone.len() >= most;
        removed += writes.own.len();
        let parts = writes.remove(registry);
        if !parts.is_empty() {
            plain.flight(parts).await?.finish()?;
        }
    }
    let mut documents = 0;
    if !are_left {
        let mut parts = Vec::new();
        if is_own {
            parts.push(Part::of("UNLINK", place.document, []));
        }
        parts.push(Part::of("EXISTS", place.registries[0], []));
        let mut answers = plain.flight(parts).await?;
        if is_own {
            documents = answers.int()?;
        }
        if !id.is_empty() && answers.int()? == 1 {
            return Ok(removed_of(documents, removed, false));
        }
        place.forget(plain).await?;
    }
    Ok(removed_of(documents, removed, are_left))
}

fn removed_of(documents: i64, writes: usize, are_left: bool) -> Reply {
    Reply::Array(vec![Reply::Int(documents), count(writes), flag(are_left)])
}

/// Changes the TTL of a namespace.
pub(super) async fn change_ttl(plain: &Plain<'_>, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
    let place = Place::of(plain, keys, args)?;
    let [_, _, _, _, ttl, verb] = plain.first::<6>(args)?;
    let mut parts = vec![Names::of(place.document)];
    parts.extend(place.registered());
    let mut answers = plain.flight(parts).await?;
    let names = Names::read(answers.bytes()?);
    let mut keys = Vec::new();
    if names.is_some_and(|names| place.is_of(&names)) {
        keys.push(place.document.clone());
    }
    let mut registries = Vec::new();
    for registry in &place.registries {
        let writes = place
            .own_writes(plain, answers.list()?, usize::MAX, &|_| true)
            .await?;
        if !writes.own.is_empty() {
            registries.push((*registry).clone());
        }
        keys.extend(writes.own);
    }
    if keys.is_empty() {
        return Ok(Reply::Int(0));
    }
    let found = count(keys.len());
    keys.extend(registries);
    keys.push(place.namespaces.clone());
    let mark = match &verb[..] {
        // The Python saver has no such set, and the mark needs one.
        b"pin" => Part::of("SADD", place.namespaces, [PINNED, place.stored]),
        b"unpin" => Part::of("SREM", place.namespaces, [PINNED]),
        _ => Part::of("SISMEMBER", place.namespaces, [PINNED]),
    };
    let is_pinned = plain.flight(vec![mark]).await?.int()? == 1;
    if is_pinned && verb == "touch" {
        return Ok(found);
    }
    let ttl = integer(ttl);
    let parts: Vec<_> = keys
        .iter()
        .filter_map(|key| change_of(key, ttl, verb))
        .collect();
    if !parts.is_empty() {
        plain.flight(parts).await?.finish()?;
    }
    Ok(found)
}

impl<'a> Place<'a> {
    fn of(plain: &Plain<'_>, keys: &'a [Bytes], args: &'a [Bytes]) -> Result<Self> {
        let [document, registry, namespaces] = plain.first::<3>(keys)?;
        let [thread, namespace, stored, writes] = plain.first::<4>(args)?;
        Ok(Self {
            document,
            registries: [registry].into_iter().chain(keys.get(3)).collect(),
            namespaces,
            thread,
            namespace,
            stored,
            writes,
        })
    }

    fn is_of(&self, names: &Names) -> bool {
        names.thread().map(str::as_bytes) == Some(self.thread)
            && names.namespace().map(str::as_bytes) == Some(self.namespace)
    }

    /// The parts that ask for the writes.
    fn registered(&self) -> impl Iterator<Item = Part> {
        let range = |registry: &&Bytes| Part::of("ZRANGE", registry, [&b"0"[..], b"-1"]);
        self.registries.iter().map(range)
    }

    /// Of what a registry names, the writes of this namespace and those that are gone.
    async fn own_writes(
        &self,
        plain: &Plain<'_>,
        registered: Vec<Bytes>,
        most: usize,
        is_wanted: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<Writes> {
        let mut writes = Writes::default();
        let keys = registered.into_iter();
        let keys: Vec<_> = keys
            .filter(|key| self.checkpoint_of(key).is_some_and(is_wanted))
            .take(most)
            .collect();
        if keys.is_empty() {
            return Ok(writes);
        }
        let parts = keys.iter().map(Names::of).collect();
        let mut answers = plain.flight(parts).await?;
        for key in keys {
            let Some(names) = Names::read(document_of(answers.bytes())?) else {
                writes.gone.push(key);
                continue;
            };
            let checkpoint = names.checkpoint().map(str::as_bytes);
            if self.is_of(&names) && checkpoint.is_some_and(is_wanted) {
                writes.own.push(key);
            }
        }
        Ok(writes)
    }

    /// The checkpoint that the key of a write names.
    fn checkpoint_of<'b>(&self, key: &'b [u8]) -> Option<&'b [u8]> {
        let mut parts = after(key, self.writes)?.rsplitn(3, |byte| *byte == b':');
        parts.next()?;
        parts.next()?;
        parts.next().filter(|id| !id.is_empty())
    }

    async fn put(
        &self,
        plain: &Plain<'_>,
        json: &Bytes,
        id: &Bytes,
        ttl: i64,
        (expected, lock): (&Bytes, Option<&Lock>),
    ) -> Result<Reply> {
        let mut parts = if lock.is_some() {
            vec![Names::of(self.document)]
        } else {
            vec![self.replace(json, id, ttl, expected)]
        };
        parts.extend(Thread::of(self.namespaces));
        parts.extend(self.registered());
        let mut answers = plain.flight(parts).await?;
        if lock.is_none() && plain.store.scripts_are_refused() {
            return Err(plain.no_twin("the server refuses scripts"));
        }
        let (mut is_new, mut is_kept) = (false, false);
        let is_stored = if lock.is_some() {
            self.may_replace(answers.bytes()?, id, expected)?
        } else {
            let stored = answers.int()?;
            (is_new, is_kept) = (stored == 2, stored == 3);
            stored > 0
        };
        if !is_stored {
            return Ok(Reply::Int(0));
        }
        let (thread, registered) = match self.rest(&mut answers) {
            Ok(rest) => rest,
            Err(error) => {
                if is_new {
                    let unlink = Part::of("UNLINK", self.document, []);
                    plain.flight(vec![unlink]).await?.finish()?;
                }
                return Err(error);
            }
        };
        let allowed = if thread.is_pinned { 0 } else { ttl };
        if let Some(lock) = lock {
            plain.renew(lock).await?;
            let document = Group::on(self.document)
                .run("JSON.SET", [Bytes::from("$"), json.clone()])
                .ttl(allowed, true);
            plain.flight(vec![document.part()]).await?.finish()?;
        }
        let is_given = allowed == ttl && !is_kept;
        self.consume(plain, registered, id, thread, (is_given, allowed))
            .await?;
        Ok(Reply::Int(1))
    }

    /// What is known of the thread, and what the registries of writes name.
    fn rest(&self, answers: &mut Answers) -> Result<(Thread, Vec<Vec<Bytes>>)> {
        let thread = Thread::read(answers)?;
        let registered = self.registries.iter().map(|_| answers.list());
        Ok((thread, registered.collect::<Result<_>>()?))
    }

    /// Adds the namespace to the thread's, and removes the writes of older checkpoints.
    async fn consume(
        &self,
        plain: &Plain<'_>,
        registered: Vec<Vec<Bytes>>,
        id: &Bytes,
        thread: Thread,
        (is_given, allowed): (bool, i64),
    ) -> Result<()> {
        let namespaces = Group::on(self.namespaces).run("SADD", [self.stored.clone()]);
        let namespaces = namespaces.shared_ttl(allowed, thread.is_there());
        let mut parts = vec![namespaces.part(), Thread::pinned(self.namespaces)];
        if !is_given {
            parts.extend(expire(self.document, allowed, false, true).map(Part::command));
        }
        let is_older = |of: &[u8]| of < &id[..];
        // Only names with colons may be those of others.
        let is_shared = [self.thread, self.namespace]
            .iter()
            .any(|name| name.contains(&b':'));
        for (registry, registered) in self.registries.iter().zip(registered) {
            let writes = if is_shared {
                self.own_writes(plain, registered, usize::MAX, &is_older)
                    .await?
            } else {
                let own = registered.into_iter();
                let is_consumed = |key: &Bytes| self.checkpoint_of(key).is_some_and(is_older);
                Writes {
                    own: own.filter(is_consumed).collect(),
                    gone: Vec::new(),
                }
            };
            parts.extend(writes.remove(registry));
        }
        let mut answers = plain.flight(parts).await?;
        answers.all()?;
        let is_pinned = answers.int()? == 1;
        answers.finish()?;
        if is_pinned && allowed > 0 {
            // The thread was pinned meanwhile.
            let keys = [self.document, self.namespaces];
            let parts = keys.map(|key| Part::of("PERSIST", key, []));
            plain.flight(parts.into()).await?.finish()?;
        }
        Ok(())
    }

    fn replace(&self, json: &Bytes, id: &Bytes, ttl: i64, expected: &Bytes) -> Part {
        let args = vec![
            self.thread.clone(),
            self.namespace.clone(),
            id.clone(),
            json.clone(),
            number(ttl),
            expected.clone(),
        ];
        let script = scripts::SHALLOW_REPLACE.call(vec![self.document.clone()], args);
        // If the server refuses the script, nothing is stored and the call starts again.
        let nothing = Command::on("EXISTS", self.document.clone());
        Part::script(script, vec![nothing])
    }

    /// What the script decides, where scripts are refused.
    fn may_replace(&self, names: Option<Bytes>, id: &Bytes, expected: &Bytes) -> Result<bool> {
        let names = Names::read(names);
        let newest = names.as_ref().and_then(Names::checkpoint);
        if let Some(names) = &names
            && !(self.is_of(names) && newest.is_some())
        {
            return Err(foreign(&String::from_utf8_lossy(self.document)));
        }
        let found = newest.map(str::as_bytes);
        let wanted = expected.strip_prefix(b"=");
        if found != Some(id) && !expected.is_empty() && found != wanted {
            return Err(unexpected(newest.unwrap_or_default()));
        }
        Ok(found.is_none_or(|found| found <= &id[..]))
    }

    /// Takes the namespace out of the thread's, unless something came back meanwhile.
    async fn forget(&self, plain: &Plain<'_>) -> Result<()> {
        let mut keys = self.registries.clone();
        keys.push(self.document);
        forget_namespace(plain, self.namespaces, self.stored, &keys).await?;
        Ok(())
    }
}

impl Writes {
    /// The parts that remove them, and take those out of the registry that are gone already.
    fn remove(&self, registry: &Bytes) -> Vec<Part> {
        let mut parts: Vec<_> = self
            .own
            .iter()
            .map(|key| Part::of("UNLINK", key, []))
            .collect();
        let members = self.own.iter().chain(&self.gone).map(|key| &key[..]);
        let members: Vec<_> = members.collect();
        if !members.is_empty() {
            parts.push(Part::of("ZREM", registry, members));
        }
        parts
    }
}
