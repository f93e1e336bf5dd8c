//! The addresses of pages: ids are percent-encoded parameters, so that any id has one.

use form_urlencoded::Serializer;

use crate::config::CheckpointConfig;
use crate::id::ThreadId;

/// Makes the addresses of pages below a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Links<'a>(pub(super) &'a str);

impl Links<'_> {
    /// A page with parameters.
    pub(super) fn page(self, path: &str, parameters: &[(&str, &str)]) -> String {
        let query = query(parameters);
        if query.is_empty() {
            format!("{}/{path}", self.0)
        } else {
            format!("{}/{path}?{query}", self.0)
        }
    }

    /// A page about a thread.
    pub(super) fn of_thread(self, path: &str, thread: &ThreadId) -> String {
        self.page(path, &[("id", thread.as_str())])
    }

    /// A thread.
    pub(super) fn thread(self, thread: &ThreadId) -> String {
        self.of_thread("thread", thread)
    }

    /// A page about a checkpoint.
    pub(super) fn of_checkpoint(self, path: &str, config: &CheckpointConfig) -> String {
        let query = checkpoint_query(config);
        format!("{}/{path}?{query}", self.0)
    }

    /// A checkpoint.
    pub(super) fn checkpoint(self, config: &CheckpointConfig) -> String {
        self.of_checkpoint("checkpoint", config)
    }
}

/// The parameters of a page about a checkpoint.
pub(super) fn checkpoint_query(config: &CheckpointConfig) -> String {
    let namespace = config.namespace();
    let mut parameters = vec![("id", config.thread_id.as_str())];
    if !namespace.is_root() {
        parameters.push(("ns", namespace.as_str()));
    }
    if let Some(checkpoint) = &config.checkpoint_id {
        parameters.push(("checkpoint", checkpoint.as_str()));
    }
    query(&parameters)
}

fn query(parameters: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(parameters);
    query.finish()
}
