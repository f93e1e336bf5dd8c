//! The primary of a service that sentinels watch.
//!
//! The driver subscribes to all sentinels. From the announcement that a replica is about to be
//! promoted no call is sent any more, and once it is promoted calls go there, so that no
//! acknowledged write goes to a server that is about to lose it. In addition the sentinels are
//! asked from time to time, and whenever the primary is lost; and no connection is used before its
//! server has reported that it is a primary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::address::{Address, Endpoint};
use super::backoff::Backoff;
use super::command::Command;
use super::connector::{Connector, one};
use super::node::{Node, NodeFactory};
use super::reply::Reply;
use super::subscriber::{Received, Subscriber};
use super::task::Task;
use crate::redis::error::{ErrorKind, RedisError};

/// How long a sentinel may take to reply.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often the sentinels are asked without a reason.
const REFRESH: Duration = Duration::from_secs(10);
/// The shortest time between two rounds of questions: many calls lose the primary at once.
const MIN_REFRESH: Duration = Duration::from_millis(100);
/// For how long an announced failover outweighs the majority of the sentinels: those that did not
/// take part learn of it later, and until then name the old primary, which still takes writes.
const ANNOUNCEMENT: Duration = Duration::from_secs(10);
/// How long calls wait at most for a failover that was announced and is not finished.
const MAX_HOLD: Duration = Duration::from_secs(10);
/// How long one subscription lasts: one whose sentinel is dead looks like one without news.
const SUBSCRIPTION: Duration = Duration::from_secs(300);

/// A replica is about to be promoted.
const ABOUT_TO_PROMOTE: &str = "+failover-state-send-slaveof-noone";
/// A replica was promoted, as the sentinel that did it has seen.
const PROMOTED: &str = "+promoted-slave";
/// Another server is the primary, as every sentinel publishes in the end.
const SWITCHED: &str = "+switch-master";
/// The failover was given up.
const ABORTED: [&str; 3] = [
    "-failover-abort-slave-timeout",
    "-failover-abort-no-good-slave",
    "-failover-abort-not-elected",
];

/// The primary of a service, and the sentinels that watch it.
#[derive(Debug)]
pub(super) struct SentinelService {
    shared: Arc<Shared>,
    task: Task,
}

#[derive(Debug)]
struct Shared {
    name: String,
    /// Connects to the sentinels, which have credentials of their own.
    sentinels: Connector,
    seeds: Vec<Address>,
    nodes: NodeFactory,
    primary: RwLock<(Address, Arc<Node>)>,
    /// Since when calls are held back for a failover.
    held: Mutex<Option<Instant>>,
    /// When a sentinel last announced another primary.
    announced: Mutex<Option<Instant>>,
    outdated: Notify,
}

/// What a sentinel publishes about the service.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// The primary at an address is about to be replaced.
    Ending(Address),
    /// Another server is the primary.
    Switched(Address),
    /// The failover was given up.
    Aborted,
}

