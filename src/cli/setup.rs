//! `setup`: creates the indexes and checks the server.

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::server_health::{problems, server_line, servers_json, warnings};
use super::text::{count, shown};
use crate::redis::StatsOptions;
use crate::saver::CheckpointSaver;

/// Create the indexes and check the server
#[derive(Args)]
pub(crate) struct Setup {}

impl Setup {
    pub(crate) async fn run(self, context: &mut Context) -> Outcome {
        context.saver.setup().await?;
        let options = StatsOptions::default().with_sample(0).with_max_counted(0);
        let stats = context.saver.stats(&options).await?;
        let health = context.saver.health().await;
        let problems = problems(&health);
        if context.output.is_json() {
            let indexes: Vec<_> = stats.indexes.iter().map(|index| &index.name).collect();
            context.output.json(&json!({
                "ready": problems.is_empty(),
                "indexes": indexes,
                "servers": servers_json(&health),
                "problems": problems,
                "warnings": warnings(&health),
            }))?;
        } else {
            if problems.is_empty() {
                context.output.line("ready")?;
            }
            for index in &stats.indexes {
                context.output.line(format!(
                    "index {}: {}",
                    shown(&index.name),
                    count(index.documents, "document")
                ))?;
            }
            for server in &health.servers {
                context.output.line(server_line(server))?;
            }
            for warning in warnings(&health) {
                context.output.line(format!("warning: {warning}"))?;
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Failure::Unavailable(format!(
            "the indexes exist, but some calls fail: {}",
            problems.join("; ")
        )))
    }
}
