//! What is deleted while others write: a call removes what was there when it began, ends, and
//! takes nothing of what is put after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use langgraph_checkpoint_redis::redis::{RedisSaverBuilder, ShallowRedisSaver};
use langgraph_checkpoint_redis::{
    ChannelWrite, CheckpointConfig, CheckpointId, CheckpointSaver, CheckpointSaverExt,
    DeleteOptions, ListOptions, Progress, ProgressCallback, PruneOptions, PruneStrategy, RunId,
    TtlChoice, TypedValue,
};
use tokio::sync::Notify;

use crate::support::nodes::Nodes;
use crate::support::server::Server;
use crate::support::stored::{
    self, checkpoint_with_id, ids, named, place, thread_id as thread, writes,
};

/// A call that takes longer does not end.
const LIMIT: Duration = Duration::from_secs(20);

async fn put(saver: &dyn CheckpointSaver, place: &CheckpointConfig, id: &str) {
    put_for(saver, place, id, TtlChoice::Default).await;
}

async fn put_for(saver: &dyn CheckpointSaver, place: &CheckpointConfig, id: &str, ttl: TtlChoice) {
    let config = place.clone().with_run(RunId::new("run").unwrap());
    stored::put_for(saver, &config, &checkpoint_with_id(id), ttl).await;
}

async fn put_write(saver: &dyn CheckpointSaver, place: &CheckpointConfig, id: &str) {
    stored::put_writes(saver, &named(place, id), &writes(&["n"]), "task").await;
}

async fn within<T>(what: &str, call: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, call)
        .await
        .unwrap_or_else(|_| panic!("{what} does not end"))
}

