//! What it costs to write and to read values and documents, without a server.
//!
//! ```sh
//! cargo bench --bench codec --features bench [-- TEXT]
//! ```
//!
//! A text as argument picks what has it in its name. All sizes are those of the checkpoint as JSON.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, missing_docs)]

#[path = "support/documents.rs"]
mod documents;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use langgraph_checkpoint_redis::bench::{Documents, is_kept, unwrap, wrap};
use langgraph_checkpoint_redis::{
    Checkpoint, CheckpointConfig, CheckpointId, PendingWrite, RawJson, RawObject, TaskId,
    TypedValue,
};
use serde_json::{Value, json};
use std::hint::black_box;

const SIZES: [usize; 3] = [1_000, 20_000, 500_000];
const ID: &str = "1f1e5438-3693-6fd2-bfff-c562fd0be1e3";

/// Rows of a table: numbers, floats, short text.
fn rows(bytes: usize, text: &str) -> Value {
    let row = |n: usize| {
        let score = n as f64 / 64.0;
        json!({"id": n, "title": text, "score": score, "tags": ["red", "green"], "ok": true})
    };
    let each = row(100).to_string().len() + 1;
    (0..bytes.div_ceil(each)).map(row).collect()
}

fn size(bytes: usize) -> String {
    format!("{} KB", bytes / 1_000)
}

/// Values as text.
fn values(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for bytes in SIZES {
        let ascii = rows(bytes, "alpha beta gamma");
        let text = RawJson::encode(&ascii).unwrap();
        group.throughput(Throughput::Bytes(text.bytes().len() as u64));
        let id = |name: &str| BenchmarkId::new(name.to_owned(), size(bytes));
        group.bench_function(id("encode"), |bencher| {
            bencher.iter(|| RawJson::encode(black_box(&ascii)).unwrap());
        });
        group.bench_function(id("check"), |bencher| {
            let text = text.bytes();
            bencher.iter(|| RawJson::parse(black_box(text).clone()).unwrap());
        });
        group.bench_function(id("decode"), |bencher| {
            bencher.iter(|| black_box(&text).decode::<Value>().unwrap());
        });
        let object = RawJson::encode(&json!({"rows": ascii, "step": 1})).unwrap();
        group.bench_function(id("members of an object"), |bencher| {
            bencher.iter(|| RawObject::parse(black_box(object.bytes()).clone()).unwrap());
        });
        group.bench_function(id("look for what RedisJSON changes"), |bencher| {
            assert!(is_kept(&text));
            bencher.iter(|| is_kept(black_box(&text)));
        });
        // A lone surrogate keeps all of the value in an envelope.
        let odd = text.as_str().replacen("alpha", r"\ud800", 1);
        let odd = RawJson::parse(odd).unwrap();
        let envelope = wrap(&odd);
        assert!(unwrap(&envelope) == odd && envelope != odd);
        group.bench_function(id("into an envelope"), |bencher| {
            bencher.iter(|| wrap(black_box(&odd)));
        });
        group.bench_function(id("out of an envelope"), |bencher| {
            bencher.iter(|| unwrap(black_box(&envelope)));
        });
    }
}

/// The documents of checkpoints and of writes.
fn stored(criterion: &mut Criterion) {
    let config = CheckpointConfig::new("thread").unwrap();
    let config = config.with_checkpoint(CheckpointId::new(ID).unwrap());
    let documents = Documents::of(&config).unwrap();
    let metadata = documents::metadata();
    let mut group = criterion.benchmark_group("document");
    for bytes in SIZES {
        let id = |name: &str| BenchmarkId::new(name.to_owned(), size(bytes));
        let table = Checkpoint::builder().id(CheckpointId::new(ID).unwrap());
        let table = table.channel("rows", 1, &rows(bytes, "alpha")).unwrap();
        for (kind, checkpoint) in [
            ("conversation", documents::checkpoint(bytes, ID)),
            ("table", table.build().unwrap()),
        ] {
            let document = documents.write_checkpoint(&checkpoint, &metadata);
            group.throughput(Throughput::Bytes(document.len() as u64));
            group.bench_function(id(&format!("write a {kind}")), |bencher| {
                bencher.iter(|| documents.write_checkpoint(black_box(&checkpoint), &metadata));
            });
            group.bench_function(id(&format!("read a {kind}")), |bencher| {
                let read = documents.read_checkpoint(&document).unwrap().unwrap();
                assert!(read.checkpoint == checkpoint);
                bencher.iter(|| documents.read_checkpoint(black_box(&document)).unwrap());
            });
        }
        let write = PendingWrite {
            task_id: TaskId::new("task").unwrap(),
            task_path: String::new(),
            idx: 0,
            channel: "messages".to_owned(),
            value: TypedValue::new("bytes", Bytes::from(vec![0xa5; bytes])),
        };
        let document = documents.write_write(&write).unwrap();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(id("write a pending write"), |bencher| {
            bencher.iter(|| documents.write_write(black_box(&write)).unwrap());
        });
        group.bench_function(id("read a pending write"), |bencher| {
            let read = documents.read_write(&document).unwrap().unwrap();
            assert!(read.value.blob == write.value.blob);
            bencher.iter(|| documents.read_write(black_box(&document)).unwrap());
        });
    }
}

criterion_group!(benches, values, stored);
criterion_main!(benches);
