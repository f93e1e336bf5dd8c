//! What is there when a race is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::redis::{DoctorOptions, FindingKind};
use langgraph_checkpoint_redis::{CheckpointSaver, CheckpointTuple, DeleteOptions, ListOptions};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::players::{Race, thread};
use super::world::{Fate, all_threads, spaces};
use crate::support::server::connect;

/// A thread, a namespace as documents have it, and a checkpoint.
type Ids = (String, String, String);

/// Looks at everything that is left, and then deletes it.
pub async fn check(race: &Race, servers: &[String], has_doctor: bool) {
    // Calls that were dropped may still happen.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for of in all_threads() {
        let of = thread(of);
        let _ = race.sure("unpin", || race.saver.unpin(&of)).await;
    }
    kept(race).await;
    let (keys, _) = keys(servers).await;
    for key in &keys {
        if key.time_left == -1 {
            race.found("keys without a TTL", format!("{:?}", text(&key.name)));
        }
    }
    registries(race, &keys, has_doctor);
    if has_doctor {
        let report = race.saver.doctor(&DoctorOptions::default()).await.unwrap();
        // What was replaced leaves parts in the compact layout, until somebody prunes.
        let findings = report.findings().iter();
        let findings = findings.filter(|finding| finding.kind != FindingKind::PartsUnnamed);
        for finding in findings {
            race.found("findings of the doctor", finding.to_string());
        }
    }
    for of in all_threads().into_iter().map(str::to_owned).chain(own()) {
        let of = thread(&of);
        let options = DeleteOptions::default();
        let call = || race.saver.delete_thread(&of, &options);
        let _ = race.sure("delete_thread", call).await;
    }
    let (keys, strays) = self::keys(servers).await;
    for key in keys {
        race.found(
            "keys that are left behind",
            format!("{:?}", text(&key.name)),
        );
    }
    for name in strays {
        race.found("keys on a node that does not own them", text(&name));
    }
}