/// Writers that put checkpoints and writes into a thread until they are stopped.
struct Writers {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    async fn start(savers: Vec<Arc<dyn CheckpointSaver>>, namespaced: bool) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let tasks = savers.into_iter().map(|saver| {
            let (stop, count) = (Arc::clone(&stop), Arc::<AtomicUsize>::clone(&count));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    let namespace = if namespaced {
                        ["", "x:1"][number % 2]
                    } else {
                        ""
                    };
                    let place = place("t", namespace);
                    put_write(&*saver, &place, &format!("w{number:08}")).await;
                    put(&*saver, &place, &format!("w{number:08}")).await;
                }
            })
        });
        let tasks = tasks.collect();
        let writers = Self { stop, count, tasks };
        writers.have_put(20).await;
        writers
    }

    async fn have_put(&self, more: usize) {
        let goal = self.count.load(Ordering::SeqCst) + more;
        while self.count.load(Ordering::SeqCst) < goal {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn savers(builder: impl Fn() -> RedisSaverBuilder) -> Vec<Arc<dyn CheckpointSaver>> {
    let mut savers: Vec<Arc<dyn CheckpointSaver>> = Vec::new();
    for _ in 0..4 {
        let saver = builder().pool_size(1).build().await.unwrap();
        saver.setup().await.unwrap();
        savers.push(Arc::new(saver));
    }
    savers
}

/// Deletes a thread that four writers write, and looks at what is there afterwards.
async fn delete_under_writers(
    builder: impl Fn() -> RedisSaverBuilder,
    delete: impl AsyncFn(&dyn CheckpointSaver),
) {
    let savers = savers(builder).await;
    let saver = Arc::clone(&savers[0]);
    for number in 0..300 {
        let namespace = ["", "x:1", "y"][number % 3];
        put(&*saver, &place("t", namespace), &format!("old{number:04}")).await;
    }
    put_write(&*saver, &place("t", ""), "old9999").await;
    let writers = Writers::start(savers.clone(), true).await;
    within("the delete", delete(&*saver)).await;
    let after = place("t", "after");
    for number in 0..20 {
        put(&*saver, &after, &format!("z{number:04}")).await;
        put_write(&*saver, &after, &format!("z{number:04}")).await;
    }
    writers.have_put(20).await;
    writers.end().await;

    let mut all = ids(&*saver, &CheckpointConfig::new("t").unwrap()).await;
    assert!(!all.iter().any(|id| id.starts_with("old")), "{all:?}");
    all.retain(|id| id.starts_with('z'));
    assert_eq!(all.len(), 20, "what was put afterwards is listed");
    for number in 0..20 {
        let id = CheckpointId::new(format!("z{number:04}")).unwrap();
        let found = saver.get_tuple(&after.clone().with_checkpoint(id)).await;
        assert_eq!(found.unwrap().unwrap().pending_writes.len(), 1);
    }
    // Nobody writes any more, and no key of what was left by halves stays behind.
    within(
        "the last delete",
        saver.delete_thread(&thread("t"), &DeleteOptions::default()),
    )
    .await
    .unwrap();
}

async fn delete_thread(saver: &dyn CheckpointSaver) {
    saver
        .delete_thread(&thread("t"), &DeleteOptions::default())
        .await
        .unwrap();
}

async fn prune_all(saver: &dyn CheckpointSaver) {
    let options = PruneOptions::new(PruneStrategy::Delete);
    saver.prune(&[thread("t")], &options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_under_writers_ends_and_leaves_what_is_put_afterwards() {
    let mut server = Server::start().await;
    let url = server.redis.url();
    let builder = || langgraph_checkpoint_redis::RedisSaver::builder().url(url.clone());
    delete_under_writers(builder, delete_thread).await;
    assert_eq!(server.keys().await, Vec::<String>::new());
    delete_under_writers(builder, prune_all).await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_under_writers_ends_in_a_cluster() {
    let mut nodes = Nodes::of_the_cluster().await;
    delete_under_writers(|| nodes.builder(), delete_thread).await;
    assert_eq!(nodes.keys().await, Vec::<String>::new());
    delete_under_writers(|| nodes.builder().hash_tag_threads(true), prune_all).await;
    assert_eq!(nodes.keys().await, Vec::<String>::new());
}

async fn shallow(builder: RedisSaverBuilder) -> Arc<ShallowRedisSaver> {
    let saver = builder.pool_size(1).build_shallow().await.unwrap();
    saver.setup().await.unwrap();
    Arc::new(saver)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shallow_delete_under_writers_ends_and_leaves_what_is_put_afterwards() {
    let mut server = Server::start().await;
    let builder = || langgraph_checkpoint_redis::RedisSaver::builder().url(server.redis.url());
    let mut savers: Vec<Arc<dyn CheckpointSaver>> = Vec::new();
    for _ in 0..4 {
        savers.push(shallow(builder()).await);
    }
    let saver = Arc::clone(&savers[0]);
    for namespace in 0..50 {
        put(&*saver, &place("t", &format!("old{namespace}")), "1").await;
    }
    let writers = Writers::start(savers, true).await;
    within("the delete", delete_thread(&*saver)).await;
    put(&*saver, &place("t", "after"), "1").await;
    writers.have_put(20).await;
    writers.end().await;
    let there = CheckpointConfig::new("t").unwrap();
    let there = saver.list_all(Some(&there), ListOptions::default()).await;
    let mut there: Vec<_> = there
        .unwrap()
        .into_iter()
        .map(|one| one.config.namespace())
        .collect();
    there.sort();
    let there: Vec<_> = there
        .iter()
        .map(langgraph_checkpoint_redis::CheckpointNamespace::as_str)
        .collect();
    assert_eq!(there, ["", "after", "x:1"]);
    within("the last delete", delete_thread(&*saver)).await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_for_runs_under_writers_of_the_run_ends() {
    let server = Server::start().await;
    let url = server.redis.url();
    let savers =
        savers(|| langgraph_checkpoint_redis::RedisSaver::builder().url(url.clone())).await;
    let saver = Arc::clone(&savers[0]);
    for number in 0..300 {
        put(&*saver, &place("t", ""), &format!("old{number:04}")).await;
    }
    let writers = Writers::start(savers, true).await;
    let runs = [RunId::new("run").unwrap()];
    within("the delete", saver.delete_for_runs(&runs))
        .await
        .unwrap();
    put(&*saver, &place("t", "after"), "z").await;
    writers.end().await;
    let left = ids(&*saver, &CheckpointConfig::new("t").unwrap()).await;
    assert!(!left.iter().any(|id| id.starts_with("old")), "{left:?}");
    assert!(left.contains(&"z".to_owned()));
}

#[tokio::test]
async fn a_delete_that_is_dropped_stops_and_is_made_again() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    for number in 0..500 {
        put(&saver, &place("t", ""), &format!("{number:04}")).await;
    }
    let enough = Arc::new(Notify::new());
    let reported = Arc::clone(&enough);
    let options =
        DeleteOptions::default().with_progress(ProgressCallback::new(move |_: Progress| {
            reported.notify_one();
        }));
    let (t, called) = (thread("t"), AtomicBool::new(false));
    tokio::select! {
        _ = saver.delete_thread(&t, &options) => panic!("it ended"),
        () = enough.notified() => called.store(true, Ordering::SeqCst),
    }
    let left = ids(&saver, &place("t", "")).await.len();
    assert!((1..500).contains(&left), "{left} are left");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(ids(&saver, &place("t", "")).await.len(), left);
    put(&saver, &place("t", ""), "afterwards").await;
    assert_eq!(ids(&saver, &place("t", "")).await.len(), left + 1);
    delete_thread(&saver).await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

/// More writes than one step removes.
const TASKS: usize = 12;
const WRITES: usize = 100;

async fn put_many_writes(saver: &dyn CheckpointSaver, place: &CheckpointConfig, value: i32) {
    put(saver, place, "1").await;
    let value = TypedValue::json(&value).unwrap();
    let writes: Vec<_> = (0..WRITES)
        .map(|n| ChannelWrite::new(format!("n{n}"), value.clone()))
        .collect();
    for task in 0..TASKS {
        stored::put_writes(saver, &named(place, "1"), &writes, &format!("task{task}")).await;
    }
}

/// The values of the writes that a reader sees, with how often it sees each.
async fn values(saver: &dyn CheckpointSaver, place: &CheckpointConfig) -> Vec<(i32, usize)> {
    let tuple = saver.get_tuple(&named(place, "1")).await.unwrap();
    let mut values = std::collections::BTreeMap::new();
    for write in tuple.iter().flat_map(|tuple| &tuple.pending_writes) {
        *values.entry(write.value.decode().unwrap()).or_default() += 1;
    }
    values.into_iter().collect()
}

/// Begins to delete a thread, and stops when the first of its writes are gone.
async fn delete_some(saver: &dyn CheckpointSaver) {
    let enough = Arc::new(Notify::new());
    let reported = Arc::clone(&enough);
    let options =
        DeleteOptions::default().with_progress(ProgressCallback::new(move |_: Progress| {
            reported.notify_one();
        }));
    let t = thread("t");
    tokio::select! {
        _ = saver.delete_thread(&t, &options) => panic!("it ended"),
        () = enough.notified() => {}
    }
}

/// What a delete that was cut off has left of a checkpoint's writes is of no checkpoint any more.
async fn nothing_comes_back_after_a_delete_was_cut_off(saver: &dyn CheckpointSaver) {
    let at = place("t", "");
    // The checkpoint is put again first.
    put_many_writes(saver, &at, 1).await;
    assert_eq!(values(saver, &at).await, [(1, TASKS * WRITES)]);
    delete_some(saver).await;
    assert_eq!(saver.get_tuple(&named(&at, "1")).await.unwrap(), None);
    put(saver, &at, "1").await;
    assert_eq!(values(saver, &at).await, []);
    put_many_writes(saver, &at, 2).await;
    assert_eq!(values(saver, &at).await, [(2, TASKS * WRITES)]);
    // Writes of it come first.
    delete_some(saver).await;
    let value = TypedValue::json(&3).unwrap();
    let write = [ChannelWrite::new("n", value)];
    let task = format!("task{}", TASKS - 1);
    stored::put_writes(saver, &named(&at, "1"), &write, &task).await;
    put(saver, &at, "1").await;
    assert_eq!(values(saver, &at).await, [(3, 1)]);
    // Nobody puts it again.
    put_many_writes(saver, &at, 4).await;
    delete_some(saver).await;
    delete_thread(saver).await;
}

#[tokio::test]
async fn what_a_cut_off_delete_left_of_many_writes_does_not_come_back() {
    let mut server = Server::start().await;
    nothing_comes_back_after_a_delete_was_cut_off(&server.saver().await).await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_cut_off_delete_left_of_many_writes_does_not_come_back_in_a_cluster() {
    for tagged in [false, true] {
        let mut nodes = Nodes::of_the_cluster().await;
        let saver = nodes.builder().hash_tag_threads(tagged);
        let saver = saver.build().await.unwrap();
        saver.setup().await.unwrap();
        nothing_comes_back_after_a_delete_was_cut_off(&saver).await;
        assert_eq!(nodes.keys().await, Vec::<String>::new());
    }
}

/// Thread `a` with namespace `b:x` and thread `a:b` with `x` share the names of what the Python
/// saver has as well.
async fn leave_the_neighbour(saver: &dyn CheckpointSaver, run: &[&str]) {
    let (one, other) = (place("a", "b:x"), place("a:b", "x"));
    let expired = TtlChoice::For(Duration::from_millis(30));
    for id in ["1", "2", "3"] {
        // The one's has expired when the other's is put, but is registered still.
        put_for(saver, &one, id, expired).await;
    }
    put(saver, &one, "4").await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    for id in ["1", "2", "3"] {
        put(saver, &other, id).await;
        put_write(saver, &other, id).await;
    }
    let before = saver
        .list_all(Some(&other), ListOptions::default())
        .await
        .unwrap();
    assert_eq!(before.len(), 3);
    for what in run {
        match *what {
            "prune" => {
                let options = PruneOptions::default();
                saver.prune(&[thread("a")], &options).await.unwrap();
            }
            _ => saver
                .delete_thread(&thread("a"), &DeleteOptions::default())
                .await
                .unwrap(),
        }
        let after = saver
            .list_all(Some(&other), ListOptions::default())
            .await
            .unwrap();
        assert_eq!(after, before, "after {what}");
        assert_eq!(
            saver.get_tuple(&other).await.unwrap().as_ref(),
            before.first()
        );
    }
    assert_eq!(ids(saver, &one).await, Vec::<String>::new());
    saver
        .delete_thread(&thread("a:b"), &DeleteOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn deleting_a_thread_leaves_another_whose_keys_have_the_same_names() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    leave_the_neighbour(&saver, &["prune", "delete"]).await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn deleting_a_thread_leaves_another_whose_keys_have_the_same_names_in_a_cluster() {
    let mut nodes = Nodes::of_the_cluster().await;
    leave_the_neighbour(&nodes.saver().await, &["prune", "delete"]).await;
    assert_eq!(nodes.keys().await, Vec::<String>::new());
}

/// Writes of the one wait under the names of the other's checkpoint.
async fn delete_what_waits_beside_the_neighbour(saver: &dyn CheckpointSaver) {
    let (one, other) = (place("a", "b:x"), place("a:b", "x"));
    put_write(saver, &other, "1").await;
    put(saver, &one, "1").await;
    stored::delete(saver, &other.thread_id).await;
    for count in [0, 1] {
        let found = saver.get_tuple(&named(&one, "1")).await.unwrap();
        assert_eq!(found.unwrap().pending_writes.len(), count);
        put_write(saver, &one, "1").await;
    }
    stored::delete(saver, &one.thread_id).await;
}

#[tokio::test]
async fn a_checkpoint_does_not_miss_the_writes_of_another_that_has_the_same_names() {
    let mut server = Server::start().await;
    delete_what_waits_beside_the_neighbour(&server.saver().await).await;
    assert_eq!(server.keys().await, Vec::<String>::new());
    let mut nodes = Nodes::of_the_cluster().await;
    delete_what_waits_beside_the_neighbour(&nodes.saver().await).await;
    assert_eq!(nodes.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_left_of_a_thread_expires_with_its_longest_checkpoint() {
    let mut server = Server::start().await;
    let saver = server.saver().await;
    let hour = TtlChoice::For(Duration::from_secs(3_600));
    let place = place("t", "");
    put(&saver, &place, "1").await;
    put_for(&saver, &place, "2", hour).await;
    put_for(&saver, &place, "3", hour).await;
    assert_eq!(
        server.time_left("checkpoint_keys_zset:t:__empty__").await,
        -1
    );
    let options = PruneOptions::new(PruneStrategy::KeepLast(2));
    saver.prune(&[thread("t")], &options).await.unwrap();
    for key in server.keys().await {
        assert!(server.time_left(&key).await > 0, "{key} stays");
    }
}
