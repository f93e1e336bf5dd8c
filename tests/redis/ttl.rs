//! Nothing leaks and nothing vanishes: every key that a call with a TTL writes has one, and what
//! a checkpoint needs lives as long as it.

use std::collections::BTreeSet;
use std::time::Duration;

use langgraph_checkpoint_redis::{
    ChannelWrite, CheckpointConfig, CheckpointSaver, CopyOptions, PruneOptions, PruneStrategy,
    PutWritesOptions, RedisSaver, RunId, TaskId, TtlChoice, TtlPolicy, TypedValue,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::server::Server;
use crate::support::stored::{
    self, HOUR, checkpoint_with_id, named, place as config, thread_id as thread, writes,
};

/// An hour less what a test takes.
const NEARLY: Duration = Duration::from_secs(3_540);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Long enough for a call on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(1_200);

struct Setting {
    server: Server,
    saver: RedisSaver,
}

impl Setting {
    async fn new(ttl: TtlPolicy) -> Self {
        let server = Server::start().await;
        let saver = server.saver_with(ttl).await;
        Self { server, saver }
    }

    /// The keys without a TTL.
    async fn without_ttl(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for key in self.server.keys().await {
            if self.server.time_left(&key).await == -1 {
                found.push(key);
            }
        }
        found
    }

    async fn assert_all_have_one(&mut self) {
        assert_eq!(self.without_ttl().await, Vec::<String>::new());
    }

    async fn assert_none_has_one(&mut self) {
        assert_eq!(self.without_ttl().await, self.server.keys().await);
    }

    /// The least time that a key that holds this text has left.
    async fn least(&mut self, part: &str) -> Duration {
        let mut least = Duration::MAX;
        for key in self.server.keys().await {
            if key.contains(part) {
                let left = self.server.time_left(&key).await;
                let left = u64::try_from(left).unwrap_or_else(|_| panic!("{key} has no TTL"));
                least = least.min(Duration::from_millis(left));
            }
        }
        assert!(least < Duration::MAX, "no key holds {part}");
        least
    }

    async fn shorten(&mut self) {
        for key in self.server.keys().await {
            self.server.run(&["PEXPIRE", &key, "60000"]).await;
        }
    }

    async fn put(&self, config: &CheckpointConfig, id: &str, ttl: TtlChoice) -> CheckpointConfig {
        stored::put_for(&self.saver, config, &checkpoint_with_id(id), ttl).await
    }

    async fn put_writes(&self, config: &CheckpointConfig, channels: &[&str], ttl: TtlChoice) {
        stored::put_writes_for(&self.saver, config, &writes(channels), "task", ttl).await;
    }

    async fn newest(&self, config: &CheckpointConfig) -> Option<String> {
        stored::newest(&self.saver, config).await
    }

    async fn ids(&self, config: &CheckpointConfig) -> Vec<String> {
        stored::ids(&self.saver, config).await
    }
}

#[tokio::test]
async fn a_call_has_its_own_ttl_on_every_key() {
    for policy in [TtlPolicy::default(), TtlPolicy::new(DAY)] {
        let mut setting = Setting::new(policy).await;
        let hour = TtlChoice::For(HOUR);
        let early = named(&config("t", "x"), "2");
        setting
            .put_writes(&early, &["n", "__interrupt__"], hour)
            .await;
        setting.assert_all_have_one().await;
        let stored = setting.put(&config("t", ""), "1", hour).await;
        setting.put_writes(&stored, &["n", "__error__"], hour).await;
        setting.put(&config("t", "x"), "2", hour).await;
        setting.assert_all_have_one().await;
        let least = setting.least("").await;
        assert!(least <= HOUR && least > NEARLY, "{least:?}");
        let copy = CopyOptions::default().with_ttl(hour);
        setting
            .saver
            .copy_thread(&thread("t"), &thread("copy"), &copy)
            .await
            .unwrap();
        setting.assert_all_have_one().await;
        assert!(setting.least("copy").await > NEARLY);
    }
}

#[tokio::test]
async fn reading_slides_all_that_was_read() {
    let mut setting = Setting::new(TtlPolicy::new(HOUR).with_refresh_on_read(true)).await;
    for id in ["1", "2"] {
        let stored = setting.put(&config("t", "x"), id, TtlChoice::Default).await;
        setting
            .put_writes(&stored, &["a", "b", "__resume__"], TtlChoice::Default)
            .await;
    }
    for read in [config("t", "x"), named(&config("t", "x"), "2")] {
        setting.shorten().await;
        assert_eq!(setting.newest(&read).await.as_deref(), Some("2"));
        for part in [
            "checkpoint:t:x:2",
            "checkpoint_write:t:x:2:",
            "write_keys_zset:t:x:2",
            "checkpoint_latest:t:x",
            "checkpoint_keys_zset:t:x",
            "checkpoint_ns_set:t",
        ] {
            assert!(setting.least(part).await > NEARLY, "{part}");
        }
        assert!(setting.least("checkpoint:t:x:1").await <= Duration::from_secs(60));
    }
}

#[tokio::test]
async fn reading_an_older_checkpoint_keeps_it_findable() {
    let mut setting = Setting::new(TtlPolicy::new(HOUR).with_refresh_on_read(true)).await;
    for id in ["1", "2"] {
        setting.put(&config("t", ""), id, TtlChoice::Default).await;
    }
    setting.shorten().await;
    let older = named(&config("t", ""), "1");
    assert_eq!(setting.newest(&older).await.as_deref(), Some("1"));
    for part in [
        "checkpoint:t:__empty__:1",
        "checkpoint_keys_zset",
        "checkpoint_ns_set",
    ] {
        assert!(setting.least(part).await > NEARLY, "{part}");
    }
}

#[tokio::test]
async fn a_pinned_thread_has_no_ttl_until_it_is_unpinned() {
    let mut setting = Setting::new(TtlPolicy::new(HOUR).with_refresh_on_read(true)).await;
    for namespace in ["", "x"] {
        let stored = setting
            .put(&config("t:u", namespace), "1", TtlChoice::Default)
            .await;
        setting
            .put_writes(&stored, &["a", "__error__"], TtlChoice::Default)
            .await;
    }
    setting
        .put_writes(&named(&config("t:u", "y"), "5"), &["a"], TtlChoice::Default)
        .await;
    assert!(setting.saver.pin(&thread("t:u")).await.unwrap());
    setting.assert_none_has_one().await;
    setting.newest(&config("t:u", "x")).await;
    let stored = setting
        .put(&config("t:u", ""), "2", TtlChoice::For(HOUR))
        .await;
    setting
        .put_writes(&stored, &["a"], TtlChoice::Default)
        .await;
    setting
        .put_writes(&named(&config("t:u", "z"), "6"), &["a"], TtlChoice::Default)
        .await;
    setting.newest(&config("t:u", "")).await;
    assert!(setting.saver.touch(&thread("t:u")).await.unwrap());
    setting
        .saver
        .prune(&[thread("t:u")], &PruneOptions::default())
        .await
        .unwrap();
    setting.assert_none_has_one().await;
    assert!(setting.saver.unpin(&thread("t:u")).await.unwrap());
    setting.assert_all_have_one().await;
    assert!(setting.least("").await > NEARLY);
}

#[tokio::test]
async fn touch_resets_the_ttl_of_every_key() {
    let mut setting = Setting::new(TtlPolicy::new(HOUR)).await;
    for namespace in ["", "x"] {
        for id in ["1", "2"] {
            let stored = setting
                .put(&config("t", namespace), id, TtlChoice::Default)
                .await;
            setting
                .put_writes(&stored, &["a"], TtlChoice::Default)
                .await;
        }
    }
    setting
        .put_writes(&named(&config("t", "y"), "5"), &["a"], TtlChoice::Default)
        .await;
    setting.shorten().await;
    assert!(setting.saver.touch(&thread("t")).await.unwrap());
    assert!(setting.least("").await > NEARLY);
    assert!(!setting.saver.touch(&thread("other")).await.unwrap());
}

#[tokio::test]
async fn a_long_lived_checkpoint_keeps_what_it_needs() {
    for (long, short) in [("1", "2"), ("2", "1")] {
        for long_first in [true, false] {
            let setting = Setting::new(TtlPolicy::new(SHORT)).await;
            let at = config("t", "x");
            let both = [(long, TtlChoice::For(HOUR)), (short, TtlChoice::Default)];
            for (id, ttl) in if long_first { both } else { [both[1], both[0]] } {
                let stored = setting.put(&at, id, ttl).await;
                setting.put_writes(&stored, &["a", "b"], ttl).await;
            }
            tokio::time::sleep(SHORT + Duration::from_millis(200)).await;
            let case = format!("{long} lives longer, first: {long_first}");
            assert_eq!(setting.newest(&at).await.as_deref(), Some(long), "{case}");
            assert_eq!(setting.ids(&at).await, [long], "{case}");
            assert_eq!(
                setting.ids(&CheckpointConfig::of_thread(thread("t"))).await,
                [long],
                "{case}"
            );
            let found = setting.saver.get_tuple(&at).await.unwrap().unwrap();
            assert_eq!(found.pending_writes.len(), 2, "{case}");
            // An older checkpoint does not become the newest because a pointer has expired.
            setting.put(&at, "0", TtlChoice::For(HOUR)).await;
            assert_eq!(setting.newest(&at).await.as_deref(), Some(long), "{case}");
        }
    }
}

#[tokio::test]
async fn writes_live_as_long_as_their_call_asks_and_no_shorter_than_their_checkpoint() {
    let setting = Setting::new(TtlPolicy::new(SHORT)).await;
    let stored = setting
        .put(&config("t", ""), "1", TtlChoice::For(HOUR))
        .await;
    setting
        .put_writes(&stored, &["a"], TtlChoice::Default)
        .await;
    let task = TaskId::new("other").unwrap();
    let writes = [ChannelWrite::new("b", TypedValue::json(&1).unwrap())];
    let options = PutWritesOptions::default().with_ttl(TtlChoice::For(HOUR));
    setting
        .saver
        .put_writes(&stored, &writes, &task, &options)
        .await
        .unwrap();
    // Those that come first wait for their checkpoint, and then live as long as it.
    let early = named(&config("t", ""), "2");
    setting.put_writes(&early, &["a"], TtlChoice::Default).await;
    setting
        .put(&config("t", ""), "2", TtlChoice::For(HOUR))
        .await;
    tokio::time::sleep(SHORT + Duration::from_millis(200)).await;
    let found = setting.saver.get_tuple(&stored).await.unwrap().unwrap();
    let channels: BTreeSet<_> = found
        .pending_writes
        .iter()
        .map(|write| write.channel.clone())
        .collect();
    assert_eq!(channels, ["a", "b"].map(str::to_owned).into());
    for long in [stored, early] {
        let found = setting.saver.get_tuple(&long).await.unwrap().unwrap();
        assert!(!found.pending_writes.is_empty(), "{long:?}");
    }
}

#[tokio::test]
async fn what_expires_leaves_nothing_behind() {
    let mut setting = Setting::new(TtlPolicy::new(SHORT).with_refresh_on_read(true)).await;
    for namespace in ["", "x"] {
        for id in ["1", "2"] {
            let stored = setting
                .put(&config("t", namespace), id, TtlChoice::Default)
                .await;
            setting
                .put_writes(&stored, &["a", "__interrupt__"], TtlChoice::Default)
                .await;
            setting.newest(&stored).await;
        }
    }
    setting
        .put_writes(&named(&config("t", "y"), "5"), &["a"], TtlChoice::Default)
        .await;
    assert!(!setting.server.keys().await.is_empty());
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(setting.server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_busy_thread_forgets_what_has_expired() {
    let mut setting = Setting::new(TtlPolicy::new(SHORT)).await;
    let at = config("t", "");
    for round in 0..4 {
        for id in 0..20 {
            setting
                .put(&at, &format!("{round}-{id:02}"), TtlChoice::Default)
                .await;
            let early = named(&at, &format!("{round}-{id:02}-early"));
            setting.put_writes(&early, &["a"], TtlChoice::Default).await;
        }
        tokio::time::sleep(SHORT * 2 / 3).await;
    }
    let registered: i64 = redis::cmd("ZCARD")
        .arg("checkpoint_keys_zset:t:__empty__")
        .query_async(&mut setting.server.client)
        .await
        .unwrap();
    let marked: i64 = redis::cmd("SCARD")
        .arg("checkpoint_ns_set:t")
        .query_async(&mut setting.server.client)
        .await
        .unwrap();
    assert!(registered <= 60, "{registered} of 80 are still registered");
    assert!(marked <= 61, "{marked} marks of writes are still there");
}

#[derive(Debug, Clone)]
struct Step {
    call: u8,
    namespace: bool,
    id: u8,
    ttl: Option<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    let ttl = proptest::option::weighted(0.3, 1_u8..4);
    (0_u8..12, any::<bool>(), 0_u8..5, ttl).prop_map(|(call, namespace, id, ttl)| Step {
        call,
        namespace,
        id,
        ttl,
    })
}

async fn make(setting: &Setting, step: &Step) {
    let Step {
        call,
        namespace,
        id,
        ttl,
    } = step;
    let ttl = ttl.map_or(TtlChoice::Default, |hours| {
        TtlChoice::For(HOUR * u32::from(hours))
    });
    let of = ["t", "t:u"][usize::from(id % 2)];
    let at = config(of, if *namespace { "x" } else { "" });
    let id = id.to_string();
    let (this, other) = (thread(of), thread("other"));
    match call {
        0..=2 => drop(
            setting
                .put(&at.with_run(RunId::new("run").unwrap()), &id, ttl)
                .await,
        ),
        3 | 4 => {
            setting
                .put_writes(&named(&at, &id), &["a", "__error__"], ttl)
                .await;
        }
        5 => drop(setting.newest(&at).await),
        6 => {
            let options = CopyOptions::default().with_ttl(ttl);
            setting
                .saver
                .copy_thread(&this, &other, &options)
                .await
                .unwrap();
        }
        7 => {
            let options = PruneOptions::new(PruneStrategy::KeepLast(2));
            setting.saver.prune(&[this, other], &options).await.unwrap();
        }
        8 => drop(setting.saver.touch(&this).await.unwrap()),
        9 => drop(setting.ids(&at).await),
        10 => {
            let run = [RunId::new("run").unwrap()];
            setting.saver.delete_for_runs(&run).await.unwrap();
        }
        _ => {
            setting.saver.pin(&this).await.unwrap();
            setting.saver.unpin(&this).await.unwrap();
        }
    }
}

#[test]
fn after_any_calls_with_a_ttl_every_key_has_one() {
    let cases = std::env::var("LANGGRAPH_REDIS_MODEL_CASES")
        .map_or(200, |cases| cases.parse().expect("a number of sequences"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ttl = TtlPolicy::new(HOUR).with_refresh_on_read(true);
    let setting = std::cell::RefCell::new(runtime.block_on(Setting::new(ttl)));
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let steps = proptest::collection::vec(step(), 1..25);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        let mut setting = setting.borrow_mut();
        let without = runtime.block_on(async {
            for step in &steps {
                make(&setting, step).await;
            }
            let without = setting.without_ttl().await;
            for key in setting.server.keys().await {
                setting.server.run(&["UNLINK", &key]).await;
            }
            without
        });
        prop_assert!(without.is_empty(), "without a TTL: {without:?}");
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