impl SentinelService {
    /// Finds the primary and connects to it.
    pub(super) async fn connect(
        name: &str,
        sentinels: Connector,
        seeds: Vec<Address>,
        nodes: NodeFactory,
    ) -> Result<Self, RedisError> {
        let limit = nodes.connector.limit;
        let started = Instant::now();
        let mut backoff = Backoff::connecting();
        // During a failover the sentinels may name a server that is no primary yet.
        let primary = loop {
            let found = async {
                let (address, _) = ask(&sentinels, &seeds, name).await?;
                let node = nodes.connect(&Endpoint::Tcp(address.clone())).await?;
                Ok((address, node))
            };
            match found.await {
                Ok(found) => break found,
                Err(error) if started.elapsed() + MIN_REFRESH > limit || is_final(&error) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::debug!(%error, service = name, "no primary yet");
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            sentinels,
            seeds,
            nodes,
            primary: RwLock::new(primary),
            held: Mutex::default(),
            announced: Mutex::default(),
            outdated: Notify::new(),
        });
        let task = Task::start(keep_current(Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// The primary; `None` during a failover.
    pub(super) fn node(&self) -> Option<Arc<Node>> {
        (!self.is_held()).then(|| self.shared.primary().1)
    }

    /// The last known primary, also during a failover.
    pub(super) fn last(&self) -> Arc<Node> {
        self.shared.primary().1
    }

    /// Whether calls wait for a failover.
    pub(super) fn is_held(&self) -> bool {
        self.shared
            .held()
            .is_some_and(|since| since.elapsed() < MAX_HOLD)
    }

    /// Asks the sentinels for the primary in the background.
    pub(super) fn refresh(&self) {
        self.shared.outdated.notify_one();
    }

    /// Closes all connections for good.
    pub(super) fn stop(&self) {
        self.task.stop();
        self.last().stop();
    }
}

impl Shared {
    fn primary(&self) -> (Address, Arc<Node>) {
        self.primary
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn held(&self) -> MutexGuard<'_, Option<Instant>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announced(&self) -> MutexGuard<'_, Option<Instant>> {
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: Event) {
        match event {
            Event::Ending(address) => {
                if self.primary().0 == address {
                    tracing::info!(service = self.name, "a failover has begun");
                    self.held().get_or_insert_with(Instant::now);
                }
            }
            Event::Switched(address) => {
                *self.announced() = Some(Instant::now());
                self.switch(address);
                self.release();
            }
            Event::Aborted => self.release(),
        }
    }

    fn switch(&self, address: Address) {
        let mut primary = self.primary.write().unwrap_or_else(PoisonError::into_inner);
        if primary.0 != address {
            let node = self.nodes.connect_later(&Endpoint::Tcp(address.clone()));
            tracing::info!(
                service = self.name,
                primary = node.name(),
                "another server is the primary"
            );
            *primary = (address, node);
        }
    }

    fn release(&self) {
        *self.held() = None;
        self.nodes.changes.notify();
    }
}

/// Subscribes to the sentinels, and asks them whenever the primary may be outdated.
async fn keep_current(shared: Arc<Shared>) {
    let mut subscriptions: HashMap<Address, Task> = HashMap::new();
    let mut known = shared.seeds.clone();
    loop {
        for address in &known {
            if !subscriptions.contains_key(address) {
                let work = keep_subscribed(Arc::clone(&shared), address.clone());
                subscriptions.insert(address.clone(), Task::start(work));
            }
        }
        let _ = tokio::time::timeout(REFRESH, shared.outdated.notified()).await;
        if let Some(others) = refresh(&shared, &known).await {
            subscriptions
                .retain(|address, _| shared.seeds.contains(address) || others.contains(address));
            known.clone_from(&shared.seeds);
            known.extend(
                others
                    .into_iter()
                    .filter(|other| !shared.seeds.contains(other)),
            );
        }
        tokio::time::sleep(MIN_REFRESH).await;
    }
}

/// Asks the sentinels for the primary, and returns those that they know of. A primary that is
/// connected is replaced only if a majority names another: after a failover some learn of it later.
async fn refresh(shared: &Shared, known: &[Address]) -> Option<Vec<Address>> {
    match ask(&shared.sentinels, known, &shared.name).await {
        Ok((address, votes)) => {
            let (current, node) = shared.primary();
            let is_majority = votes * 2 > known.len();
            let is_announced = shared
                .announced()
                .is_some_and(|announced| announced.elapsed() < ANNOUNCEMENT);
            if address != current && !is_announced && (node.connected() == 0 || is_majority) {
                shared.switch(address);
                shared.nodes.changes.notify();
            }
        }
        Err(error) => {
            tracing::warn!(service = shared.name, %error, "no sentinel names the primary");
        }
    }
    let others = Command::new("SENTINEL")
        .arg("SENTINELS")
        .arg(shared.name.clone());
    for address in known {
        if let Ok(reply) = ask_one(&shared.sentinels, address, &others).await {
            let others = reply
                .into_array()
                .into_iter()
                .filter_map(address_of_sentinel);
            return Some(others.chain([address.clone()]).collect());
        }
    }
    None
}

/// Asks all sentinels at once, and returns the address that most of them name, and how many do.
async fn ask(
    connector: &Connector,
    sentinels: &[Address],
    name: &str,
) -> Result<(Address, usize), RedisError> {
    let command = Command::new("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(name.to_owned());
    let asking = sentinels
        .iter()
        .map(|sentinel| ask_one(connector, sentinel, &command));
    let mut votes: HashMap<Address, usize> = HashMap::new();
    let mut problem = None;
    for answer in join_all(asking).await {
        match answer {
            Ok(reply) => {
                if let Some(address) = address_of(reply) {
                    *votes.entry(address).or_default() += 1;
                }
            }
            Err(error) => {
                problem.get_or_insert(error);
            }
        }
    }
    let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
    most.ok_or_else(|| {
        problem.unwrap_or_else(|| RedisError::lost(format!("no sentinel knows the service {name}")))
    })
}

async fn ask_one(
    connector: &Connector,
    sentinel: &Address,
    command: &Command,
) -> Result<Reply, RedisError> {
    let asked = async {
        let endpoint = Endpoint::Tcp(sentinel.clone());
        let new = connector.connect(&endpoint).await?;
        one(&new.connection, command).await
    };
    let reply = tokio::time::timeout(TIMEOUT, asked).await;
    reply.unwrap_or_else(|_| {
        Err(RedisError::lost(format!(
            "the sentinel did not reply within {TIMEOUT:?}"
        )))
    })
}

/// Subscribes to one sentinel, again and again.
async fn keep_subscribed(shared: Arc<Shared>, sentinel: Address) {
    let mut backoff = Backoff::connecting();
    let Connector { options, limit, .. } = &shared.sentinels;
    loop {
        let channels = [ABOUT_TO_PROMOTE, PROMOTED, SWITCHED].into_iter();
        let channels = channels.chain(ABORTED).collect();
        match Subscriber::connect(options, &sentinel, *limit, channels).await {
            Ok(subscriber) => {
                backoff.reset();
                // What was published before is not published again.
                shared.outdated.notify_one();
                let _ = tokio::time::timeout(SUBSCRIPTION, receive(&shared, subscriber)).await;
                tracing::debug!(%sentinel, "a subscription to a sentinel has ended");
            }
            Err(error) => {
                tracing::debug!(%sentinel, %error, "a sentinel cannot be subscribed to");
            }
        }
        shared.outdated.notify_one();
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Takes what a sentinel publishes until the subscription ends.
async fn receive(shared: &Shared, mut subscriber: Subscriber) {
    loop {
        match subscriber.receive().await {
            Received::Message { channel, text } => {
                if let Some(event) = event_of(&channel, &text, &shared.name) {
                    shared.take(event);
                }
            }
            Received::Lagged => shared.outdated.notify_one(),
            Received::Closed => return,
        }
    }
}

/// Reads what a sentinel publishes of a service: `NAME OLD-IP OLD-PORT NEW-IP NEW-PORT` of a
/// switch, else `TYPE NAME IP PORT @ SERVICE PRIMARY-IP PRIMARY-PORT`.
fn event_of(channel: &str, text: &str, service: &str) -> Option<Event> {
    let words: Vec<&str> = text.split(' ').collect();
    let address = |at: usize| {
        let (host, port) = (words.get(at)?, words.get(at + 1)?);
        Some(Address::new(*host, port.parse().ok()?))
    };
    if channel == SWITCHED {
        return (words.first() == Some(&service)).then(|| address(3).map(Event::Switched))?;
    }
    let of_service = match words.iter().position(|word| *word == "@") {
        Some(at) => words.get(at + 1) == Some(&service),
        None => words.get(1) == Some(&service),
    };
    if !of_service {
        return None;
    }
    match channel {
        ABOUT_TO_PROMOTE => address(6).map(Event::Ending),
        PROMOTED => address(2).map(Event::Switched),
        _ if ABORTED.contains(&channel) => Some(Event::Aborted),
        _ => None,
    }
}

fn address_of(reply: Reply) -> Option<Address> {
    let mut parts = reply.into_array().into_iter();
    let host = parts.next()?.as_str()?.to_owned();
    let port = u16::try_from(parts.next()?.as_int()?).ok()?;
    Some(Address::new(host, port))
}

/// The address of a sentinel, in the names and values by which another describes it.
fn address_of_sentinel(reply: Reply) -> Option<Address> {
    let parts = reply.into_array();
    let value = |name: &str| {
        let mut pairs = parts.chunks_exact(2);
        let pair = pairs.find(|pair| pair[0].as_str() == Some(name))?;
        Some(&pair[1])
    };
    let host = value("ip")?.as_str()?.to_owned();
    let port = u16::try_from(value("port")?.as_int()?).ok()?;
    Some(Address::new(host, port))
}

/// Whether asking again cannot help.
fn is_final(error: &RedisError) -> bool {
    use ErrorKind::{Authentication, NoCredentials, Permission, Tls};
    matches!(
        error.kind(),
        Authentication | NoCredentials | Permission | Tls(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address::new("10.0.0.1", port)
    }

    #[test]
    fn what_sentinels_publish_is_understood() {
        let event = |channel: &str, text: &str| event_of(channel, text, "mine");
        let replica = "slave 10.0.0.1:2 10.0.0.1 2 @ mine 10.0.0.1 1";
        assert_eq!(event(ABOUT_TO_PROMOTE, replica), Some(Event::Ending(at(1))));
        assert_eq!(event(PROMOTED, replica), Some(Event::Switched(at(2))));
        assert_eq!(
            event(SWITCHED, "mine 10.0.0.1 1 10.0.0.1 2"),
            Some(Event::Switched(at(2)))
        );
        assert_eq!(
            event(ABORTED[0], "master mine 10.0.0.1 1"),
            Some(Event::Aborted)
        );
        assert_eq!(event("+sdown", replica), None);
    }

    #[test]
    fn what_sentinels_publish_of_other_services_is_ignored() {
        let event = |channel: &str, text: &str| event_of(channel, text, "mine");
        assert_eq!(event(SWITCHED, "other 10.0.0.1 1 10.0.0.1 2"), None);
        let replica = "slave mine 10.0.0.1 2 @ other 10.0.0.1 1";
        assert_eq!(event(PROMOTED, replica), None);
        assert_eq!(event(ABORTED[0], "master other 10.0.0.1 1"), None);
        assert_eq!(event(SWITCHED, ""), None);
    }
}
