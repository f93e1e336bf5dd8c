//! The native module of the Python package `langgraph_checkpoint_redis_rs`.

#![forbid(unsafe_code)]

mod saver;
mod value;

use pyo3::prelude::*;

/// The native module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<saver::Bridge>()?;
    module.add_class::<saver::Listing>()?;
    module.add_class::<saver::Saver>()?;
    module.add_class::<value::Codec>()?;
    module.add(
        "UnstorableValueError",
        module.py().get_type::<value::UnstorableValueError>(),
    )?;
    Ok(())
}
