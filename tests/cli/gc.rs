//! `gc` removes what nothing refers to any more, and nothing else.

use langgraph_checkpoint_redis::redis::Layout;
use langgraph_checkpoint_redis::{
    ChannelWrite, CheckpointConfig, CheckpointSaver, PutWritesOptions, RedisSaver, TaskId,
    TypedValue,
};

use crate::command::{Cli, all, put};
use crate::support::server::connect;
use crate::support::stored::thread;

/// Values of this size are stored as parts.
fn large(seed: u32) -> String {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from(state >> 24).unwrap() % 26)
    };
    (0..20_000).map(|_| next()).collect()
}

async fn write(saver: &RedisSaver, config: &CheckpointConfig, value: &str) {
    let writes = [ChannelWrite::new(
        "__error__",
        TypedValue::json(value).unwrap(),
    )];
    let (task, options) = (TaskId::new("t").unwrap(), PutWritesOptions::default());
    let written = saver.put_writes(config, &writes, &task, &options).await;
    written.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_replaced_write_go_and_what_is_referred_to_stays() {
    let cli = Cli::new();
    let builder = RedisSaver::builder().url(redis_modules::shared_url().unwrap());
    let builder = builder.prefix(&cli.prefix).layout(Layout::Compact);
    let saver = builder.build().await.unwrap();
    saver.setup().await.unwrap();
    for id in ["a", "b"] {
        let stored = put(&saver, &thread(id), "1", &large(1)).await;
        // A write to a special channel replaces the one before.
        write(&saver, &stored, &large(2)).await;
        write(&saver, &stored, &large(3)).await;
    }
    let mut client = connect(redis_modules::shared_url().unwrap()).await.unwrap();
    let mut hlen = async |key: &str| -> u64 {
        let count = redis::cmd("HLEN").arg(key).query_async(&mut client).await;
        count.unwrap()
    };
    let parts = format!("{}:checkpoint_parts:{{a}}", cli.prefix);
    let before = hlen(&parts).await;
    let held = all(&saver).await;

    let nothing = cli.run(&["--layout", "compact", "gc"]);
    assert_eq!(nothing.code, 2, "{nothing:?}");
    let collected = cli
        .run(&["--layout", "compact", "gc", "a", "--json"])
        .json();
    let removed = collected["removed"].as_u64().unwrap();
    assert!(removed > 0, "{collected}");
    assert_eq!(hlen(&parts).await, before - removed);
    let all_collected = cli.run(&["--layout", "compact", "gc", "--all"]).ok();
    assert_eq!(
        all_collected,
        format!("removed {removed} parts of 2 threads\n")
    );
    assert_eq!(all(&saver).await, held);
    // Nothing is left to remove, and what came last is read by who has no cache.
    let again = cli
        .run(&["--layout", "compact", "gc", "--all", "--json"])
        .json();
    assert_eq!(again["removed"], 0);
    let shown = cli.run(&["--layout", "compact", "doctor", "--json"]);
    assert_eq!(shown.code, 0, "{shown:?}");
}
