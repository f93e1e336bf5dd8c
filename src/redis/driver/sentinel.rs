//! The primary of a service that sentinels watch.
//!
//! The sentinels are listened to, all of them: before a replica is made the primary no call is
//! sent any more, and the moment that it is, calls go there. Nothing that is acknowledged then
//! goes to a server that is a primary no longer. Where no sentinel can be listened to they are
//! asked now and then, and whenever the primary is lost; and no connection is used before its
//! server has said that it is a primary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use fred::error::Error as FredError;
use fred::interfaces::{EventInterface, PubsubInterface};
use fred::types::config::ServerConfig;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::cluster::Address;
use super::flight::lost;
use super::link::{Dialer, Listener, Task};
use super::node::{Node, Nodes};
use super::{Command, Reply};
use crate::redis::args::text;
use crate::redis::error::is_refused;

/// How long a sentinel may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the sentinels are asked without a reason.
const NOW_AND_THEN: Duration = Duration::from_secs(10);
/// How long nothing more is asked after an answer: many calls find out at once.
const PAUSE: Duration = Duration::from_millis(100);
/// How long what was told of a failover counts more than what most sentinels say: those that did
/// not take part learn of it later, and name a server until then that still takes writes.
const NEWS: Duration = Duration::from_secs(10);
/// How long calls wait at most for a failover that was announced and is not finished.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

/// How long a sentinel is listened to over one connection: one that fell silent tells nothing, and
/// is not told from one that has nothing to tell.
const SESSION: Duration = Duration::from_secs(300);

/// A replica is about to be made the primary.
const ABOUT_TO_PROMOTE: &str = "+failover-state-send-slaveof-noone";
/// A replica was made the primary; the sentinel that did it has seen that.
const PROMOTED: &str = "+promoted-slave";
/// Another server is the primary, as all sentinels say in the end.
const SWITCHED: &str = "+switch-master";
/// It came to nothing.
const ABORTED: [&str; 3] = [
    "-failover-abort-slave-timeout",
    "-failover-abort-no-good-slave",
    "-failover-abort-not-elected",
];

/// The primary of a service.
#[derive(Debug)]
pub(super) struct Service {
    shared: Arc<Shared>,
    task: Task,
}

#[derive(Debug)]
struct Shared {
    name: String,
    /// How sentinels are connected to: with credentials of their own.
    sentinels: Dialer,
    seeds: Vec<Address>,
    nodes: Nodes,
    primary: RwLock<(Address, Arc<Node>)>,
    /// Since when calls are held back.
    held: Mutex<Option<Instant>>,
    /// When a sentinel last told of another primary.
    told: Mutex<Option<Instant>>,
    doubted: Notify,
}

/// What a sentinel tells.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// The primary at an address is about to be replaced.
    Ending(Address),
    /// Another server is the primary.
    Switched(Address),
    /// The failover came to nothing.
    Aborted,
}

