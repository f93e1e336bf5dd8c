//! What a conversation costs as it grows: bytes sent, and memory of Redis by estimate.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;

use super::*;
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite, TypedValue};
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};
use crate::redis::keys::CheckpointRef;

/// A conversation as LangGraph stores it: two nodes, 4 checkpoints a turn, 600 characters of text a
/// turn and 8 KB of documents.
pub(crate) struct Conversation {
    random: u64,
    /// Which words there are.
    vocabulary: u64,
    /// The two nodes, and the channels that start them.
    nodes: [[&'static str; 2]; 2],
    step: i64,
    messages: Vec<String>,
    documents: String,
    versions: BTreeMap<&'static str, String>,
    seen: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    parent: Option<CheckpointId>,
}

/// What one super-step stores.
pub(crate) struct Step {
    pub(crate) id: CheckpointId,
    pub(crate) parent: Option<CheckpointId>,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) metadata: CheckpointMetadata,
    /// The writes of its tasks.
    pub(crate) writes: Vec<PendingWrite>,
}

impl Conversation {
    pub(crate) fn new(seed: u64, nodes: [[&'static str; 2]; 2]) -> Self {
        let mut conversation = Self {
            random: seed,
            vocabulary: seed,
            nodes,
            step: -1,
            messages: Vec::new(),
            documents: String::new(),
            versions: BTreeMap::new(),
            seen: BTreeMap::from([("__input__", BTreeMap::new())]),
            parent: None,
        };
        let documents: Vec<_> = (0..8)
            .map(|_| {
                let (text, id) = (conversation.text(1_000), conversation.hexadecimal(32));
                format!(
                    r#"{{"lc":1,"type":"constructor","id":["langchain","schema","document","Document"],"kwargs":{{"id":"{id}","metadata":{{"source":"handbook.pdf","page":12}},"page_content":"{text}","type":"Document"}}}}"#
                )
            })
            .collect();
        conversation.documents = format!("[{}]", documents.join(","));
        conversation
    }

    fn number(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Words of a vocabulary of 4,000, the frequent ones more often.
    pub(crate) fn text(&mut self, length: usize) -> String {
        let mut text = String::with_capacity(length + 12);
        while text.len() < length {
            let rank = self.number(64) * self.number(64);
            let mut word = (rank ^ self.vocabulary << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            for _ in 0..2 + word % 8 {
                word = word
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push(char::from(
                    b"etaoinshrdlucmfwypvbgk"[(word >> 33) as usize % 22],
                ));
            }
            text.push(' ');
        }
        text.truncate(length);
        text
    }

    fn hexadecimal(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from_digit(u32::try_from(self.number(16)).unwrap(), 16).unwrap())
            .collect()
    }

    fn bump(&mut self, channel: &'static str) {
        let next = self
            .versions
            .values()
            .map(|version| version[..32].parse::<u64>().unwrap())
            .max()
            .unwrap_or(0)
            + 1;
        let random = self.number(9_000_000_000_000_000) + 1_000_000_000_000_000;
        let version = format!("{next:032}.0.{random}");
        self.versions.insert(channel, version);
    }

    fn human(&mut self) -> String {
        let (text, id) = (self.text(200), self.hexadecimal(32));
        format!(
            r#"{{"lc":1,"type":"constructor","id":["langchain","schema","messages","HumanMessage"],"kwargs":{{"content":"{text}","type":"human","id":"{id}"}}}}"#
        )
    }

    fn ai(&mut self) -> String {
        let (text, id, tokens) = (self.text(400), self.hexadecimal(12), self.number(900) + 100);
        format!(
            r#"{{"lc":1,"type":"constructor","id":["langchain","schema","messages","AIMessage"],"kwargs":{{"content":"{text}","response_metadata":{{"model_name":"gpt-4o-mini-2024-07-18","finish_reason":"stop"}},"type":"ai","id":"run-{id}","usage_metadata":{{"input_tokens":{tokens},"output_tokens":{},"total_tokens":{}}},"tool_calls":[],"invalid_tool_calls":[]}}}}"#,
            tokens / 3,
            tokens + tokens / 3
        )
    }

    /// The next four steps.
    pub(crate) fn turn(&mut self) -> Vec<Step> {
        let human = self.human();
        let ai = self.ai();
        let start = format!(r#"{{"messages":[{human}]}}"#);
        let list = |message: &str| format!("[{message}]");
        let mut steps = Vec::new();

        let [[first, to_first], [second, to_second]] = self.nodes;
        let path = |node: &str| format!("~__pregel_pull, {node}");

        self.bump("__start__");
        self.seen.insert("__input__", self.versions.clone());
        let writes = [("messages", &*list(&human)), (to_first, "null")];
        steps.push(self.step(
            "input",
            ("__start__", &start),
            &["__start__"],
            &path("__start__"),
            &writes,
        ));
        self.messages.push(human);
        self.saw("__start__", "__start__");
        self.bump_all(["__start__", "messages", to_first]);

        let documents = self.documents.clone();
        let writes = [("documents", &*documents), (to_second, "null")];
        steps.push(self.step(
            "loop",
            (to_first, "null"),
            &[to_first, "messages"],
            &path(first),
            &writes,
        ));
        self.saw(first, to_first);
        self.bump_all([to_first, "documents", to_second]);

        let writes = [("messages", &*list(&ai))];
        steps.push(self.step(
            "loop",
            (to_second, "null"),
            &[to_second, "documents"],
            &path(second),
            &writes,
        ));
        self.messages.push(ai);
        self.saw(second, to_second);
        self.bump_all([to_second, "messages"]);
        steps.push(self.step("loop", ("", ""), &["messages"], "", &[]));
        steps
    }

    fn saw(&mut self, node: &'static str, channel: &'static str) {
        let version = self.versions[channel].clone();
        self.seen.insert(node, BTreeMap::from([(channel, version)]));
    }

    fn bump_all<const N: usize>(&mut self, channels: [&'static str; N]) {
        for channel in channels {
            self.bump(channel);
        }
    }

    fn step(
        &mut self,
        source: &str,
        (channel, value): (&str, &str),
        updated: &[&str],
        task_path: &str,
        writes: &[(&str, &str)],
    ) -> Step {
        let made = 0x1f1e_542d_af45_0000_u64
            + u64::try_from(self.step + 2).unwrap() * 0x3_1415
            + self.number(0x1000);
        let id = format!(
            "{:08x}-{:04x}-6{:03x}-{:04x}-{}",
            made >> 32,
            made >> 16 & 0xffff,
            made & 0xfff,
            0x8000 + self.step,
            self.hexadecimal(12)
        );
        let mut values = Vec::new();
        if !self.messages.is_empty() {
            values.push(format!(r#""messages":[{}]"#, self.messages.join(",")));
        }
        if self.versions.contains_key("documents") {
            values.push(format!(r#""documents":{}"#, self.documents));
        }
        if !channel.is_empty() {
            values.push(format!("\"{channel}\":{value}"));
        }
        let mut ts = String::new();
        let micros = self.number(1_000_000);
        write!(
            ts,
            "2026-11-21T{:02}:{:02}:{:02}.{micros:06}+00:00",
            self.step / 3600 + 1,
            (self.step / 60).rem_euclid(60),
            self.step.rem_euclid(60)
        )
        .unwrap();
        let text = format!(
            r#"{{"v":4,"ts":"{ts}","id":"{id}","channel_values":{{{}}},"channel_versions":{},"versions_seen":{},"updated_channels":{}}}"#,
            values.join(","),
            serde_json::to_string(&self.versions).unwrap(),
            serde_json::to_string(&self.seen).unwrap(),
            serde_json::to_string(updated).unwrap(),
        );
        let metadata = format!(
            r#"{{"source":"{source}","step":{},"parents":{{}}}}"#,
            self.step
        );
        let task = self.hexadecimal(32);
        let task = format!(
            "{}-{}-{}-{}-{}",
            &task[..8],
            &task[8..12],
            &task[12..16],
            &task[16..20],
            &task[20..]
        );
        let writes = (0..)
            .zip(writes)
            .map(|(idx, (channel, value))| PendingWrite {
                task_id: TaskId::new(task.clone()).unwrap(),
                task_path: task_path.to_owned(),
                idx,
                channel: (*channel).to_owned(),
                value: if *value == "null" {
                    TypedValue::new("null", Bytes::new())
                } else {
                    TypedValue::new("json", (*value).to_owned())
                },
            });
        self.step += 1;
        let id = CheckpointId::new(id).unwrap();
        Step {
            parent: self.parent.replace(id.clone()),
            checkpoint: Checkpoint::from_json(text).unwrap(),
            metadata: CheckpointMetadata::from_json(metadata).unwrap(),
            writes: writes.collect(),
            id,
        }
    }
}

/// What storing a conversation takes.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Cost {
    /// Bytes of heads, records, parts, digests and ids that were sent.
    pub(crate) sent: usize,
    /// Bytes of Redis' memory, by estimate.
    pub(crate) stored: usize,
    heads: usize,
    records: usize,
    leaves: usize,
    index_parts: usize,
}

/// What a block of memory takes: the sizes that jemalloc hands out.
fn allocated(bytes: usize) -> usize {
    match bytes {
        0..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(((bytes - 1).next_power_of_two() / 8).max(16)),
    }
}

/// What a string takes, with its header and its end.
fn string(bytes: usize) -> usize {
    let header = match bytes {
        0..=31 => 1,
        32..=255 => 3,
        256..=65_535 => 5,
        _ => 9,
    };
    allocated(bytes + header + 1)
}

/// What a member of a sorted set takes: a node of the skip list and an entry of the table.
fn member(bytes: usize) -> usize {
    string(bytes) + 53 + 32 + 12
}

/// What a field of a hash takes.
fn field(bytes: usize) -> usize {
    string(Digest::LEN) + string(bytes) + 32 + 12
}

/// Whether a part is a leaf, as it is stored.
pub(crate) fn is_leaf(part: &[u8]) -> bool {
    part.first() != Some(&compress::INDEX)
}

/// A codec whose cache holds all of a conversation.
pub(crate) fn codec() -> Codec {
    Codec::new(CodecOptions {
        cache_bytes: 16 << 20,
        max_bytes: 1 << 26,
        sealer: Sealer::default(),
    })
}

/// Stores this number of turns as a saver does, which keeps what it has sent in its cache.
pub(crate) fn grow(turns: usize) -> Cost {
    let thread_id = ThreadId::new("thread").unwrap();
    let codec = codec();
    let thread = codec.of_thread(&thread_id);
    let mut conversation = Conversation::new(
        7,
        [
            ["retrieve", "branch:to:retrieve"],
            ["answer", "branch:to:answer"],
        ],
    );
    let mut cost = Cost::default();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..turns {
        for step in conversation.turn() {
            let at = CheckpointRef::new(&thread_id, &CheckpointNamespace::root(), &step.id);
            let encoded = thread
                .encode_head(
                    &at,
                    step.parent.as_ref(),
                    &step.checkpoint,
                    &step.metadata,
                    Sending::New,
                )
                .unwrap();
            let key = step.id.as_str().len() + 2;
            cost.heads += member(key + encoded.head.len());
            cost.sent += key + encoded.head.len();
            let mut send = |parts: NewParts| {
                cost.sent += parts.assumed.len() * Digest::LEN;
                for (digest, part) in &parts.stored {
                    cost.sent += Digest::LEN + part.len();
                    if seen.insert(*digest) {
                        if is_leaf(part) {
                            cost.leaves += field(part.len());
                        } else {
                            cost.index_parts += field(part.len());
                        }
                    }
                }
                thread.remember(parts);
            };
            send(encoded.parts);
            let writes = thread.encode_writes(&at, &step.writes, Sending::New);
            send(writes.parts);
            for (write, record) in step.writes.iter().zip(writes.records) {
                let key = key + write.task_id.as_str().len() + 5;
                cost.records += member(key + record.len());
                cost.sent += key + record.len();
            }
        }
    }
    cost.stored = cost.heads + cost.records + cost.leaves + cost.index_parts;
    cost
}

#[test]
fn a_conversation_costs_what_it_says() {
    let costs = [50, 100, 200, 400].map(|turns| (turns, grow(turns)));
    for (turns, cost) in &costs {
        println!("{turns} turns: {cost:?}");
    }
    let [_, _, (_, at_200), (_, at_400)] = costs;
    assert!(at_200.sent <= 2_500_000, "{at_200:?}");
    assert!(at_200.stored <= 2_000_000, "{at_200:?}");
    assert!(at_400.stored * 10 <= at_200.stored * 22, "{at_400:?}");
    assert!(at_400.sent * 10 <= at_200.sent * 22, "{at_400:?}");
}
