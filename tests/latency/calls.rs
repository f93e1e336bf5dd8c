//! All calls.

use std::pin::Pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::redis::{DoctorOptions, StatsOptions};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata, CheckpointSaver,
    CopyOptions, DeleteOptions, Error, ExpectedParent, ListOptions, MetadataFilter, PruneOptions,
    PruneStrategy, PutOptions, PutWritesOptions, RedisSaver, RunId, TaskId, ThreadId, TtlChoice,
    TypedValue,
};

use crate::fixtures::{TASK, id};
use crate::{HOUR, size};

/// What becomes of a call.
pub type Call = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
/// A call that can be made again and again, by its name.
pub type Named = (&'static str, fn(RedisSaver) -> Call);

/// A checkpoint with a delta channel that has no value here.
pub fn checkpoint(id: &str) -> Checkpoint {
    Checkpoint::from_json(format!(
        r#"{{"v":4,"ts":"2026-01-01T00:00:00Z","id":"{id}","channel_values":{{"a":"some text"}},"channel_versions":{{"a":1,"d":1}},"versions_seen":{{}},"updated_channels":["a","d"]}}"#
    ))
    .unwrap()
}

pub async fn put_writes(saver: &RedisSaver, config: &CheckpointConfig) -> Result<(), Error> {
    let writes = [ChannelWrite::new("d", TypedValue::json(&1).unwrap())];
    let (task, options) = (TaskId::new(TASK).unwrap(), PutWritesOptions::default());
    saver.put_writes(config, &writes, &task, &options).await
}

fn thread(name: &str) -> ThreadId {
    ThreadId::new(name).unwrap()
}

fn config() -> CheckpointConfig {
    CheckpointConfig::new("t").unwrap()
}

fn named(number: usize) -> CheckpointConfig {
    config().with_checkpoint(CheckpointId::new(id(number)).unwrap())
}

async fn put(saver: RedisSaver, id: &str, options: PutOptions) -> Result<(), Error> {
    let metadata = CheckpointMetadata::new().with("step", &2).unwrap();
    let parent = named(size() - 1);
    saver
        .put(&parent, &checkpoint(id), &metadata, &options)
        .await
        .map(drop)
}

async fn list(
    saver: RedisSaver,
    config: Option<CheckpointConfig>,
    options: ListOptions,
) -> Result<(), Error> {
    let mut listed = saver.list(config.as_ref(), options);
    while listed.try_next().await?.is_some() {}
    Ok(())
}

async fn doctor(saver: RedisSaver, options: DoctorOptions) -> Result<(), Error> {
    let options = options.with_orphan_age(Duration::ZERO);
    saver.doctor(&options).await.map(drop)
}

fn nowhere() -> MetadataFilter {
    MetadataFilter::new().with("source", "nowhere").unwrap()
}

/// What reads, and may be made again and again.
pub const READS: &[Named] = &[
    ("setup", |saver| {
        Box::pin(async move { saver.setup().await })
    }),
    ("health", |saver| {
        Box::pin(async move {
            saver.health().await;
            Ok(())
        })
    }),
    ("get_tuple of the newest", |saver| {
        Box::pin(async move { saver.get_tuple(&config()).await.map(drop) })
    }),
    ("get_tuple by id", |saver| {
        Box::pin(async move { saver.get_tuple(&named(0)).await.map(drop) })
    }),
    ("get_tuple of what is not there", |saver| {
        Box::pin(async move {
            let config = config().with_namespace("not-there").unwrap();
            saver.get_tuple(&config).await.map(drop)
        })
    }),
    ("list with a limit", |saver| {
        Box::pin(list(
            saver,
            Some(config()),
            ListOptions::default().with_limit(10),
        ))
    }),
    ("list of the root with a limit", |saver| {
        let config = config().with_namespace("").unwrap();
        Box::pin(list(
            saver,
            Some(config),
            ListOptions::default().with_limit(10),
        ))
    }),
    ("list before", |saver| {
        let before = CheckpointId::new(id(size() / 2)).unwrap();
        let options = ListOptions::default().with_limit(10).with_before(before);
        Box::pin(list(saver, Some(config()), options))
    }),
    ("list with a filter that nothing passes", |saver| {
        let options = ListOptions::default().with_limit(10).with_filter(nowhere());
        Box::pin(list(saver, Some(config()), options))
    }),
    ("list of a thread", |saver| {
        Box::pin(list(saver, Some(config()), ListOptions::default()))
    }),
    ("list over all with a limit", |saver| {
        Box::pin(list(saver, None, ListOptions::default().with_limit(10)))
    }),
    ("list over all with a filter", |saver| {
        let options = ListOptions::default().with_limit(10).with_filter(nowhere());
        Box::pin(list(saver, None, options))
    }),
    ("list over all before", |saver| {
        let before = CheckpointId::new(id(size() / 2)).unwrap();
        let options = ListOptions::default().with_limit(10).with_before(before);
        Box::pin(list(saver, None, options))
    }),
    ("list over all", |saver| {
        Box::pin(list(saver, None, ListOptions::default()))
    }),
    ("threads", |saver| {
        Box::pin(async move {
            let mut threads = saver.threads("");
            while threads.try_next().await?.is_some() {}
            Ok(())
        })
    }),
    ("threads by a prefix", |saver| {
        Box::pin(async move {
            let mut threads = saver.threads("t-0000001");
            while threads.try_next().await?.is_some() {}
            Ok(())
        })
    }),
    ("the first of threads", |saver| {
        Box::pin(async move { saver.threads("").try_next().await.map(drop) })
    }),
    ("delta_channel_history", |saver| {
        Box::pin(async move {
            let channels = ["d".to_owned(), "none".to_owned()];
            let history = saver.delta_channel_history(&config(), &channels).await;
            history.map(drop)
        })
    }),
    ("stats", |saver| {
        Box::pin(async move { saver.stats(&StatsOptions::default()).await.map(drop) })
    }),
    ("delete_for_runs of a run that is not", |saver| {
        Box::pin(async move {
            let runs = [RunId::new("run-none").unwrap()];
            saver.delete_for_runs(&runs).await
        })
    }),
    ("doctor", |saver| {
        Box::pin(doctor(saver, DoctorOptions::default()))
    }),
    ("doctor that expects no TTL", |saver| {
        let options = DoctorOptions::default().with_expect_ttl(TtlChoice::Forever);
        Box::pin(doctor(saver, options))
    }),
];

/// What writes, and finds as much each time.
pub const WRITES: &[Named] = &[
    ("put of the newest", |saver| {
        Box::pin(put(saver, "99999998", PutOptions::default()))
    }),
    ("put of the oldest", |saver| {
        Box::pin(put(saver, "!", PutOptions::default()))
    }),
    ("put with an expected parent", |saver| {
        let expected = ExpectedParent::Is(CheckpointId::new("99999998").unwrap());
        let options = PutOptions::default().with_expected_parent(expected);
        Box::pin(put(saver, "99999999", options))
    }),
    ("put_writes", |saver| {
        Box::pin(async move { put_writes(&saver, &named(0)).await })
    }),
    ("put_writes before the checkpoint", |saver| {
        Box::pin(async move {
            let config = config().with_checkpoint(CheckpointId::new("early").unwrap());
            put_writes(&saver, &config).await
        })
    }),
    ("pin", |saver| {
        Box::pin(async move { saver.pin(&thread("t")).await.map(drop) })
    }),
    ("unpin", |saver| {
        Box::pin(async move { saver.unpin(&thread("t")).await.map(drop) })
    }),
    ("touch", |saver| {
        Box::pin(async move { saver.touch(&thread("t")).await.map(drop) })
    }),
    ("copy_thread", |saver| {
        Box::pin(async move {
            let options = CopyOptions::default();
            saver
                .copy_thread(&thread("t"), &thread("copy"), &options)
                .await
        })
    }),
];

/// What removes.
pub const REMOVALS: &[Named] = &[
    ("doctor that puts right", |saver| {
        Box::pin(doctor(saver, DoctorOptions::default().with_fix(true)))
    }),
    ("prune to the last 100", |saver| {
        Box::pin(async move {
            let options = PruneOptions::new(PruneStrategy::KeepLast(100));
            saver.prune(&[thread("t")], &options).await
        })
    }),
    ("prune of what is old", |saver| {
        Box::pin(async move {
            let options = PruneOptions::new(PruneStrategy::OlderThan(HOUR));
            saver.prune(&[thread("t")], &options).await
        })
    }),
    ("prune to the newest", |saver| {
        Box::pin(async move {
            let options = PruneOptions::new(PruneStrategy::KeepLatest);
            saver.prune(&[thread("t")], &options).await
        })
    }),
    ("prune of everything", |saver| {
        Box::pin(async move {
            let options = PruneOptions::new(PruneStrategy::Delete);
            saver.prune(&[thread("t")], &options).await
        })
    }),
    ("delete_for_runs", |saver| {
        Box::pin(async move {
            let runs = [RunId::new("run-many").unwrap()];
            saver.delete_for_runs(&runs).await
        })
    }),
    ("delete_thread", |saver| {
        Box::pin(async move {
            let options = DeleteOptions::default();
            saver.delete_thread(&thread("t"), &options).await
        })
    }),
];
