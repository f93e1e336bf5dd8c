//! `inspect --demo`: a throwaway Redis with threads that LangGraph programs left.

mod server;
mod threads;

use server::Server;

use super::failure::Outcome;
use crate::RedisSaver;
use crate::redis::Layout;
use crate::saver::CheckpointSaver;

/// A throwaway Redis and its saver. The server ends, and everything is gone, when this is dropped
/// or the process ends in any way.
pub(crate) struct Demo {
    pub(crate) saver: RedisSaver,
    _server: Server,
}

impl Demo {
    /// Starts the server and stores the threads, whose times are shifted to now.
    pub(crate) async fn start() -> Outcome<Self> {
        let server = Server::start().await?;
        // The layout that any Redis has, with or without modules.
        let saver = RedisSaver::builder()
            .url(server.url())
            .layout(Layout::Compact)
            .build()
            .await?;
        saver.setup().await?;
        threads::store(&saver).await?;
        Ok(Self {
            saver,
            _server: server,
        })
    }
}
