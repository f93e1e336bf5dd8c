//! What the saver promises while things break: each fault is brought about for real, under load,
//! and then everything is read back.
//!
//! `cargo test --release --test faults` prints a table at the end: how many checkpoints were
//! tried and acknowledged, which errors callers saw, what of the acknowledged is lost, what is
//! torn, which keys have no TTL, and how long the slowest call took, all attempts
//! counted. The saver is never replaced, and each test ends with calls that it has answered.
//! What does not hang on the layout of what is stored is tried on one, all else on both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod child;
mod cluster;
mod damages;
mod load;
mod network;
mod report;
mod sentinel;
mod slots;
mod standalone;
mod storage;
mod wire;

use std::fmt;
use std::time::Duration;

use langgraph_checkpoint_redis::redis::{Layout, RedisSaverBuilder};
use langgraph_checkpoint_redis::{RedisSaver, TtlPolicy};
use support::server::connect;

fn main() {
    use libtest_mimic::{Arguments, Trial};

    if child::is_one() {
        child::work();
        return;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(3);
    let mut trials: Vec<Trial> = Vec::new();
    macro_rules! faults {
        ($layouts:expr; $($group:ident: $($fault:ident)*;)*) => {
            for layout in $layouts {
                $($({
                    let fault = Fault { name: stringify!($fault), layout };
                    trials.push(Trial::test(
                        format!("{}::{}", stringify!($group), fault.of_test()),
                        move || {
                            run($group::$fault(fault));
                            Ok(())
                        },
                    ));
                })*)*
            }
        };
    }
    faults! {
        [Layout::Json, Layout::Compact];
        cluster:
            the_primary_of_a_cluster_is_killed
            a_slot_moves_back_and_forth
            a_slot_with_many_writes_moves
            a_slot_is_half_moved
            a_planned_failover_in_a_cluster;
        sentinel:
            the_primary_behind_sentinels_is_killed;
        standalone:
            the_server_is_killed_and_restarted
            the_server_is_paused
            scripts_are_flushed
            a_listing_loses_its_server
            memory_runs_out
            calls_are_dropped_midway
            the_client_is_killed;
        storage:
            keys_are_evicted
            keys_expire_within_milliseconds
            a_thread_is_deleted_while_others_write
            keys_are_damaged;
        network:
            replies_are_dropped
            the_network_is_slow
            the_connection_is_cut_in_a_document;
    }
    faults! {
        [Layout::Json];
        slots:
            writes_move_ahead_of_their_registry
            threads_are_deleted_while_their_writes_move
            a_slot_with_many_writes_moves_under_readers;
        sentinel:
            a_planned_failover
            a_planned_failover_without_waiting_for_replicas
            sentinels_die_before_a_failover
            too_few_replicas_acknowledge
            writes_that_are_there_wait_for_replicas_too
            a_replica_is_connected_to;
        standalone:
            the_server_loads_its_data
            the_index_is_dropped
            the_password_changes_for_a_while
            ten_thousand_calls_at_once;
        storage:
            streams_are_abandoned;
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    report::print();
    conclusion.exit();
}

fn run(fault: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(fault);
    runtime.shutdown_background();
}

/// Threads for writers.
fn threads(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("thread-{n}")).collect()
}

/// A server's URL.
fn urls<'a>(servers: impl IntoIterator<Item = &'a redis_modules::Standalone>) -> Vec<String> {
    servers
        .into_iter()
        .map(redis_modules::Standalone::url)
        .collect()
}

/// Runs commands on a server, from outside.
async fn command(url: &str, command: &[&str]) -> redis::RedisResult<redis::Value> {
    let mut client = connect(url).await?;
    let mut packed = redis::cmd(command[0]);
    packed.arg(&command[1..]);
    packed.query_async(&mut client).await
}

/// What every saver here is made with.
fn builder(url: impl Into<String>) -> RedisSaverBuilder {
    let ttl = TtlPolicy::new(Duration::from_secs(3_600));
    RedisSaver::builder().url(url).ttl(ttl)
}

/// A fault, and the layout of what is stored while it happens.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    name: &'static str,
    layout: Layout,
}

impl Fault {
    fn is_of(self, layout: Layout) -> bool {
        self.layout == layout
    }

    /// A builder of savers.
    fn builder(self, url: impl Into<String>) -> RedisSaverBuilder {
        builder(url).layout(self.layout)
    }

    /// The layout as the setting spells it.
    fn layout(self) -> &'static str {
        if self.is_of(Layout::Json) {
            "json"
        } else {
            "compact"
        }
    }

    fn of_test(self) -> String {
        if self.is_of(Layout::Json) {
            self.name.to_owned()
        } else {
            format!("{}::{}", self.name, self.layout())
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in the layout {}", self.name, self.layout())
    }
}
