//! The properties that `fuzz/` looks for exceptions to, over some thousand inputs that are made to
//! be nearly right. Whatever fuzzing finds stands here as a case of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/python_text.rs"]
mod python_text;

use langgraph_checkpoint_redis::fuzzing::{compact, json, keys, replies, values};
use proptest::prelude::*;
use python_text::python_text;

/// Pieces in any order, with some bytes among them changed: much of it is nearly right.
fn made_of(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        16 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<String>().prop_map(String::into_bytes),
        1 => any::<Vec<u8>>(),
    ];
    let pieces = proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    (
        pieces,
        proptest::option::weighted(0.3, any::<(prop::sample::Index, u8)>()),
    )
        .prop_map(|(mut bytes, change)| {
            if let Some((at, byte)) = change
                && !bytes.is_empty()
            {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
}

const REPLIES: &[&str] = &[
    "+OK\r\n",
    ":1\r\n",
    ":-7\r\n",
    "$-1\r\n",
    "*-1\r\n",
    "$0\r\n\r\n",
    "$4\r\na\r\nb\r\n",
    "*0\r\n",
    "*1\r\n",
    "*2\r\n",
    "*3\r\n",
    "-ERR no\r\n",
    "-MOVED 1 a:1\r\n",
    "$",
    "*",
    "\r\n",
    "\r",
    "9",
    "1",
    "$9223372036854775807\r\n",
    "*9223372036854775807\r\n",
    "$-2\r\n",
    "+",
    "-",
    "_\r\n",
    "xy",
];

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "null",
    "true",
    "false",
    "\"\"",
    "\"a\"",
    "\"__json__\"",
    "{\"__json__\":",
    "\\",
    "\"",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\n",
    "0",
    "-0",
    "1",
    "-",
    ".",
    "5",
    "e",
    "E+",
    "1e400",
    "9223372036854775808",
    "18446744073709551616",
    "0.1",
    "1.7976931348623157e308",
    "5e-324",
    "3.141592653589793",
    "0.30000000000000004",
    "NaN",
    "\u{1f600}",
    "\u{7f}",
];

const KEYS: &[&str] = &[
    "\0",
    "\0",
    "\0",
    ":",
    ":",
    "{",
    "}",
    "@",
    "@3:",
    "abc",
    "a",
    "1",
    "__empty__",
    ":shallow",
    "blobs\0",
    "writes\0",
    "pinned",
    "-1",
    "\u{1f600}",
    "checkpoint",
    "18446744073709551615",
    ":__empty__:x",
];

/// What heads, records and parts begin with, and what is in them.
const COMPACT: &[&str] = &[
    "\0",
    "\0",
    "\0",
    "\x01",
    "\x01",
    "\x02",
    "\x03",
    "\x01\0\0\0\0",
    "\x01\0\0\0\x01p",
    "\0\x01",
    "0123456789abcdef",
    "\x02id\x01\x031",
    "\x02id\0",
    "\x0echannel_values",
    "{\"a\":\"b\"},{\"a\":",
    "{},{},{}, {}",
    "[{",
    "}]",
    "\x7f",
    "\x07channel",
    "json",
    "text of some length, as it is in messages",
];

/// Complete lists and objects, whose values are texts as they may stand in one.
fn complete_json() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![
        any::<f64>()
            .prop_filter("JSON has no other", |float| float.is_finite())
            .prop_map(|float| format!("{float:e}")),
        any::<i128>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
    ];
    let string = prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u[0-9a-f]{4}|\\\\[nrtbf/]|[ -!#-\\[\\]-~]){0,8}\"",
    ];
    let leaf = prop_oneof![
        number,
        string,
        Just("null".to_owned()),
        Just("true".to_owned())
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((any::<String>(), inner), 0..6).prop_map(|members| {
                let member =
                    |(name, value)| format!("{}: {value}", serde_json::to_string(&name).unwrap());
                format!(
                    "{{{}}}",
                    members
                        .into_iter()
                        .map(member)
                        .collect::<Vec<String>>()
                        .join(", ")
                )
            }),
        ]
    });
    value.prop_map(String::into_bytes)
}

#[test]
fn a_thread_that_is_called_a_colon_is_found_in_its_keys() {
    keys(b":\0\0id\0task");
}

/// What LangGraph's MessagePack is made of.
const PACKED: &[&[u8]] = &[
    b"\x80",
    b"\x81",
    b"\x82",
    b"\x90",
    b"\x91",
    b"\x92",
    b"\x93",
    b"\x94",
    b"\xa1a",
    b"\xa2id",
    b"\xa7content",
    b"\xa2hi",
    b"\xa9AIMessage",
    b"\xa9SecretStr",
    b"\xafpydantic.types ",
    b"\xc0",
    b"\xc3",
    b"\xc4\x02\0\xff",
    b"\xc7\x03\0\x93\xa1m\xa1n",
    b"\xc7\x06\x05\x93\xa1m\xa1n",
    b"\xc7\x02\x07\x91\x01",
    b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd4\x01\xc0",
    b"\xd5\0\x91\xc0",
    b"\xdd\xff\xff\xff\xff",
    b"\xe0",
    b"\x07",
];

/// Pieces of MessagePack, inside as many lists and extensions as any.
fn packed() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        16 => proptest::sample::select(PACKED).prop_map(<[u8]>::to_vec),
        1 => any::<Vec<u8>>(),
    ];
    let pieces = proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat());
    (pieces, any::<bool>(), 0..90_usize).prop_map(|(mut bytes, extended, depth)| {
        for _ in 0..depth {
            bytes = match u8::try_from(bytes.len() + 5) {
                Ok(length) if extended => {
                    let head = [0xc7, length, 0, 0x93, 0xa1, b'm', 0xa1, b'n'];
                    [&head[..], &bytes].concat()
                }
                _ => [&[0x91][..], &bytes].concat(),
            };
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_are_the_same_in_any_pieces(input in made_of(REPLIES)) {
        replies(&input);
    }

    #[test]
    fn json_comes_back_as_it_was(input in prop_oneof![made_of(JSON), complete_json()]) {
        json(&input);
    }

    #[test]
    fn ids_are_found_again_in_their_keys(input in made_of(KEYS)) {
        keys(&input);
    }

    #[test]
    fn the_compact_layout_reads_what_it_stored_and_refuses_the_rest(
        input in prop_oneof![made_of(COMPACT), complete_json()],
    ) {
        compact(&input);
    }

    #[test]
    fn any_value_is_told_as_json_or_as_what_it_is(
        input in prop_oneof![packed(), made_of(JSON), complete_json()],
    ) {
        values(&input);
    }

    #[test]
    fn python_reads_json_as_serde_json_does(input in prop_oneof![made_of(JSON), complete_json()]) {
        python_text(&input);
    }
}
