//! Values that are easily changed by a codec.

use serde_json::json;

use super::fixture::{
    assert_same, assert_same_json, empty, got, holding, list, metadata, put, step, thread,
    with_members,
};
use super::{Subject, case_table};
use crate::checkpoint::{Checkpoint, CheckpointMetadata};
use crate::codec::RawJson;

case_table! {
    Values {
        integers_of_any_size_come_back,
        floats_come_back_to_the_last_bit,
        a_thousand_floats_of_any_size_come_back_to_the_last_bit,
        strings_come_back,
        lone_surrogates_come_back,
        deep_nesting_comes_back,
        empty_things_come_back,
        what_looks_like_an_envelope_comes_back,
        metadata_comes_back_to_the_last_bit,
        what_is_not_json_is_refused,
    }
}

/// Requires that each value comes back from a channel, nested in a channel, and from a list.
async fn come_back(subject: Subject, given: &[&str]) {
    let saver = subject.saver().await;
    let thread = thread();
    let values: Vec<String> = given
        .iter()
        .enumerate()
        .flat_map(|(position, value)| {
            [
                format!(r#""c{position}":{value}"#),
                format!(r#""n{position}":{{"in":[{value},1]}}"#),
            ]
        })
        .collect();
    let checkpoint = with_members(&format!(
        r#""channel_values":{{{}}},"channel_versions":{{}}"#,
        values.join(",")
    ));
    let stored = put(&*saver, &thread, &checkpoint, &step(0)).await;
    assert_same(&checkpoint, &got(&*saver, &stored).await.checkpoint);
    assert_same(&checkpoint, &list(&*saver, &thread).await[0].checkpoint);
    // Each alone as well: one that travels apart must not take the others with it.
    for (position, value) in given.iter().enumerate() {
        let alone = with_members(&format!(r#""channel_values":{{"c":{value}}}"#));
        let stored = put(&*saver, &thread, &alone, &step(0)).await;
        let found = got(&*saver, &stored)
            .await
            .checkpoint
            .channel_values()
            .unwrap();
        let value = RawJson::parse((*value).to_owned()).unwrap();
        let found = found
            .get("c")
            .unwrap_or_else(|| panic!("value {position} is lost"));
        assert_same_json(&value, found);
    }
}

async fn integers_of_any_size_come_back(subject: Subject) {
    let given = [
        "0",
        "-0",
        "-1",
        "9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "1180591620717411303424",
        "123456789012345678901234567890123456789012345678901234567890",
    ];
    come_back(subject, &given).await;
}

async fn floats_come_back_to_the_last_bit(subject: Subject) {
    let given = [
        "0.0",
        "-0.0",
        "1.0",
        "0.1",
        "1e2",
        "1E-7",
        "1.7976931348623157e308",
        "5e-324",
        "2.2250738585072014e-308",
        "0.30000000000000004",
        "123456789.123456789",
        "1e22",
        "1e23",
        "9007199254740993.0",
        "1e400",
        "-1e400",
        "1e-400",
    ];
    come_back(subject, &given).await;
}

/// In their shortest form, which a parser that rounds twice reads as an adjacent float.
async fn a_thousand_floats_of_any_size_come_back_to_the_last_bit(subject: Subject) {
    let saver = subject.saver().await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bits = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    // Of any magnitude, and between 0 and 1 as embeddings and probabilities are.
    let any = std::iter::repeat_with(&mut bits)
        .map(f64::from_bits)
        .filter(|float| float.is_finite());
    let mut floats: Vec<f64> = any.take(500).collect();
    let fraction = |bits: u64| f64::from_bits((bits >> 12) | (1023 << 52)) - 1.0;
    floats.extend(std::iter::repeat_with(bits).map(fraction).take(500));
    let checkpoint = holding("floats", 1, &json!(floats));
    let stored = put(&*saver, &thread(), &checkpoint, &step(0)).await;
    assert_same(&checkpoint, &got(&*saver, &stored).await.checkpoint);
}

async fn strings_come_back(subject: Subject) {
    let long = format!("\"{}\"", "naïve 😀 \\u0000 ".repeat(5_000));
    let given = [
        r#""""#,
        r#""\u0000""#,
        r#""a\u0000b""#,
        r#""\\u0000""#,
        r#""\\\\u0000""#,
        r#""\ud83d\ude00""#,
        r#""😀 é é ß""#,
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u2028\u2029\u007f\u0080\uffff""#,
        r#""</script>""#,
        r#""{\"not\":\"parsed\"}""#,
        r#""NaN""#,
        r#""null""#,
        &long,
    ];
    come_back(subject, &given).await;
}

async fn lone_surrogates_come_back(subject: Subject) {
    let given = [
        r#""\ud800""#,
        r#""a\udfffb""#,
        r#""\ud800\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud83d \ude00""#,
        r#"{"\ud800":1}"#,
        r#""\ud800\\udc00""#,
    ];
    come_back(subject, &given).await;
}

async fn deep_nesting_comes_back(subject: Subject) {
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    // serde_json itself reads 127 levels into a tree; as text there is no such limit.
    let given = [
        arrays(50),
        arrays(100),
        arrays(119),
        objects(100),
        arrays(121),
        arrays(200),
        objects(200),
    ];
    let saver = subject.saver().await;
    let thread = thread();
    for value in given {
        let checkpoint = with_members(&format!(r#""channel_values":{{"deep":{value},"flat":1}}"#));
        let stored = put(&*saver, &thread, &checkpoint, &step(0)).await;
        assert_same(&checkpoint, &got(&*saver, &stored).await.checkpoint);
    }
}

async fn empty_things_come_back(subject: Subject) {
    let given = [
        "{}",
        "[]",
        "[{}]",
        "[[]]",
        "null",
        "[null]",
        r#"{"":{}}"#,
        r#"{"":null}"#,
        "false",
    ];
    come_back(subject, &given).await;
}

async fn what_looks_like_an_envelope_comes_back(subject: Subject) {
    let given = [
        r#"{"__json__":"1"}"#,
        r#"{"__json__":"not json"}"#,
        r#"{"__json__":1}"#,
        r#"{"__json__":"1","other":2}"#,
        r#"{"other":2,"__json__":"1"}"#,
        r#"{"__json__":"{\"__json__\":\"1\"}"}"#,
        r#"{"__json__":""}"#,
        r#"{ "__json__" : "1" }"#,
        r#"{"lc":1,"type":"constructor","id":["os","system"],"kwargs":{}}"#,
        r#"{"lc":2,"type":"not_implemented"}"#,
        r#"{"type":"json","blob":"e30="}"#,
        r#"{"__bytes__":"AAE="}"#,
        r#"{"__set__":true,"values":[1]}"#,
        r#"{"__delta__":[1]}"#,
    ];
    come_back(subject, &given).await;
}

async fn metadata_comes_back_to_the_last_bit(subject: Subject) {
    let saver = subject.saver().await;
    let thread = thread();
    for text in [
        "{}",
        r#"{"text":"\\u0000"}"#,
        r#"{"text":"a\u0000b","\u0000":1}"#,
        r#"{"big":1180591620717411303424,"float":1.0,"zero":-0.0,"huge":1e400}"#,
        r#"{"lone":"\ud800","quote":"\"\\","emoji":"😀","":{},"a.b":[]}"#,
        r#"{"source":null,"step":"not a number","parents":[],"run_id":null}"#,
        r#"{"source":["a"],"step":1.5,"writes":{"node":{"x":[1]}},"thread_id":"mine"}"#,
        r#"{"source":"loop","step":99999999999999999999999}"#,
        r#"{"__private":1,"checkpoint_id":"mine","checkpoint_ns":"mine"}"#,
    ] {
        let given = CheckpointMetadata::from_json(text).unwrap();
        let stored = put(&*saver, &thread, &empty(), &given).await;
        assert_same_json(
            &given.to_json(),
            &got(&*saver, &stored).await.metadata.to_json(),
        );
        let listed = list(&*saver, &stored).await;
        assert_same_json(&given.to_json(), &listed[0].metadata.to_json());
    }
    let deep = format!(r#"{{"deep":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let stored = put(&*saver, &thread, &empty(), &metadata(&deep)).await;
    let found = got(&*saver, &stored).await.metadata;
    assert_same_json(&metadata(&deep).to_json(), &found.to_json());
}

async fn what_is_not_json_is_refused(subject: Subject) {
    for text in [
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "'a'",
        "[1,]",
        "\"\u{1}\"",
        "",
    ] {
        assert!(RawJson::parse(text).is_err(), "{text}");
        let checkpoint = format!(r#"{{"id":"1","channel_values":{{"a":{text}}}}}"#);
        assert!(Checkpoint::from_json(checkpoint).is_err(), "{text}");
    }
    // A float that JSON has no form for becomes null, as serde_json has it, before it gets here.
    let saver = subject.saver().await;
    let checkpoint = holding("nan", 1, &json!(f64::NAN));
    let stored = put(&*saver, &thread(), &checkpoint, &step(0)).await;
    assert_same(&checkpoint, &got(&*saver, &stored).await.checkpoint);
}
