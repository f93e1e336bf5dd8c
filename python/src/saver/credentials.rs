//! Credentials that Python code gives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use langgraph_checkpoint_redis::redis::{Credentials, CredentialsProvider};
use langgraph_checkpoint_redis::{Error, Result};
use pyo3::prelude::*;
use tokio::sync::Mutex;

/// A callable that gives a user name, if there is one, and a password.
pub(super) struct Provider {
    ask: Py<PyAny>,
    ask_again: Duration,
    /// Held while it is asked, so that one that hangs blocks one thread and not one a connection.
    turn: Arc<Mutex<()>>,
}

impl Provider {
    pub(super) fn new(ask: Py<PyAny>, ask_again: Duration) -> Self {
        Self {
            ask,
            ask_again,
            turn: Arc::default(),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Provider").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialsProvider for Provider {
    async fn credentials(&self) -> Result<Credentials> {
        let failed = |reason: String| Error::Unavailable {
            reason,
            source: None,
        };
        // An interpreter that ends gives none.
        let ask = Python::try_attach(|py| self.ask.clone_ref(py));
        let ask = ask.ok_or_else(|| failed("Python is ending".to_owned()))?;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // It may ask a service far away, so it does not stop the calls under way.
        let asked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            Python::try_attach(|py| {
                let given = ask.call0(py)?;
                given.extract::<(Option<String>, String)>(py)
            })
        });
        let (username, password) = asked
            .await
            .map_err(|error| failed(error.to_string()))?
            .ok_or_else(|| failed("Python is ending".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        let given = Credentials::new(password).asked_again_after(self.ask_again);
        Ok(match username {
            Some(username) => given.with_username(username),
            None => given,
        })
    }
}
