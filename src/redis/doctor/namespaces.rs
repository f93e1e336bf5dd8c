//! Sets of namespaces: what they name is there.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::report::FindingKind;
use super::run::{Doctor, MEMBERS, every};
use crate::error::{Error, Result};
use crate::id::ThreadId;
use crate::redis::args::number;
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::{Member, NamespaceKeys};
use crate::redis::scan::Members;
use crate::redis::scripts;
use crate::redis::store::Store;

/// How many members a set has at most whose every member one script sees.
const SMALL: usize = 500;

/// Of how many namespaces without checkpoints is found out at once whether they wait for some.
const CANDIDATES: usize = 10_000;

/// A member, its namespace as stored, and the keys any of which it may stand for.
type Claim = [Bytes; 5];

/// A set of namespaces, as far as one pipeline for many sets has read it.
struct Set {
    key: Bytes,
    thread: ThreadId,
    size: usize,
    first: Vec<Bytes>,
    others: Members,
    /// Whether it may outlive what it names.
    lasts: bool,
}

impl Doctor<'_> {
    /// Sets of namespaces: what they name is there.
    pub(super) async fn namespaces(&mut self) -> Result<()> {
        let family = self.store.keyspace.namespaces_family();
        let mut scan = self.scan(&family);
        let mut pins = HashMap::new();
        while let Some(page) = scan.next(self.store).await? {
            self.report.looked_at(page.len());
            for set in self.first_of_sets(page).await? {
                let key = set.key.clone();
                if let Err(error) = self.namespaces_of(set, &mut pins).await {
                    self.refused(&key, error)?;
                }
                if pins.len() >= CANDIDATES {
                    self.lone_pins(std::mem::take(&mut pins)).await?;
                }
            }
        }
        self.lone_pins(pins).await
    }

    /// Asks many sets at once for what most of them need.
    async fn first_of_sets(&mut self, page: Vec<Bytes>) -> Result<Vec<Set>> {
        let keyspace = &self.store.keyspace;
        let named = page.into_iter();
        let named: Vec<_> = named
            .filter_map(|key| keyspace.of_namespaces(&key).map(|thread| (key, thread)))
            .collect();
        let steps = named.iter().flat_map(|(key, _)| {
            let size = Command::on("SCARD", key.clone());
            let left = Command::on("PTTL", key.clone());
            let members = Members::of_set("doctor", key).command();
            [Some(size), Some(left), members].into_iter().flatten()
        });
        let steps = steps.map(Into::into).collect();
        let mut replies = self.store.pipeline("doctor", steps).await?.into_iter();
        let mut next = || replies.next().unwrap_or(Err(Error::Closed));
        let mut sets = Vec::with_capacity(named.len());
        for (key, thread) in named {
            let (size, left, members) = (next(), next(), next());
            let (size, members) = match (size, members) {
                (Ok(size), Ok(members)) => (size, members),
                (Err(error), _) | (_, Err(error)) => {
                    self.refused(&key, error)?;
                    continue;
                }
            };
            let size = size.as_int().and_then(|size| usize::try_from(size).ok());
            let mut others = Members::of_set("doctor", &key);
            let first = others.page(members);
            sets.push(Set {
                size: size.unwrap_or(0),
                lasts: left?.as_int() == Some(-1),
                key,
                thread,
                first,
                others,
            });
        }
        Ok(sets)
    }

    async fn namespaces_of(&mut self, set: Set, pins: &mut HashMap<String, Bytes>) -> Result<()> {
        let Set {
            key,
            thread,
            mut size,
            first,
            mut others,
            lasts,
        } = set;
        let (mut foreign, mut candidates) = (Vec::new(), Vec::new());
        let mut page = first;
        loop {
            let mut claims = Vec::with_capacity(page.len());
            for member in page {
                match claim(self.store, &thread, &member) {
                    Some(claim) => claims.push(claim),
                    None if std::str::from_utf8(&member).is_err() => foreign.push(member),
                    // What another saver put there is its own.
                    None => {}
                }
            }
            // The marks of writes first: a namespace may be listed for them alone.
            claims.sort_by_key(|claim| claim[0] == claim[1]);
            if size > SMALL {
                // One script does not see all marks.
                let (plain, marks): (Vec<_>, Vec<_>) =
                    claims.into_iter().partition(|claim| claim[0] == claim[1]);
                candidates.extend(self.without_keys(plain).await?);
                claims = marks;
            }
            self.claims(&key, &thread, &claims, &mut size, pins).await?;
            if candidates.len() >= CANDIDATES {
                let some = std::mem::take(&mut candidates);
                self.unawaited(&key, &thread, some, pins).await?;
            }
            match others.next(self.store).await? {
                Some(next) => page = next,
                None => break,
            }
        }
        self.unawaited(&key, &thread, candidates, pins).await?;
        self.report_foreign(&key, &foreign);
        if !lasts {
            return Ok(());
        }
        let store = self.store;
        let names = |member: &[u8]| {
            let claim = claim(store, &thread, member)?;
            Some(claim[2].clone()).filter(|key| !key.is_empty())
        };
        let members = || Members::of_set("doctor", &key);
        if let Some(lasting) = self.outlives(&key, members(), names).await? {
            self.shorten(&key, &key, lasting, members(), names).await?;
        }
        Ok(())
    }

    /// The claims of which no key is there.
    async fn without_keys(&self, claims: Vec<Claim>) -> Result<Vec<Claim>> {
        let steps = claims.iter().map(|[_, _, keys @ ..]| {
            let [first, others @ ..] = keys;
            let others = others.iter().filter(|key| !key.is_empty()).cloned();
            Command::on("EXISTS", first.clone()).args(others).into()
        });
        let replies = self.store.pipeline("doctor", steps.collect()).await?;
        let mut without = Vec::new();
        for (claim, reply) in claims.into_iter().zip(replies) {
            if reply?.as_int() == Some(0) {
                without.push(claim);
            }
        }
        Ok(without)
    }

    /// Of namespaces of a large set without checkpoints, puts those right that wait for none.
    async fn unawaited(
        &mut self,
        key: &Bytes,
        thread: &ThreadId,
        mut claims: Vec<Claim>,
        pins: &mut HashMap<String, Bytes>,
    ) -> Result<()> {
        if claims.is_empty() {
            return Ok(());
        }
        let size = Command::on("SCARD", key.clone());
        let size = self.store.driver().call("doctor", size).await?.as_int();
        let mut size = size
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(0);
        let mut awaited = HashSet::new();
        {
            let asked: HashSet<&[u8]> = claims.iter().map(|claim| &claim[1][..]).collect();
            let mut members = Members::of_set("doctor", key);
            while let Some(page) = members.next(self.store).await? {
                for member in page {
                    if let Some(claim) = claim(self.store, thread, &member)
                        && claim[0] != claim[1]
                        && asked.contains(&claim[1][..])
                    {
                        awaited.insert(claim[1].clone());
                    }
                }
            }
        }
        claims.retain(|claim| !awaited.contains(&claim[1]));
        self.claims(key, thread, &claims, &mut size, pins).await
    }

    /// Looks at members, slice by slice. `size` is how many there are, unless others change them.
    async fn claims(
        &mut self,
        key: &Bytes,
        thread: &ThreadId,
        claims: &[Claim],
        size: &mut usize,
        pins: &mut HashMap<String, Bytes>,
    ) -> Result<()> {
        for slice in claims.chunks(MEMBERS) {
            // Whether a pin stands for nothing is found out at the end.
            let (pin, others): (Vec<_>, Vec<_>) = slice
                .iter()
                .partition(|claim| matches!(parse(&claim[0]), Some(Member::Pinned)));
            for (claims, mode) in [(others, self.mode()), (pin, Bytes::from_static(b"look"))] {
                if claims.is_empty() {
                    continue;
                }
                let mut args = vec![mode, number(*size)];
                args.extend(claims.into_iter().flatten().cloned());
                let call = scripts::DOCTOR_NAMESPACES.call(vec![key.clone()], args);
                let mut reply = self
                    .store
                    .script("doctor", call)
                    .await?
                    .into_array()
                    .into_iter();
                let now = reply.next().and_then(|size| size.as_int());
                if let Some(now) = now.and_then(|now| usize::try_from(now).ok()) {
                    *size = now;
                }
                for member in reply.filter_map(Reply::into_bytes) {
                    if matches!(parse(&member), Some(Member::Pinned)) {
                        pins.insert(thread.as_str().to_owned(), key.clone());
                        continue;
                    }
                    let member = String::from_utf8_lossy(&member).into_owned();
                    self.found(FindingKind::NamespaceWrong, key, member, self.options.fix);
                }
            }
        }
        Ok(())
    }

    /// Sets that hold a pin alone: it goes if nothing of the thread is there.
    async fn lone_pins(&mut self, mut pins: HashMap<String, Bytes>) -> Result<()> {
        if pins.is_empty() {
            return Ok(());
        }
        let keyspace = &self.store.keyspace;
        for family in [
            keyspace.document_family(),
            keyspace.write_family(),
            keyspace.blob_families()[0].clone(),
        ] {
            let mut scan = every(&family);
            while let Some(page) = scan.next(self.store).await? {
                for key in page {
                    // Whatever may be one of the thread's keys keeps its pin.
                    let text = String::from_utf8_lossy(&key[family.len()..]).into_owned();
                    let starts = text.match_indices(':').map(|(colon, _)| colon);
                    for start in std::iter::once(0).chain(starts.clone().map(|colon| colon + 1)) {
                        for end in starts.clone().filter(|end| *end >= start) {
                            let segment = &text[start..end];
                            pins.remove(segment);
                            let thread = segment.strip_prefix('{');
                            if let Some(thread) = thread.and_then(|rest| rest.strip_suffix('}')) {
                                pins.remove(thread);
                            }
                        }
                    }
                }
            }
        }
        for key in pins.into_values() {
            let pinned = Bytes::from_static(b"\0pinned");
            let claim = [
                pinned.clone(),
                Bytes::new(),
                Bytes::new(),
                Bytes::new(),
                Bytes::new(),
            ];
            let mut args = vec![self.mode(), number(1)];
            args.extend(claim);
            let call = scripts::DOCTOR_NAMESPACES.call(vec![key.clone()], args);
            let reply = self.store.script("doctor", call).await?.into_array();
            if reply.len() > 1 {
                let member = String::from_utf8_lossy(&pinned).into_owned();
                self.found(FindingKind::NamespaceWrong, &key, member, self.options.fix);
            }
        }
        Ok(())
    }
}

