//! The core's errors as Python exceptions.

use langgraph_checkpoint_redis::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

/// The Python exception of an error: the one place that says which is which.
pub(super) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::InvalidInput { .. } => "InvalidInputError",
        Error::Config { .. } => "ConfigError",
        Error::TooLarge { .. } => "TooLargeError",
        Error::Corrupt { .. } => "CorruptError",
        Error::WrongType { .. } => "WrongTypeError",
        Error::Conflict { .. } => "ConflictError",
        Error::Connection { .. } => "ServerConnectionError",
        Error::Tls { .. } => "TlsError",
        Error::Authentication { .. } => "AuthenticationError",
        Error::Permission { .. } => "MissingPermissionError",
        Error::MissingModule { .. } => "MissingModuleError",
        Error::Timeout { .. } => "CallTimeoutError",
        Error::Unavailable { .. } => "UnavailableError",
        Error::Overloaded { .. } => "OverloadedError",
        Error::NotReplicated { .. } => "NotReplicatedError",
        Error::OutOfMemory => "OutOfMemoryError",
        Error::Closed => "ClosedError",
        // `Server`, and variants that later versions of the core may add.
        _ => "ServerError",
    };
    instance(py, class, &error.report().to_string()).unwrap_or_else(|failure| failure)
}

fn instance(py: Python<'_>, class: &str, message: &str) -> PyResult<PyErr> {
    static ERRORS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let errors = ERRORS.get_or_try_init(py, || {
        PyModule::import(py, "langgraph_checkpoint_redis_rs.errors").map(Bound::unbind)
    })?;
    let class = errors.bind(py).getattr(class)?;
    Ok(PyErr::from_value(class.call1((message,))?))
}
