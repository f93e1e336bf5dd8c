//! What may be done to the keys of a thread by hand.

use langgraph_checkpoint_redis::redis::Layout;

use crate::Fault;

/// A key of another application.
pub const NOT_OURS: &str = "checkpoint:settings";

/// A damage: the key that it is done to, and how.
pub struct Damage {
    pub key: String,
    pub commands: Vec<Vec<Vec<u8>>>,
    /// Whether deleting the thread removes the key.
    pub is_ours: bool,
}

impl Damage {
    /// What is done to a key of a thread, which stands for `KEY` in the commands.
    fn of(key: String, commands: &[&[&[u8]]]) -> Self {
        let commands = commands.iter().map(|command| {
            let parts = command.iter().map(|part| {
                if *part == b"KEY" {
                    key.clone().into_bytes()
                } else {
                    part.to_vec()
                }
            });
            parts.collect()
        });
        Self {
            commands: commands.collect(),
            key,
            is_ours: true,
        }
    }
}

fn of_documents() -> Vec<Damage> {
    let mut damages = Vec::new();
    let mut add = |family: &str, end: &str, commands: &[&[&[u8]]]| {
        let thread = format!("damaged-{:02}", damages.len());
        damages.push(Damage::of(format!("{family}:{thread}{end}"), commands));
    };
    let (pointer, registry) = (":__empty__", ":__empty__");
    let (document, write) = (":__empty__:00000001", ":__empty__:00000000:task-0:0");
    let writes = ":__empty__:00000000";
    let gone: &[&[u8]] = &[b"DEL", b"KEY"];
    let text: &[&[u8]] = &[b"SET", b"KEY", b"text"];
    add(
        "checkpoint_latest",
        pointer,
        &[gone, &[b"RPUSH", b"KEY", b"x"]],
    );
    add("checkpoint_keys_zset", registry, &[gone, text]);
    add("checkpoint_ns_set", "", &[gone, text]);
    add(
        "checkpoint_keys_zset",
        registry,
        &[&[b"ZADD", b"KEY", b"0", b"\xff\xfe"]],
    );
    add("checkpoint_ns_set", "", &[&[b"SADD", b"KEY", b"\xff\xfe"]]);
    add(
        "checkpoint",
        document,
        &[&[b"JSON.DEL", b"KEY", b"$.thread_id"]],
    );
    add(
        "checkpoint",
        document,
        &[&[b"JSON.SET", b"KEY", b"$", b"[]"]],
    );
    add(
        "checkpoint",
        document,
        &[&[b"JSON.SET", b"KEY", b"$.metadata", b"\"{\""]],
    );
    add(
        "checkpoint",
        document,
        &[&[b"JSON.SET", b"KEY", b"$.checkpoint", b"\"x\""]],
    );
    add("checkpoint", document, &[gone, text]);
    add("checkpoint_write", write, &[gone, text]);
    add(
        "checkpoint_write",
        write,
        &[&[b"JSON.SET", b"KEY", b"$.blob", b"5"]],
    );
    add("write_keys_zset", writes, &[gone, text]);
    add(
        "write_keys_zset",
        writes,
        &[&[b"ZADD", b"KEY", b"0", b"\xff\xfe"]],
    );
    add(
        "checkpoint_latest",
        pointer,
        &[&[b"SET", b"KEY", b"checkpoint:damaged-14:__empty__:00000000"]],
    );
    add(
        "checkpoint_latest",
        pointer,
        &[&[b"SET", b"KEY", b"\xff\xfe"]],
    );
    damages.push(Damage {
        key: NOT_OURS.to_owned(),
        commands: vec![
            ["JSON.SET", NOT_OURS, "$", r#"{"theme":"dark"}"#]
                .map(|part| part.as_bytes().to_vec())
                .to_vec(),
        ],
        is_ours: false,
    });
    damages
}

/// What is done to threads `damaged-00` and so on, each of which has three checkpoints, and writes
/// of the first.
pub fn damages(fault: Fault) -> Vec<Damage> {
    match fault.layout {
        Layout::Compact => of_compact(),
        _ => of_documents(),
    }
}

fn of_compact() -> Vec<Damage> {
    let mut damages = Vec::new();
    let mut add = |family: &str, commands: &[&[&[u8]]]| {
        let number = damages.len();
        let key = format!("checkpoint_{family}:{{damaged-{number:02}}}");
        damages.push(Damage::of(key, commands));
    };
    let gone: &[&[u8]] = &[b"DEL", b"KEY"];
    let text: &[&[u8]] = &[b"SET", b"KEY", b"text"];
    add("heads", &[gone, text]);
    add("heads", &[gone, &[b"RPUSH", b"KEY", b"x"]]);
    add("heads", &[&[b"ZADD", b"KEY", b"0", b"\xff\xfe"]]);
    add("heads", &[&[b"ZADD", b"KEY", b"0", b""]]);
    add("heads", &[&[b"ZADD", b"KEY", b"0", b"\0\xff"]]);
    // What is newer than all and has no head, or half of one.
    add("heads", &[&[b"ZADD", b"KEY", b"0", b"\x0000000009\0"]]);
    add(
        "heads",
        &[&[b"ZADD", b"KEY", b"0", b"\x0000000009\0\x01\0\0\0"]],
    );
    add("parts", &[gone, text]);
    add("parts", &[gone]);
    add("parts", &[&[b"HSET", b"KEY", b"0123456789abcdef", b"?"]]);
    add("writes", &[gone, text]);
    add("writes", &[gone]);
    add("writes", &[&[b"ZADD", b"KEY", b"0", b"\xff\xfe"]]);
    add("writes", &[&[b"ZADD", b"KEY", b"0", b""]]);
    // A write without a record, and one without all of its index.
    let place = b"\x0000000000\0task-9\0\x80\0\0\0\0\0\0\0";
    add("writes", &[&[b"ZADD", b"KEY", b"0", place]]);
    add("writes", &[&[b"ZADD", b"KEY", b"0", &place[..20]]]);
    damages.push(Damage {
        key: NOT_OURS.to_owned(),
        commands: vec![["SET", NOT_OURS, "dark"].map(Vec::from).to_vec()],
        is_ours: false,
    });
    damages
}