fn parse(member: &[u8]) -> Option<Member> {
    std::str::from_utf8(member).ok().and_then(Member::parse)
}

/// What a member of a thread's set claims to be there; `None` if no saver of ours has written it.
fn claim(store: &Store, thread: &ThreadId, member: &[u8]) -> Option<Claim> {
    let none = Bytes::new;
    let own = Bytes::copy_from_slice(member);
    let shallow = |keys: &NamespaceKeys| {
        let documents = keys.shallow_documents().last().unwrap_or_default();
        [
            Bytes::copy_from_slice(documents),
            keys.shallow_write_registry(),
        ]
    };
    Some(match parse(member)? {
        Member::Namespace(namespace) => {
            let keys = store.keys(thread, &namespace);
            let [document, registry] = shallow(&keys);
            [own, keys.stored, keys.registry, document, registry]
        }
        Member::Writes(namespace, id) | Member::Removed(namespace, id) => {
            let keys = store.keys(thread, &namespace);
            let [_, registry] = shallow(&keys);
            let writes = keys.write_registry(&id);
            [own, keys.stored, writes, registry, none()]
        }
        Member::Blobs(namespace) => {
            let keys = store.keyspace.blobs(thread, &namespace);
            [own, none(), keys.registry, none(), none()]
        }
        Member::Pinned => [own, none(), none(), none(), none()],
    })
}
