//! Messages, shown and compared as messages.

use super::command::Cli;
use crate::support::states;

async fn recorded(name: &str) -> Cli {
    let cli = Cli::new();
    states::store(&cli.saver().await, name, "t").await;
    cli
}

/// The ids of the checkpoints of the root namespace, newest first.
fn checkpoints(cli: &Cli) -> Vec<String> {
    let history = cli.run(&["history", "t", "--namespace", "", "--json"]);
    let ids = history.lines();
    ids.iter()
        .map(|line| line["checkpoint_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_shown_with_who_speaks_calls_results_and_tokens() {
    let cli = recorded("chat").await;
    let text = cli.run(&["show", "t"]).ok();
    for part in [
        "status      idle",
        ": 4 messages\n",
        "    [0] human (h-1)\n        What's the weather?\n",
        "    [1] ai (ai-1), fake-1, 17 tokens (12 in, 5 out)\n",
        "        calls weather {\"city\":\"Zürich\\u0007\"} (call_1)\n",
        "    [2] tool weather (tool-1), result of call_1: error\n",
        "        (reasoning)\n        it failed\n        Sorry,\n        no weather.\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let raw = cli.run(&["show", "t", "--raw"]).ok();
    assert!(
        raw.contains("\"lc\": 1") && !raw.contains("[0] human"),
        "{raw}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn text_in_a_message_cannot_look_like_another_message_or_act_on_a_terminal() {
    let cli = recorded("chat").await;
    let ids = checkpoints(&cli);
    let calls = [
        vec!["show", "t"],
        vec!["show", "t", "--color", "always"],
        vec!["diff", "t", &ids[2], &ids[0]],
        vec!["diff", "t", "--raw"],
    ];
    for call in calls {
        let text = cli.run(&call).ok();
        // A message begins in the fifth column; what it says is deeper.
        assert!(!text.contains("\n    [9] human"), "{text}");
        let colored = call.contains(&"always");
        let bad = text.chars().find(|character| {
            let own = *character == '\n' || (colored && *character == '\u{1b}');
            (character.is_control() && !own) || *character == '\u{202e}'
        });
        assert_eq!(bad, None, "{text:?}");
        assert!(!text.contains("\u{1b}[2J"), "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_tells_messages_that_were_added() {
    let cli = recorded("chat").await;
    let text = cli.run(&["diff", "t"]).ok();
    assert!(
        text.contains("  + [3] ai (ai-2)\n        (reasoning)\n        it failed\n"),
        "{text}"
    );
    assert!(text.contains("    3 messages the same\n"), "{text}");
    let raw = cli.run(&["diff", "t", "--raw"]).ok();
    assert!(raw.contains("  + [3]: {"), "{raw}");
    let json = cli.run(&["diff", "t", "--json"]).json();
    let paths: Vec<_> = json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["path"].as_str().unwrap())
        .collect();
    assert!(paths.contains(&"[3]"), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_thread_waits_for_is_shown_with_what_to_paste() {
    let cli = recorded("two_interrupts").await;
    let text = cli.run(&["show", "t"]).ok();
    for part in [
        "status      interrupted",
        "next        left, right",
        "waits       left: left?",
        "answer}), {\"configurable\": {\"thread_id\": \"t\"}})",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let failed = recorded("error_and_interrupt").await;
    let text = failed.run(&["show", "t"]).ok();
    assert!(text.contains("status      error"), "{text}");
    assert!(
        text.contains("failed      bad: ValueError('boom \\x1b[31m')"),
        "{text}"
    );
    let packed = recorded("interrupt_msgpack").await;
    let text = packed.run(&["show", "t"]).ok();
    assert!(
        text.contains("waits       approve: {\"question\":\"Run this?\""),
        "{text}"
    );
    assert!(
        text.contains("graph.invoke(Command(resume=answer), "),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_those_who_see_them() {
    let cli = recorded("two_interrupts").await;
    let colored = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = cli.run_with(arguments, environment);
        output.ok().contains('\u{1b}')
    };
    assert!(!colored(&["show", "t"], &[]));
    assert!(colored(&["show", "t", "--color", "always"], &[]));
    assert!(colored(&["show", "t"], &[("CLICOLOR_FORCE", "1")]));
    let both = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    assert!(!colored(&["show", "t", "--color", "never"], &both[..1]));
    assert!(!colored(&["show", "t"], &both[1..]));
    assert!(!colored(&["show", "t", "--json", "--color", "always"], &[]));
}
