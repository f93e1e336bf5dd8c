//! The parameters of a page's address or of a form.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::failure::Failure;
use super::gate::Viewer;
use crate::config::CheckpointConfig;
use crate::error::Result as SaverResult;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};

/// Parameters by name; the first of a name counts.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// A parameter; `""` if it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value)
    }

    /// A parameter that is a number from 1.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.get(name).parse().ok().filter(|number| *number > 0)
    }

    /// The thread of the parameter `id`, if it is one that is shown.
    pub(super) fn thread(&self, viewer: &Viewer) -> Result<ThreadId, Failure> {
        let thread = ThreadId::new(self.get("id")).map_err(|_| Failure::no_such_thread())?;
        if viewer.reaches(&thread) {
            Ok(thread)
        } else {
            Err(Failure::no_such_thread())
        }
    }

    /// The checkpoint of the parameters `id`, `ns` and, under this name, of its own; the newest if
    /// that is not there.
    pub(super) fn checkpoint(
        &self,
        viewer: &Viewer,
        name: &str,
    ) -> Result<CheckpointConfig, Failure> {
        let thread = self.thread(viewer)?;
        let mut config = CheckpointConfig::of_thread(thread);
        let parsed = || -> SaverResult<_> {
            let namespace = CheckpointNamespace::new(self.get("ns"))?;
            let id = self.get(name);
            let id = (!id.is_empty()).then(|| CheckpointId::new(id));
            Ok((namespace, id.transpose()?))
        };
        let (namespace, id) = parsed().map_err(|_| Failure::no_such_checkpoint())?;
        config.checkpoint_ns = Some(namespace);
        config.checkpoint_id = id;
        Ok(config)
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self::parse(query.as_bytes()))
    }
}
