//! `openapi`: the OpenAPI document of the HTTP service.

use std::io::Write;

use clap::Args;

use super::failure::{Failure, Outcome};
use crate::server::openapi;

/// Print the OpenAPI document of the HTTP service, from which clients can be generated
///
/// The service has the same document at /openapi.json.
#[derive(Args)]
pub(crate) struct OpenApi;

impl OpenApi {
    pub(crate) fn run() -> Outcome {
        let document = openapi()?;
        writeln!(std::io::stdout(), "{document}").map_err(|error| Failure::output(&error))
    }
}
