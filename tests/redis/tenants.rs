//! Views of the threads of tenants: whatever a tenant's ids and calls are, nothing of another is
//! seen, changed or counted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, CheckpointTuple, CopyOptions, DeleteOptions, Error, ExistingTarget,
    ExpectedParent, ListOptions, MAX_ID_BYTES, MemorySaver, MetadataFilter, PruneOptions,
    PruneStrategy, PutOptions, PutWritesOptions, RedisSaver, RunId, ScopedSaver, TaskId, ThreadId,
    ThreadSummary, TtlPolicy, TypedValue,
};

use crate::support::{random_prefix, without_modules_url, without_search_url};

/// None of them is the beginning of another.
const TENANTS: [&str; 6] = ["t/", "t2/", "T\\/", "t*/", "[t]%2F", "{\u{e4}}"];

/// Ids that every tenant uses. Some are what another tenant's threads are stored as.
const IDS: [&str; 13] = [
    "1",
    "*",
    "?",
    "[a-z]*",
    "\\*%2F",
    "{x}",
    "t/",
    "t2/1",
    "../t2/1",
    "/",
    "__empty__",
    "\u{0}\n\"'",
    "e\u{301}",
];

type View = ScopedSaver<Arc<dyn CheckpointSaver>>;

/// What a tenant sees.
type Seen = (BTreeSet<String>, Vec<(ThreadId, u64, bool)>);

fn ttl() -> TtlPolicy {
    TtlPolicy::new(Duration::from_secs(3_600))
}

fn config(id: &str) -> CheckpointConfig {
    CheckpointConfig::new(id).unwrap()
}

fn thread(id: &str) -> ThreadId {
    ThreadId::new(id).unwrap()
}

/// The run that all tenants' checkpoints are made by.
fn run() -> RunId {
    RunId::new("run").unwrap()
}

