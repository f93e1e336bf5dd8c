//! Faults of the network between.

use std::time::Duration;

use langgraph_checkpoint_redis::{CheckpointSaver, RedisSaver};
use redis_modules::Standalone;
use tokio::time::sleep;

use crate::load::Load;
use crate::report::{Promise, settle};
use crate::wire::{Condition, Wire};
use crate::{Fault, threads, urls};

struct Setting {
    server: Standalone,
    wire: Wire,
    saver: RedisSaver,
}

impl Setting {
    async fn new(fault: Fault) -> Self {
        let server = Standalone::start().unwrap();
        let wire = Wire::start(server.port()).await;
        let url = format!("redis://127.0.0.1:{}", wire.port());
        let saver = fault
            .builder(url)
            .command_timeout(Duration::from_secs(2))
            .build()
            .await
            .unwrap();
        saver.setup().await.unwrap();
        Self {
            server,
            wire,
            saver,
        }
    }

    async fn endure(&self, fault: Fault, condition: Condition, times: usize) {
        let load = Load::start(&self.saver, threads(8));
        for _ in 0..times {
            load.goes_on(100).await;
            self.wire.set(condition);
            sleep(Duration::from_millis(700)).await;
            self.wire.set(Condition::Working);
        }
        load.goes_on(100).await;
        let records = load.stop().await;
        let primaries = urls([&self.server]);
        settle(fault, Promise::Kept, &self.saver, records, &primaries).await;
    }
}

/// What the server has done the client cannot know.
pub async fn replies_are_dropped(fault: Fault) {
    let setting = Setting::new(fault).await;
    setting.endure(fault, Condition::NoReplies, 4).await;
}

pub async fn the_network_is_slow(fault: Fault) {
    let setting = Setting::new(fault).await;
    let slow = Condition::Slow(Duration::from_millis(150));
    setting.endure(fault, slow, 4).await;
}

pub async fn the_connection_is_cut_in_a_document(fault: Fault) {
    let setting = Setting::new(fault).await;
    setting.endure(fault, Condition::CutAfter(15_000), 6).await;
}