fn own() -> impl Iterator<Item = String> {
    (0..8).flat_map(|writer| [format!("own-{writer}:{{b}}\n"), format!("copy-{writer}")])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everything that was acknowledged on threads that nobody removes anything of is there.
async fn kept(race: &Race) {
    for place in &race.places {
        if !matches!(place.fate, Fate::Kept | Fate::Contested | Fate::Frozen) {
            continue;
        }
        let config = place.config();
        let call = || {
            race.saver
                .list(Some(&config), ListOptions::default())
                .try_collect()
        };
        let listed: Result<Vec<CheckpointTuple>, _> = race.sure("list", call).await;
        let Ok(listed) = listed else { continue };
        let mut found = BTreeMap::new();
        for tuple in &listed {
            if let Some(whole) = race.check("at the end", place, tuple) {
                found.insert(whole.origin.number, whole.tasks);
            }
        }
        for (number, tasks) in place.acknowledged(0, usize::MAX) {
            race.check_kept(
                "at the end",
                place,
                number,
                tasks,
                found.get(&number).copied(),
            );
            let named = place.named(number);
            let Ok(read) = race
                .sure("get_tuple", || race.saver.get_tuple(&named))
                .await
            else {
                continue;
            };
            let read = read.and_then(|tuple| race.check("read at the end", place, &tuple));
            let read = read.map(|whole| whole.tasks);
            race.check_kept("read at the end", place, number, tasks, read);
        }
    }
}

struct Key {
    name: Vec<u8>,
    time_left: i64,
    content: Content,
}

enum Content {
    /// The ids that a document of a checkpoint says.
    Document(Option<Ids>),
    /// The members of a sorted set.
    Members(Vec<Vec<u8>>),
    Other,
}

/// All keys as the nodes that own them hold them, and those that are on another node besides.
async fn keys(servers: &[String]) -> (Vec<Key>, Vec<Vec<u8>>) {
    let (mut keys, mut strays) = (Vec::new(), Vec::new());
    let mut clients = Vec::new();
    for server in servers {
        clients.push(connect(server).await.unwrap());
    }
    for node in 0..clients.len() {
        let mut cursor = 0_u64;
        loop {
            let (next, page): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg(&["COUNT", "1000"])
                .query_async(&mut clients[node])
                .await
                .unwrap();
            for name in page {
                match look(&mut clients[node], name.clone()).await {
                    Ok(key) => keys.push(key),
                    Err(error) if error.code() == Some("MOVED") => {
                        keys.extend(look_at_its_owner(&mut clients, &name).await);
                        strays.push(name);
                    }
                    Err(error) => panic!("{:?}: {error}", text(&name)),
                }
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    // It stays as long as the prefix is used.
    keys.retain(|key| key.name != b"checkpoint_layout");
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    keys.dedup_by(|one, other| one.name == other.name);
    (keys, strays)
}

/// A key at the node that owns its slot; none if it is not there.
async fn look_at_its_owner(clients: &mut [MultiplexedConnection], name: &[u8]) -> Option<Key> {
    for client in clients {
        match look(client, name.to_vec()).await {
            Ok(key) => return Some(key).filter(|key| key.time_left != -2),
            Err(error) if error.code() == Some("MOVED") => {}
            Err(error) => panic!("{:?}: {error}", text(name)),
        }
    }
    panic!("no node owns {:?}", text(name));
}

async fn look(client: &mut MultiplexedConnection, name: Vec<u8>) -> RedisResult<Key> {
    let time_left = redis::cmd("PTTL").arg(&name).query_async(client).await?;
    let content = if name.starts_with(b"checkpoint:") {
        let ids: Option<String> = redis::cmd("JSON.GET")
            .arg(&name)
            .arg("$['thread_id','checkpoint_ns','checkpoint_id']")
            .query_async(client)
            .await?;
        let ids = ids.and_then(|ids| serde_json::from_str(&ids).ok());
        Content::Document(ids)
    } else if name.starts_with(b"checkpoint_keys_zset") || name.starts_with(b"write_keys_zset") {
        let members = redis::cmd("ZRANGE")
            .arg(&name)
            .arg(&["0", "-1"])
            .query_async(client)
            .await?;
        Content::Members(members)
    } else {
        Content::Other
    };
    Ok(Key {
        name,
        time_left,
        content,
    })
}

/// Registries name what is there, and nothing else.
fn registries(race: &Race, keys: &[Key], in_one_slot: bool) {
    let names: BTreeSet<&[u8]> = keys.iter().map(|key| &key.name[..]).collect();
    let mut registered: BTreeSet<Ids> = BTreeSet::new();
    let namespaces = all_threads()
        .into_iter()
        .flat_map(|thread| spaces().into_iter().map(move |space| (thread, space)));
    for ((thread, space), tagged) in namespaces.flat_map(|at| [(at, false), (at, true)]) {
        let of = if tagged {
            format!("{{{thread}}}")
        } else {
            thread.to_owned()
        };
        let length = if thread.contains(':') {
            format!("@{}", thread.len())
        } else {
            String::new()
        };
        let stored = if space.is_empty() { "__empty__" } else { space };
        let registry = format!("checkpoint_keys_zset{length}:{of}:{stored}");
        let found = keys.iter().find(|key| key.name == registry.as_bytes());
        let Some(Content::Members(members)) = found.map(|key| &key.content) else {
            continue;
        };
        for member in members {
            let member = text(member);
            if member.is_empty() {
                let what = format!("{registry:?}");
                race.found("registries that say they lack something", what);
            } else {
                registered.insert((thread.to_owned(), space.to_owned(), member));
            }
        }
    }
    let mut there = BTreeSet::new();
    for key in keys {
        match &key.content {
            Content::Document(Some(ids)) => {
                let (thread, space, id) = ids.clone();
                let space = if space == "__empty__" {
                    String::new()
                } else {
                    space
                };
                there.insert((thread, space, id));
            }
            Content::Document(None) => {
                race.found("documents without ids", format!("{:?}", text(&key.name)));
            }
            Content::Members(members) if key.name.starts_with(b"write_keys_zset") => {
                for member in members {
                    if !names.contains(&member[..]) {
                        race.found("writes that are registered and gone", text(member));
                    }
                }
            }
            _ => {}
        }
    }
    for ids in there.difference(&registered) {
        let is_raced = race.places.iter().any(|place| place.thread == ids.0);
        // In several slots a put that was cut off may have happened by half: then the document is
        // there and not registered, until its TTL ends. What was acknowledged is registered.
        let is_acknowledged = race.places.iter().any(|place| {
            let number = ids.2.parse().unwrap_or(usize::MAX);
            place.thread == ids.0
                && place.space == ids.1
                && !place.acknowledged(number, number).is_empty()
        });
        if is_raced && (in_one_slot || is_acknowledged) {
            race.found("checkpoints that are not registered", format!("{ids:?}"));
        }
    }
    for ids in registered.difference(&there) {
        race.found(
            "checkpoints that are registered and gone",
            format!("{ids:?}"),
        );
    }
}