async fn put(saver: &View, config: &CheckpointConfig) -> CheckpointConfig {
    let checkpoint = Checkpoint::builder()
        .channel("of", 1, saver.prefix())
        .unwrap()
        .build()
        .unwrap();
    let metadata = CheckpointMetadata::new().with("run_id", &run()).unwrap();
    let metadata = metadata.with("thread_id", "of the caller").unwrap();
    let stored = saver
        .put(config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap();
    assert_eq!(stored.thread_id, config.thread_id);
    let writes = [ChannelWrite::new(
        "written",
        TypedValue::json(saver.prefix()).unwrap(),
    )];
    let task = TaskId::new("task").unwrap();
    let options = PutWritesOptions::default();
    let written = saver.put_writes(&stored, &writes, &task, &options);
    written.await.unwrap();
    stored
}

async fn listed(saver: &View, options: ListOptions) -> Vec<CheckpointTuple> {
    saver.list_all(None, options).await.unwrap()
}

async fn threads(saver: &View, prefix: &str) -> Vec<ThreadSummary> {
    saver.threads(prefix).try_collect().await.unwrap()
}

/// All that a tenant sees, in full.
async fn seen(saver: &View) -> Seen {
    let tuples = listed(saver, ListOptions::default()).await;
    for tuple in &tuples {
        // What is of a tenant has its name in the state and in the writes.
        let of: String = tuple.checkpoint.channel_value("of").unwrap().unwrap();
        assert_eq!(of, saver.prefix());
        for write in &tuple.pending_writes {
            assert_eq!(write.value.decode::<String>().unwrap(), saver.prefix());
        }
    }
    let mut summaries: Vec<_> = threads(saver, "")
        .await
        .into_iter()
        .map(|one| (one.thread_id, one.checkpoints, one.ttl.is_some()))
        .collect();
    summaries.sort();
    let tuples = tuples.into_iter().map(|tuple| format!("{tuple:?}"));
    (tuples.collect(), summaries)
}

/// Runs calls of one tenant, after which all others must see what they saw, and it something else.
async fn alone(views: &[View], before: &mut [Seen], of: usize, call: impl Future<Output = ()>) {
    call.await;
    for (position, view) in views.iter().enumerate() {
        let now = seen(view).await;
        let prefix = view.prefix();
        assert_eq!(now != before[position], position == of, "{prefix:?}");
        before[position] = now;
    }
}

/// Puts threads of all tenants and lets each of them do its worst.
async fn isolates(saver: Arc<dyn CheckpointSaver>, keeps_history: bool) {
    saver.setup().await.unwrap();
    let views: Vec<View> = TENANTS
        .iter()
        .map(|prefix| saver.scoped(*prefix).unwrap())
        .collect();
    for view in &views {
        for id in IDS {
            put(view, &config(id)).await;
            let child = config(id).with_namespace("child").unwrap();
            put(view, &child).await;
        }
    }
    let ids: BTreeSet<_> = IDS.iter().map(|id| thread(id)).collect();
    for view in &views {
        let (_, summaries) = seen(view).await;
        let found: BTreeSet<_> = summaries.iter().map(|(id, ..)| id.clone()).collect();
        assert_eq!(found, ids, "{:?}", view.prefix());
        assert!(summaries.iter().all(|(_, count, _)| *count == 2));
        assert_eq!(summaries.len(), IDS.len(), "each once");
        for id in IDS {
            reads_its_own(view, id).await;
        }
        let all = 2 * IDS.len();
        for limit in [0, 1, 5, all, all + 1] {
            let options = ListOptions::default().with_limit(limit);
            assert_eq!(listed(view, options).await.len(), limit.min(all));
        }
        // The whole id of a thread of another tenant is only another id here.
        for other in TENANTS {
            let whole = config(&format!("{other}1"));
            let is_own = IDS.contains(&whole.thread_id.as_str());
            assert_eq!(view.get(&whole).await.unwrap().is_some(), is_own);
        }
        let found = threads(view, "t").await;
        assert_eq!(found.len(), 2, "t/ and t2/1");
    }
    changes_its_own(&views, keeps_history).await;
}

async fn reads_its_own(view: &View, id: &str) {
    let found = view.get_tuple(&config(id)).await.unwrap().unwrap();
    assert_eq!(found.config.thread_id, thread(id));
    let of: String = found.checkpoint.channel_value("of").unwrap().unwrap();
    assert_eq!(of, view.prefix());
    let said: Option<String> = found.metadata.get("thread_id").unwrap();
    assert_eq!(said.as_deref(), Some("of the caller"), "metadata is kept");
    let by_thread = MetadataFilter::new().with("thread_id", id).unwrap();
    let options = ListOptions::default().with_filter(by_thread);
    let found = listed(view, options).await;
    assert_eq!(found.len(), 2, "{id:?}");
    assert!(found.iter().all(|one| one.config.thread_id == thread(id)));
    let place = config(id);
    let own = view.list_all(Some(&place), ListOptions::default());
    assert_eq!(own.await.unwrap().len(), 2);
    let stored = format!("{}{id}", view.prefix());
    let by_stored = MetadataFilter::new().with("thread_id", &stored).unwrap();
    let options = ListOptions::default().with_filter(by_stored);
    // Here that is only another id, which the tenant may have as well.
    let expected = if IDS.contains(&&*stored) { 2 } else { 0 };
    assert_eq!(listed(view, options).await.len(), expected, "{stored:?}");
}

async fn changes_its_own(views: &[View], keeps_history: bool) {
    let (runs, delete) = ([run()], DeleteOptions::default());
    let all: Vec<_> = IDS.iter().map(|id| thread(id)).collect();
    let mut before = Vec::new();
    for view in views {
        before.push(seen(view).await);
    }

    // A checkpoint of one tenant is no parent for another.
    let parent = views[1].get_tuple(&config("1")).await.unwrap().unwrap();
    let id = parent.config.checkpoint_id.unwrap();
    let options = PutOptions::default().with_expected_parent(ExpectedParent::Is(id));
    let (checkpoint, metadata) = (
        Checkpoint::builder().build().unwrap(),
        CheckpointMetadata::new(),
    );
    let place = config("1");
    let refused = views[0].put(&place, &checkpoint, &metadata, &options);
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");

    alone(views, &mut before, 0, async {
        let next = views[0].get_tuple(&config("*")).await.unwrap().unwrap();
        let stored = put(&views[0], &next.config).await;
        let found = views[0].get_tuple(&stored).await.unwrap().unwrap();
        if keeps_history {
            assert_eq!(found.parent_config, Some(next.config));
            let channels = ["written".to_owned()];
            let histories = views[0].delta_channel_history(&stored, &channels);
            assert_eq!(histories.await.unwrap()["written"].writes.len(), 1);
        }
    })
    .await;
    alone(views, &mut before, 1, async {
        assert!(views[1].pin(&thread("*")).await.unwrap());
    })
    .await;
    alone(views, &mut before, 1, async {
        assert!(views[1].unpin(&thread("*")).await.unwrap());
        assert!(views[1].touch(&thread("?")).await.unwrap());
    })
    .await;
    for of in [2, 3] {
        alone(views, &mut before, of, async {
            for id in ["nobody's", "t2/2", "t/1"] {
                let id = thread(id);
                assert!(!views[of].pin(&id).await.unwrap());
                assert!(!views[of].touch(&id).await.unwrap());
                views[of].delete_thread(&id, &delete).await.unwrap();
            }
            let copy = CopyOptions::default().with_existing(ExistingTarget::Error);
            let (source, taken, free) = (thread("1"), thread("{x}"), thread("t2/2"));
            let refused = views[of].copy_thread(&source, &taken, &copy).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("{x}"), "{refused}");
            assert!(!refused.contains(views[of].prefix()), "{refused}");
            views[of].copy_thread(&source, &free, &copy).await.unwrap();
            let found = views[of].get_tuple(&config("t2/2")).await.unwrap();
            assert_eq!(found.unwrap().config.thread_id, free);
        })
        .await;
    }
    alone(views, &mut before, 4, async {
        views[4].delete_for_runs(&runs).await.unwrap();
        assert_eq!(listed(&views[4], ListOptions::default()).await, []);
    })
    .await;
    alone(views, &mut before, 5, async {
        let everything = PruneOptions::new(PruneStrategy::Delete);
        views[5].prune(&all, &everything).await.unwrap();
        assert_eq!(threads(&views[5], "").await, []);
    })
    .await;
    for of in [0, 3] {
        alone(views, &mut before, of, async {
            for id in &all {
                views[of].delete_thread(id, &delete).await.unwrap();
            }
            views[of].delete_for_runs(&runs).await.unwrap();
            assert_eq!(threads(&views[of], "").await, []);
        })
        .await;
    }
}