impl Service {
    /// Finds the primary and connects to it.
    pub(super) async fn connect(
        name: &str,
        sentinels: Dialer,
        seeds: Vec<Address>,
        nodes: Nodes,
    ) -> Result<Self, FredError> {
        let limit = nodes.dialer.limit;
        let started = Instant::now();
        let mut backoff = Backoff::connecting();
        // A failover may be under way: then the sentinels name a server that is no primary yet.
        let primary = loop {
            let found = async {
                let (address, _) = ask(&sentinels, &seeds, name).await?;
                let node = nodes.connect(&centralized(&address)).await?;
                Ok((address, node))
            };
            match found.await {
                Ok(found) => break found,
                Err(error) if started.elapsed() + PAUSE > limit || is_final(&error) => {
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
            told: Mutex::default(),
            doubted: Notify::new(),
        });
        let task = Task::start(keep_current(Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// The primary; `None` while another is being made.
    pub(super) fn node(&self) -> Option<Arc<Node>> {
        (!self.is_held()).then(|| self.shared.primary().1)
    }

    /// The primary, as far as is known, even while another is being made.
    pub(super) fn last(&self) -> Arc<Node> {
        self.shared.primary().1
    }

    /// Whether calls wait for another primary.
    pub(super) fn is_held(&self) -> bool {
        self.shared
            .held()
            .is_some_and(|since| since.elapsed() < LONGEST_HOLD)
    }

    /// Asks the sentinels in the background whether the primary is still the one.
    pub(super) fn doubt(&self) {
        self.shared.doubted.notify_one();
    }

    /// Ends all connections, for good.
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

    fn told(&self) -> MutexGuard<'_, Option<Instant>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: Event) {
        match event {
            Event::Ending(address) => {
                if self.primary().0 == address {
                    tracing::info!(service = self.name, "the primary is about to be replaced");
                    self.held().get_or_insert_with(Instant::now);
                }
            }
            Event::Switched(address) => {
                *self.told() = Some(Instant::now());
                self.switch(address);
                self.release();
            }
            Event::Aborted => self.release(),
        }
    }

    fn switch(&self, address: Address) {
        let mut primary = self.primary.write().unwrap_or_else(PoisonError::into_inner);
        if primary.0 != address {
            let node = self.nodes.later(&centralized(&address));
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
        self.nodes.changes.tell();
    }
}

/// Listens to the sentinels, and asks them when the primary is in doubt.
async fn keep_current(shared: Arc<Shared>) {
    let mut watchers: HashMap<Address, Task> = HashMap::new();
    let mut known = shared.seeds.clone();
    loop {
        for address in &known {
            if !watchers.contains_key(address) {
                let watcher = watch(Arc::clone(&shared), address.clone());
                watchers.insert(address.clone(), Task::start(watcher));
            }
        }
        let _ = tokio::time::timeout(NOW_AND_THEN, shared.doubted.notified()).await;
        if let Some(others) = look(&shared, &known).await {
            watchers
                .retain(|address, _| shared.seeds.contains(address) || others.contains(address));
            known.clone_from(&shared.seeds);
            known.extend(
                others
                    .into_iter()
                    .filter(|other| !shared.seeds.contains(other)),
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks the sentinels for the primary and for each other. A server that answers as a primary is
/// left for another only if most of them say so: after a failover some of them know later.
async fn look(shared: &Shared, known: &[Address]) -> Option<Vec<Address>> {
    match ask(&shared.sentinels, known, &shared.name).await {
        Ok((address, votes)) => {
            let (current, node) = shared.primary();
            let most = votes * 2 > known.len();
            let is_news = shared.told().is_some_and(|told| told.elapsed() < NEWS);
            if address != current && !is_news && (node.connections() == 0 || most) {
                shared.switch(address);
                shared.nodes.changes.tell();
            }
        }
        Err(error) => {
            tracing::warn!(service = shared.name, %error, "no sentinel names the primary");
        }
    }
    let others = Command::new("SENTINEL")
        .arg("SENTINELS")
        .arg(text(&shared.name));
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

/// Asks all sentinels at once; what most of those say that answer, and how many they are.
async fn ask(
    dialer: &Dialer,
    sentinels: &[Address],
    name: &str,
) -> Result<(Address, usize), FredError> {
    let command = Command::new("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(text(name));
    let asking = sentinels
        .iter()
        .map(|sentinel| ask_one(dialer, sentinel, &command));
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
        problem.unwrap_or_else(|| lost(format!("no sentinel knows the service {name}")))
    })
}

async fn ask_one(
    dialer: &Dialer,
    sentinel: &Address,
    command: &Command,
) -> Result<Reply, FredError> {
    let asked = async {
        let connection = dialer.dial(centralized(sentinel)).await?;
        let replies = connection.live.run(&[command]).await?;
        replies
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(lost("no answer")))
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.unwrap_or_else(|_| {
        Err(lost(format!(
            "the sentinel did not answer within {PATIENCE:?}"
        )))
    })
}

/// Listens to one sentinel, for ever.
async fn watch(shared: Arc<Shared>, address: Address) {
    let mut backoff = Backoff::connecting();
    loop {
        match shared.sentinels.listen(centralized(&address)).await {
            Ok(listener) => {
                backoff.reset();
                let _ = tokio::time::timeout(SESSION, listen(&shared, listener)).await;
                tracing::debug!(sentinel = ?address, "a sentinel is not heard any more");
            }
            Err(error) => tracing::debug!(sentinel = ?address, %error, "a sentinel is not heard"),
        }
        shared.doubted.notify_one();
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn listen(shared: &Shared, mut listener: Listener) {
    let client = listener.client.clone();
    let mut messages = client.message_rx();
    let channels = [ABOUT_TO_PROMOTE, PROMOTED, SWITCHED]
        .into_iter()
        .chain(ABORTED);
    if let Err(error) = client.subscribe(channels.collect::<Vec<_>>()).await {
        tracing::warn!(%error, "a sentinel cannot be listened to");
        return;
    }
    // What was told before is not told again.
    shared.doubted.notify_one();
    loop {
        tokio::select! {
            () = listener.wait_until_closed() => return,
            message = messages.recv() => match message {
                Ok(message) => {
                    let told = message.value.as_str();
                    let told = told.as_deref().unwrap_or_default();
                    if let Some(event) = event_of(&message.channel, told, &shared.name) {
                        shared.take(event);
                    }
                }
                Err(RecvError::Lagged(_)) => shared.doubted.notify_one(),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// Reads what a sentinel tells of a service: `NAME OLD-IP OLD-PORT NEW-IP NEW-PORT` of a switch,
/// else `TYPE NAME IP PORT @ SERVICE PRIMARY-IP PRIMARY-PORT`.
fn event_of(channel: &str, told: &str, service: &str) -> Option<Event> {
    let words: Vec<&str> = told.split(' ').collect();
    let address = |at: usize| {
        let (host, port) = (words.get(at)?, words.get(at + 1)?);
        Some(((*host).to_owned(), port.parse().ok()?))
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
    Some((host, port))
}

/// The address in what a sentinel says of another: names and values.
fn address_of_sentinel(reply: Reply) -> Option<Address> {
    let parts = reply.into_array();
    let value = |name: &str| {
        let mut pairs = parts.chunks_exact(2);
        let pair = pairs.find(|pair| pair[0].as_str() == Some(name))?;
        Some(&pair[1])
    };
    let host = value("ip")?.as_str()?.to_owned();
    let port = u16::try_from(value("port")?.as_int()?).ok()?;
    Some((host, port))
}

/// Whether asking again is of no use.
fn is_final(error: &FredError) -> bool {
    matches!(
        error.kind(),
        fred::error::ErrorKind::Auth | fred::error::ErrorKind::Config
    ) || is_refused(error)
        || error.details().starts_with("NOPERM")
}

fn centralized((host, port): &Address) -> ServerConfig {
    ServerConfig::new_centralized(host, *port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        ("10.0.0.1".to_owned(), port)
    }

    #[test]
    fn what_sentinels_tell_is_understood() {
        let event = |channel: &str, told: &str| event_of(channel, told, "mine");
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
    fn what_sentinels_tell_of_others_is_left_alone() {
        let event = |channel: &str, told: &str| event_of(channel, told, "mine");
        assert_eq!(event(SWITCHED, "other 10.0.0.1 1 10.0.0.1 2"), None);
        let replica = "slave mine 10.0.0.1 2 @ other 10.0.0.1 1";
        assert_eq!(event(PROMOTED, replica), None);
        assert_eq!(event(ABORTED[0], "master other 10.0.0.1 1"), None);
        assert_eq!(event(SWITCHED, ""), None);
    }
}
