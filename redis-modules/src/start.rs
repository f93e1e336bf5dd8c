//! Starts a server of the installation that was chosen, or of one that is found.

use crate::error::Error;
use crate::installation::Installation;
use crate::standalone::{Standalone, StandaloneBuilder};

impl Standalone {
    /// Starts a server with the default settings and waits until it is ready.
    ///
    /// # Errors
    /// Those of [`StandaloneBuilder::start`].
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }
}

impl StandaloneBuilder {
    /// Starts the server and waits until it answers PING and knows the commands of its modules.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a directive that cannot be set, [`Error::Exited`] and
    /// [`Error::NotReady`] with the end of the server's log, [`Error::NoFreePort`],
    /// [`Error::Io`], and those of [`Installation::find_or_install`].
    pub fn start(self) -> Result<Standalone, Error> {
        // Before anything is downloaded for it.
        self.check()?;
        let installation = match self.chosen_installation() {
            Some(installation) => installation.clone(),
            None => Installation::find_or_install()?,
        };
        self.start_with(&installation)
    }
}