#[tokio::test]
async fn tenants_in_memory_are_alone() {
    isolates(Arc::new(MemorySaver::with_ttl(ttl()).unwrap()), true).await;
}

#[tokio::test]
async fn tenants_in_redis_are_alone() {
    let saver = crate::support::redis_saver(&random_prefix(), ttl()).await;
    isolates(Arc::new(saver.unwrap()), true).await;
}

#[tokio::test]
async fn tenants_in_redis_without_search_are_alone() {
    let url = without_search_url();
    let saver = crate::support::saver_at(&url, &random_prefix(), ttl(), false).await;
    isolates(Arc::new(saver.unwrap()), true).await;
}

#[tokio::test]
async fn tenants_in_the_compact_layout_are_alone() {
    let url = without_modules_url();
    let saver = crate::support::compact_saver(&url, &random_prefix(), ttl()).await;
    isolates(Arc::new(saver.unwrap()), true).await;
}

#[tokio::test]
async fn tenants_of_a_shallow_saver_are_alone() {
    for url in [
        redis_modules::shared_url().unwrap().to_owned(),
        without_search_url(),
    ] {
        let builder = RedisSaver::builder().url(url).prefix(random_prefix());
        let saver = builder.ttl(ttl()).layout(Layout::Json);
        let saver = saver.build_shallow().await.unwrap();
        isolates(Arc::new(saver), false).await;
    }
}

