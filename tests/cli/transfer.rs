//! Threads are exported and imported completely, or the command fails.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointSaver, DeleteOptions, PutOptions,
    PutWritesOptions, RawJson, TaskId, ThreadId, TypedValue,
};
use serde_json::Value;

use crate::command::{Cli, all, empty, ended, interrupt, put, put_write, three_threads, traces};
use crate::support::golden::{self, Case};
use crate::support::server::Server;
use crate::support::stored::thread;

#[tokio::test(flavor = "multi_thread")]
async fn every_trace_goes_through_a_pipe_without_a_difference() {
    let mut replayed = 0;
    for (path, trace) in traces() {
        let (source, one) = empty().await;
        source.run(&["setup"]).ok();
        assert!(trace.replay(&one).await.differences.is_empty());
        let held = all(&one).await;
        assert!(!held.is_empty(), "{path:?}");

        let (target, other) = empty().await;
        let mut export = source.spawn(&["export"]);
        let import = target
            .command(&["import", "--json"])
            .stdin(export.stdout.take().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let imported = ended(import).json();
        assert!(ended(export).ok().is_empty());
        assert_eq!(imported["checkpoints"], held.len());

        let compared = trace.compare(&one, &other).await;
        let output: Vec<_> = compared
            .differences
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(output.is_empty(), "{path:?}: {output:?}");
        assert!(compared.calls > 0);
        assert_eq!(all(&other).await, held);
        // Again: all is there.
        let again = target
            .run_on(
                &["import", "--json"],
                source.run(&["export"]).ok().as_bytes(),
            )
            .json();
        assert_eq!(
            (&again["checkpoints"], &again["there_already"]),
            (&0.into(), &held.len().into())
        );
        replayed += 1;
    }
    assert!(replayed >= 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_json_cannot_hold_comes_through_exactly() {
    let (source, one) = empty().await;
    source.run(&["setup"]).ok();
    let state = concat!(
        r#"{"big":123456789012345678901234567890,"far":1e400,"half":"\ud800","#,
        r#""float":0.30000000000000004,"wrapped":{"__json__":"1"},"minus":-0.0,"nul":"a\u0000b"}"#
    );
    let deep = "[".repeat(200) + &"]".repeat(200);
    let text = format!(
        r#"{{"v":4,"id":"1","channel_values":{{"state":{state},"deep":{deep}}},"channel_versions":{{"state":"00000000000000000000000000000002.0.531"}},"unknown":[1.10]}}"#
    );
    let checkpoint = Checkpoint::from_json(text).unwrap();
    let metadata = CheckpointMetadata::from_json(
        "{\"source\":\"loop\",\"__own\":{\"n\": 1.10},\"big\":1e999}",
    )
    .unwrap();
    let config = thread("t\0\u{9b}").with_namespace("child:1|x").unwrap();
    let stored = one
        .put(&config, &checkpoint, &metadata, &PutOptions::default())
        .await
        .unwrap();
    let mut hinted = TypedValue::new("msgpack", b"\xff\x00\n".to_vec());
    hinted.hints = Some(RawJson::parse(r#"{"a": [1.10]}"#).unwrap());
    let writes = [
        ChannelWrite::new("__interrupt__", TypedValue::new("null", Vec::new())),
        ChannelWrite::new("values", hinted),
        ChannelWrite::new("values", TypedValue::new("bytes", vec![0; 100_000])),
    ];
    let options = PutWritesOptions::default().with_task_path("~__pregel_pull, x");
    let task = TaskId::new("task:1%").unwrap();
    // Of the checkpoint, and of one that has not come yet.
    for id in ["1", "2"] {
        let mut config = stored.clone();
        config.checkpoint_id = Some(langgraph_checkpoint_redis::CheckpointId::new(id).unwrap());
        one.put_writes(&config, &writes, &task, &options)
            .await
            .unwrap();
    }

    let (target, other) = empty().await;
    let file = source.file("export");
    source.run(&["export", "-o", &file]).ok();
    let imported = target.run(&["import", &file, "--json"]).json();
    assert_eq!(
        (&imported["checkpoints"], &imported["writes"]),
        (&1.into(), &6.into())
    );
    assert_eq!(all(&other).await, all(&one).await);
    // Now it comes, and finds its writes.
    let late = Checkpoint::from_json(r#"{"id":"2"}"#).unwrap();
    for saver in [&one, &other] {
        saver
            .put(
                &stored,
                &late,
                &CheckpointMetadata::new(),
                &PutOptions::default(),
            )
            .await
            .unwrap();
    }
    let newest = other.get_tuple(&config).await.unwrap().unwrap();
    assert_eq!(newest.pending_writes.len(), 3);
    assert_eq!(all(&other).await, all(&one).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_resumes_after_its_last_complete_thread() {
    let (source, _) = three_threads().await;
    let (file, cut) = (source.file("complete"), source.file("cut"));
    source.run(&["export", "-o", &file]).ok();
    let exported = fs::read(&file).unwrap();
    let lines: Vec<_> = exported.split_inclusive(|byte| *byte == b'\n').collect();
    // A header, three times four checkpoints with their trailer, and a trailer.
    assert_eq!(lines.len(), 14);
    for length in 0..=lines.len() {
        // After a line, and amid the next.
        for more in [0, 20] {
            let mut bytes = lines[..length].concat();
            let amid = lines.get(length).map_or(&[][..], |line| &line[..more]);
            bytes.extend_from_slice(amid);
            fs::write(&cut, &bytes).unwrap();
            source.run(&["export", "-o", &cut, "--resume"]).ok();
            let resumed = fs::read(&cut).unwrap();
            if length > 0 {
                assert_eq!(resumed, exported, "{length} lines and {more} bytes");
            }
            let checked = source.run(&["import", &cut, "--dry-run", "--json"]).json();
            assert_eq!(checked["threads"], 3);
        }
    }
    assert_eq!(source.run(&["export", "-o", &cut]).code, 4, "it is there");
    let (elsewhere, _) = three_threads().await;
    fs::write(&cut, lines[..6].concat()).unwrap();
    assert_eq!(elsewhere.run(&["export", "-o", &cut, "--resume"]).code, 4);
    assert_eq!(
        source
            .run(&["export", "-o", &source.file("none"), "--resume"])
            .code,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_a_cut_file_stores_complete_threads_and_resumes_later() {
    let (source, one) = three_threads().await;
    let file = source.file("export");
    source.run(&["export", "-o", &file]).ok();
    let exported = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = exported.split_inclusive('\n').collect();
    let cut = source.file("cut");
    // Thread a, and half of b.
    fs::write(&cut, lines[..7].concat() + &lines[7][..10]).unwrap();

    let (target, other) = empty().await;
    let refused = target.run(&["import", &cut]);
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(
        refused.stderr.contains("in the middle of thread b"),
        "{refused:?}"
    );
    assert!(all(&other).await.is_empty());

    let partly = target.run(&["import", &cut, "--resume", "--json"]);
    assert_eq!(partly.code, 8, "{partly:?}");
    let output: Value = serde_json::from_str(&partly.stdout).unwrap();
    assert_eq!(
        (&output["threads"], &output["checkpoints"]),
        (&1.into(), &3.into())
    );
    assert_eq!(all(&other).await.len(), 3);

    source.run(&["export", "-o", &cut, "--resume"]).ok();
    let rest = target.run(&["import", &cut, "--resume", "--json"]).json();
    assert_eq!(
        (&rest["checkpoints"], &rest["there_already"]),
        (&6.into(), &3.into())
    );
    assert_eq!(all(&other).await, all(&one).await);

    let (target, other) = empty().await;
    let piped = target.run_on(&["import"], &exported.as_bytes()[..exported.len() / 2]);
    assert_eq!(piped.code, 8, "{piped:?}");
    // The threads that were complete are there, and nothing of the one that was not.
    let held = all(&other).await;
    assert!(held.len() % 3 == 0 && held.len() < 9, "{}", held.len());
    assert_eq!(target.run_on(&["import"], b"").code, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_tampered_with_is_refused_before_anything_is_written() {
    let (source, _) = three_threads().await;
    let file = source.file("export");
    source.run(&["export", "-o", &file]).ok();
    let exported = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = exported.split_inclusive('\n').collect();
    let without = |dropped: &[usize]| -> String {
        let kept = lines.iter().enumerate();
        kept.filter(|(position, _)| !dropped.contains(position))
            .map(|(_, line)| *line)
            .collect()
    };
    let swapped = {
        let mut lines = lines.clone();
        lines.swap(1, 2);
        lines.concat()
    };
    let twice = [&lines[..5], &lines[1..]].concat().concat();
    let forged = [&lines[..13], &[r#"{"kind":"end","threads":3}"#, "\n"]]
        .concat()
        .concat();
    let (target, other) = empty().await;
    for (what, text) in [
        (
            "a value",
            exported.replacen("[\"b\",\"2\"]", "[\"b\",\"9\"]", 1),
        ),
        (
            "a digit of a digest",
            exported.replacen("\"sha256\":\"", "\"sha256\":\"0", 1),
        ),
        (
            "a count",
            exported.replacen("\"checkpoints\":3", "\"checkpoints\":4", 1),
        ),
        ("a line out", without(&[2])),
        ("a thread out", without(&[5, 6, 7, 8])),
        ("a trailer out", without(&[4])),
        ("the header out", without(&[0])),
        ("two lines swapped", swapped),
        ("a thread twice", twice),
        ("a forged end", forged),
        ("a blank line", exported.replacen('\n', "\n\n", 1)),
        ("something after the end", exported.clone() + "{}\n"),
        ("another format", "hello\n".to_owned()),
    ] {
        assert_ne!(text, exported, "{what}");
        fs::write(&file, &text).unwrap();
        for arguments in [&["import", &file][..], &["import", &file, "--resume"]] {
            let refused = target.run(arguments);
            assert_eq!(refused.code, 8, "{what}: {refused:?}");
        }
        assert!(all(&other).await.is_empty(), "{what}");
    }
    // From a pipe the threads before it have come; nothing of the bad one has.
    let bad = exported.replacen("[\"b\",\"2\"]", "[\"b\",\"9\"]", 1);
    assert_eq!(target.run_on(&["import"], bad.as_bytes()).code, 8);
    let held = all(&other).await;
    assert!(
        held.iter()
            .all(|tuple| tuple.config.thread_id.as_str() == "a")
    );
    assert_eq!(held.len(), 3);
    let newer = exported.replacen("\"format\":1", "\"format\":2", 1);
    assert_eq!(target.run_on(&["import"], newer.as_bytes()).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_and_differs_is_replaced_only_when_asked() {
    let (source, one) = three_threads().await;
    let file = source.file("export");
    source.run(&["export", "-o", &file]).ok();
    let before = all(&one).await;
    put(
        &one,
        &thread("b").with_checkpoint("1".parse_id()),
        "2",
        &"mine",
    )
    .await;
    let conflict = source.run(&["import", &file]);
    assert_eq!(conflict.code, 4, "{conflict:?}");
    assert!(
        conflict
            .stderr
            .contains("thread b has a checkpoint 2 whose state differs"),
        "{conflict:?}"
    );
    assert_ne!(all(&one).await, before);
    source.run(&["import", &file, "--replace", "--yes"]).ok();
    assert_eq!(all(&one).await, before);

    // A write that differs is in the way as well, with its checkpoint and without.
    for id in ["3", "9"] {
        let config = thread("c").with_checkpoint(id.parse_id());
        put_write(&one, &config, "early").await;
    }
    let exported = source.run(&["export", "c"]).ok();
    for task in ["\"task_id\":\"early\"", "\"task_id\":\"task\""] {
        assert!(exported.contains(task), "{exported}");
    }
    let (target, other) = empty().await;
    target.run_on(&["import"], exported.as_bytes()).ok();
    let again = target
        .run_on(&["import", "--json"], exported.as_bytes())
        .json();
    assert_eq!(
        (&again["checkpoints"], &again["writes"]),
        (&0.into(), &0.into())
    );
    for id in ["3", "9"] {
        let config = thread("c").with_checkpoint(id.parse_id());
        let other_value = [ChannelWrite::new(
            "__error__",
            TypedValue::json(&id).unwrap(),
        )];
        let task = TaskId::new("late").unwrap();
        for saver in [&one, &other] {
            let options = PutWritesOptions::default();
            saver
                .put_writes(&config, &other_value, &task, &options)
                .await
                .unwrap();
        }
        let changed = [ChannelWrite::new(
            "__error__",
            TypedValue::json(&"changed").unwrap(),
        )];
        other
            .put_writes(&config, &changed, &task, &PutWritesOptions::default())
            .await
            .unwrap();
        let exported = source.run(&["export", "c"]).ok();
        let conflict = target.run_on(&["import"], exported.as_bytes());
        assert_eq!(conflict.code, 4, "{conflict:?}");
        assert!(
            conflict
                .stderr
                .contains("whose write -1 of task late differs"),
            "{conflict:?}"
        );
        target
            .run_on(&["import", "--replace", "--yes"], exported.as_bytes())
            .ok();
        target.run_on(&["import"], exported.as_bytes()).ok();
    }
    // What came since the export stays.
    put(
        &one,
        &thread("b").with_checkpoint("3".parse_id()),
        "4",
        &"new",
    )
    .await;
    source.run(&["import", &file]).ok();
    assert_eq!(all(&one).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_python_saver_wrote_is_carried_as_well() {
    let mut server = Server::start().await;
    for case in ["odd_thread_ids", "zoo", "subgraph", "typical_interrupted"] {
        Case::load(case).store(&mut server).await;
    }
    golden::create_python_indexes(&mut server).await;
    let saver = server.saver().await;
    let cli = Cli::without_server();
    let exported = cli.run(&["export", "--url", &server.redis.url()]).ok();
    let (target, other) = empty().await;
    target.run_on(&["import"], exported.as_bytes()).ok();
    let held = all(&saver).await;
    assert!(held.len() > 10, "{}", held.len());
    assert!(held.iter().any(|tuple| !tuple.pending_writes.is_empty()));
    assert_eq!(all(&other).await, held);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_topology_holds_the_same() {
    let (source, one) = three_threads().await;
    let cluster = redis_modules::Cluster::start().unwrap();
    let target = Cli::without_server();
    let tagged = [("REDIS_URL", cluster.url())];
    let tagged = tagged.each_ref().map(|(name, url)| (*name, url.as_str()));
    let file = source.file("export");
    source.run(&["export", "-o", &file]).ok();
    let import = ["import", &file, "--hash-tag-threads", "--json"];
    let imported = target.run_with(&import, &tagged).json();
    assert_eq!(
        (&imported["threads"], &imported["checkpoints"]),
        (&3.into(), &9.into())
    );
    // And back, thread by thread.
    let (back, other) = empty().await;
    let export = ["export", "a", "b", "c", "--hash-tag-threads"];
    let exported = target.run_with(&export, &tagged).ok();
    back.run_on(&["import"], exported.as_bytes()).ok();
    assert_eq!(all(&other).await, all(&one).await);
}

trait ParseId {
    fn parse_id(&self) -> langgraph_checkpoint_redis::CheckpointId;
}

impl ParseId for str {
    fn parse_id(&self) -> langgraph_checkpoint_redis::CheckpointId {
        langgraph_checkpoint_redis::CheckpointId::new(self).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_interrupted_resumes() {
    let (source, one) = three_threads().await;
    let (target, other) = empty().await;
    let exported = source.run(&["export"]).ok();
    let first: Vec<_> = exported.split_inclusive('\n').take(5).collect();
    // The pipe stays open and quiet after the first thread.
    let mut import = target.spawn(&["import"]);
    let mut pipe = import.stdin.take().unwrap();
    pipe.write_all(first.concat().as_bytes()).unwrap();
    pipe.flush().unwrap();
    let stored = async {
        while all(&other).await.len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stored)
        .await
        .unwrap();
    interrupt(import.id());
    let output = ended(import);
    assert_eq!(output.code, 130, "{output:?}");
    assert!(
        output.stderr.contains("the same command again"),
        "{output:?}"
    );
    drop(pipe);
    let rest = target
        .run_on(&["import", "--json"], exported.as_bytes())
        .json();
    assert_eq!(rest["checkpoints"], 6);
    assert_eq!(all(&other).await, all(&one).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_are_chosen_and_several_exports_can_follow_each_other() {
    let (source, _) = three_threads().await;
    let count = |arguments: &[&str]| {
        let exported = source.run(&[&["export"], arguments].concat()).ok();
        exported
            .lines()
            .filter(|line| line.starts_with(r#"{"kind":"thread""#))
            .count()
    };
    assert_eq!(count(&["a", "c"]), 2);
    assert_eq!(count(&["--starting-with", "b"]), 1);
    assert_eq!(count(&["--all"]), 3);
    assert_eq!(source.run(&["export", "missing"]).code, 3);
    let output = source.run(&["export", "--dry-run", "--json"]).json();
    assert_eq!(
        (&output["threads"], &output["checkpoints"]),
        (&3.into(), &9.into())
    );
    let both = source.run(&["export", "a"]).ok() + &source.run(&["export", "b"]).ok();
    let (target, other) = empty().await;
    let imported = target.run_on(&["import", "--json"], both.as_bytes()).json();
    assert_eq!(imported["threads"], 2);
    assert_eq!(all(&other).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_longer_than_a_page_and_a_batch_comes_through() {
    let (source, one) = empty().await;
    source.run(&["setup"]).ok();
    let large = "x".repeat(300_000);
    let mut config = thread("long");
    for position in 0..80 {
        // Ids of one length, so that their order is that of the numbers.
        config = put(&one, &config, &format!("{position:03}"), &large).await;
    }
    let (target, other) = empty().await;
    let exported = source.run(&["export"]).ok();
    let order: Vec<_> = exported
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<Value>(line).ok()?["checkpoint_id"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert!(
        order.is_sorted() && order.len() == 80,
        "parents before children"
    );
    target.run_on(&["import"], exported.as_bytes()).ok();
    assert_eq!(all(&other).await, all(&one).await);
    // Of a thread as long as this, a part has come when its digest turns out to be wrong.
    let bad = exported.replacen("xxx\"}", "xxy\"}", 1);
    assert_ne!(bad, exported);
    one.delete_thread(&ThreadId::new("long").unwrap(), &DeleteOptions::default())
        .await
        .unwrap();
    let output = source.run_on(&["import"], bad.as_bytes());
    assert_eq!(output.code, 8);
    assert!(
        output.stderr.contains("the thread was stored in part"),
        "{output:?}"
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_exported_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (source, _) = three_threads().await;
    let file = source.file("export");
    source.run(&["export", "-o", &file]).ok();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    let unwritable = source.file("no/such/folder");
    assert_eq!(source.run(&["export", "-o", &unwritable]).code, 1);
    assert_eq!(source.run(&["import", &unwritable]).code, 1);
}
