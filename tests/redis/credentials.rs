//! Passwords and tokens that change while a saver runs.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use langgraph_checkpoint_redis::redis::{Credentials, CredentialsProvider};
use langgraph_checkpoint_redis::{CheckpointConfig, CheckpointSaver, Error, RedisSaver, Result};
use redis_modules::Standalone;

/// Gives what is put into it, and says how often it was asked.
#[derive(Debug)]
struct Given {
    now: Mutex<Option<(&'static str, &'static str)>>,
    /// How many requests fail before it gives anything.
    failures: AtomicUsize,
    asked: AtomicUsize,
    ask_again: Duration,
}

impl Given {
    fn new(user: &'static str, password: &'static str, ask_again: Duration) -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(Some((user, password))),
            failures: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            ask_again,
        })
    }

    fn set(&self, now: Option<(&'static str, &'static str)>) {
        *self.now.lock().unwrap() = now;
    }
}

#[async_trait]
impl CredentialsProvider for Given {
    async fn credentials(&self) -> Result<Credentials> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let fewer = |left: usize| left.checked_sub(1);
        let fails = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer);
        let now = self.now.lock().unwrap().filter(|_| fails.is_err());
        let (user, password) = now.ok_or_else(|| Error::Unavailable {
            reason: "the identity service is away".to_owned(),
            source: None,
        })?;
        let given = Credentials::new(password).with_username(user);
        Ok(given.asked_again_after(self.ask_again))
    }
}

struct Server {
    redis: Standalone,
    administrator: redis::aio::MultiplexedConnection,
}

impl Server {
    async fn start() -> Self {
        let builder = Standalone::builder().password("administrator");
        let redis = builder.start().unwrap();
        let url = format!("redis://:administrator@127.0.0.1:{}", redis.port());
        let client = redis::Client::open(url).unwrap();
        let administrator = client.get_multiplexed_async_connection().await.unwrap();
        Self {
            redis,
            administrator,
        }
    }

    async fn run<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let (name, args) = command.split_first().unwrap();
        let mut sent = redis::cmd(name);
        sent.arg(args);
        sent.query_async(&mut self.administrator).await.unwrap()
    }

    async fn allow(&mut self, user: &str, password: &str) {
        let password = format!(">{password}");
        let rules = ["ACL", "SETUSER", user, "reset", "on", "~*", "&*", "+@all"];
        let rules: Vec<_> = rules.into_iter().chain([password.as_str()]).collect();
        let _: () = self.run(&rules).await;
    }

    /// How many connections a user has.
    async fn connections_of(&mut self, user: &str) -> usize {
        let clients: String = self.run(&["CLIENT", "LIST"]).await;
        let user = format!(" user={user} ");
        clients.lines().filter(|one| one.contains(&user)).count()
    }

    fn saver(&self, provider: &Arc<Given>) -> langgraph_checkpoint_redis::redis::RedisSaverBuilder {
        RedisSaver::builder()
            .url(format!("redis://127.0.0.1:{}", self.redis.port()))
            .credentials(Arc::clone(provider))
    }
}

async fn works(saver: &RedisSaver) {
    let config = CheckpointConfig::new("t").unwrap();
    assert_eq!(saver.get_tuple(&config).await.unwrap(), None);
}

#[tokio::test]
async fn connections_that_live_are_given_other_credentials_before_theirs_end() {
    let mut server = Server::start().await;
    server.allow("one", "first").await;
    server.allow("two", "second").await;
    let provider = Given::new("one", "first", Duration::from_millis(100));
    let saver = server.saver(&provider).build().await.unwrap();
    saver.setup().await.unwrap();
    assert_eq!(server.connections_of("one").await, 2);

    // As long as nobody knows others, what the server has stands.
    provider.set(None);
    let asked = provider.asked.load(Ordering::SeqCst);
    while provider.asked.load(Ordering::SeqCst) < asked + 4 {
        works(&saver).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    provider.set(Some(("two", "second")));
    while server.connections_of("two").await < 2 {
        works(&saver).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Ends the connections of the user, of which there are none any more.
    let _: i64 = server.run(&["ACL", "DELUSER", "one"]).await;
    works(&saver).await;
    assert_eq!(server.connections_of("two").await, 2);
    saver.close().await;
}

#[tokio::test]
async fn a_password_that_was_changed_is_asked_for_when_a_connection_is_made() {
    let mut server = Server::start().await;
    server.allow("saver", "first").await;
    let provider = Given::new("saver", "first", Duration::from_secs(3_600));
    let saver = server.saver(&provider).build().await.unwrap();
    saver.setup().await.unwrap();
    for password in ["second", "third"] {
        server.allow("saver", password).await;
        provider.set(Some(("saver", password)));
        let _: i64 = server.run(&["CLIENT", "KILL", "USER", "saver"]).await;
        works(&saver).await;
    }
    saver.close().await;
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again_before_a_saver_cannot_be_built() {
    let mut server = Server::start().await;
    server.allow("saver", "first").await;
    let provider = Given::new("saver", "first", Duration::from_secs(3_600));
    provider.failures.store(4, Ordering::SeqCst);
    let saver = server.saver(&provider).build().await.unwrap();
    works(&saver).await;
    assert_eq!(server.connections_of("saver").await, 2);
    assert_eq!(provider.asked.load(Ordering::SeqCst), 6);
    saver.close().await;

    // Not for longer than half of the time: the rest is for the connection.
    provider.set(None);
    let builder = server.saver(&provider).pool_size(1);
    let builder = builder.connect_timeout(Duration::from_millis(300));
    let error = builder.build().await.unwrap_err();
    assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
    assert!(
        error
            .report()
            .to_string()
            .contains("identity service is away")
    );
    assert!(provider.asked.load(Ordering::SeqCst) > 7);
}

#[tokio::test]
async fn credentials_that_are_refused_or_missing_are_an_authentication_error() {
    let mut server = Server::start().await;
    server.allow("saver", "first").await;
    let provider = Given::new("saver", "wrong", Duration::from_secs(60));
    let error = server.saver(&provider).build().await.unwrap_err();
    assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
    provider.set(None);
    let error = server.saver(&provider).build().await.unwrap_err();
    assert!(matches!(error, Error::Authentication { .. }), "{error:?}");
    assert!(
        error
            .report()
            .to_string()
            .contains("identity service is away"),
        "{error}"
    );

    let url = format!("redis://saver:first@127.0.0.1:{}", server.redis.port());
    let error = server.saver(&provider).url(url).build().await.unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
    let shown = format!("{:?}", Credentials::new("secret"));
    assert!(!shown.contains("secret"), "{shown}");
}