/// A saver of each layout.
async fn layouts() -> [RedisSaver; 2] {
    let json = crate::support::redis_saver(&random_prefix(), ttl()).await;
    let url = without_modules_url();
    let compact = crate::support::compact_saver(&url, &random_prefix(), ttl()).await;
    let savers = [json.unwrap(), compact.unwrap()];
    for saver in &savers {
        saver.setup().await.unwrap();
    }
    savers
}

#[tokio::test]
async fn a_thread_that_is_called_as_the_prefix_is_in_no_view_and_takes_no_place() {
    for saver in layouts().await {
        let saver: Arc<dyn CheckpointSaver> = Arc::new(saver);
        let (whole, view) = (saver.scoped("t").unwrap(), saver.scoped("t/").unwrap());
        put(&view, &config("1")).await;
        // As the saver has it, this is the thread `t/`, and the newest.
        put(&whole, &config("/")).await;
        for limit in [1, 2] {
            let found = listed(&view, ListOptions::default().with_limit(limit)).await;
            assert_eq!(found.len(), 1, "limit {limit}");
            assert_eq!(found[0].config.thread_id, thread("1"));
        }
        let found = threads(&view, "").await;
        assert_eq!(found.len(), 1);
        let nameless = MetadataFilter::new().with("thread_id", "").unwrap();
        let options = ListOptions::default().with_filter(nameless);
        assert_eq!(listed(&view, options).await, []);
    }
}

#[tokio::test]
async fn a_longer_prefix_sees_nothing_of_a_shorter_one_that_begins_it() {
    for saver in layouts().await {
        let saver: Arc<dyn CheckpointSaver> = Arc::new(saver);
        let (team, other) = (
            saver.scoped("team-a").unwrap(),
            saver.scoped("team-ab").unwrap(),
        );
        put(&team, &config("/1")).await;
        put(&other, &config("/1")).await;
        assert_eq!(threads(&other, "").await.len(), 1);
        // Without a separator the shorter one does see the longer one's, as documented.
        let found: BTreeSet<_> = threads(&team, "")
            .await
            .into_iter()
            .map(|one| one.thread_id)
            .collect();
        assert_eq!(found, BTreeSet::from([thread("/1"), thread("b/1")]));
    }
}

#[tokio::test]
async fn an_id_that_is_too_long_with_its_prefix_is_refused_and_nothing_written() {
    for saver in layouts().await {
        let saver: Arc<dyn CheckpointSaver> = Arc::new(saver);
        let view = saver.scoped("t/").unwrap();
        let long = config(&"x".repeat(MAX_ID_BYTES - 1));
        let refused = view.get_tuple(&long).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "thread_id cannot be used: it has 65537 bytes with its prefix of 2; at most 65536 are taken"
        );
        let checkpoint = Checkpoint::builder().build().unwrap();
        let options = PutOptions::default();
        let metadata = CheckpointMetadata::new();
        assert!(
            view.put(&long, &checkpoint, &metadata, &options)
                .await
                .is_err()
        );
        let both = [thread("1"), long.thread_id.clone()];
        put(&view, &config("1")).await;
        let everything = PruneOptions::new(PruneStrategy::Delete);
        assert!(view.prune(&both, &everything).await.is_err());
        assert_eq!(threads(&view, "").await.len(), 1);
        assert!(
            view.list_all(Some(&long), ListOptions::default())
                .await
                .is_err()
        );
    }
}
