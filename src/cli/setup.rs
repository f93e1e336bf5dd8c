//! `setup`: makes the indexes, and says whether the server has what is needed.

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::Outcome;
use super::text::{count, shown};
use crate::redis::StatsOptions;
use crate::saver::CheckpointSaver;

/// Make the indexes unless they are there, and check that the server has what is needed
#[derive(Args)]
pub(crate) struct Setup {}

impl Setup {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        context.saver.setup().await?;
        let options = StatsOptions::default().with_sample(0).with_most_counted(0);
        let stats = context.saver.stats(&options).await?;
        if context.output.is_json() {
            let indexes: Vec<_> = stats.indexes.iter().map(|index| &index.name).collect();
            return context
                .output
                .json(&json!({"ready": true, "indexes": indexes}));
        }
        context
            .output
            .line("ready: the server has what is needed")?;
        for index in &stats.indexes {
            context.output.line(format!(
                "index {}: {}",
                shown(&index.name),
                count(index.documents, "document")
            ))?;
        }
        Ok(())
    }
}
