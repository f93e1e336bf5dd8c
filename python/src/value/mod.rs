//! Python values as JSON that the Python saver reads, and back.
//!
//! A value becomes one JSON text and, where JSON cannot say it all, a second
//! one of hints (see [`hint`]). The text holds what langgraph-checkpoint-redis
//! 0.5 would store or can revive; the hints give back the exact types.

mod decode;
mod encode;
mod hint;
mod message;
mod text;

use std::collections::HashMap;
use std::sync::Mutex;

use pyo3::create_exception;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::decode::{Decoder, StringCache};
use self::encode::Types;
use self::hint::Sidecar;
use self::message::MessagePlan;

create_exception!(
    langgraph_checkpoint_redis_rs._native,
    UnstorableValueError,
    PyTypeError,
    "A value that cannot be stored; the message names the type and where it is."
);

/// `(json, hints, has_bytes, has_odd_keys)`.
type Dumped<'py> = (Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>, bool, bool);

/// Writes and reads values. Built by `RedisSerializer`, which gives it the
/// functions that know Python's types.
#[pyclass(frozen, module = "langgraph_checkpoint_redis_rs._native")]
#[derive(Debug)]
pub struct Codec {
    types: Types,
    describe: Py<PyAny>,
    name_of_key: Py<PyAny>,
    revive: Py<PyAny>,
    rebuild: Py<PyAny>,
    dropped: Py<PyAny>,
    plans: HashMap<usize, MessagePlan>,
    /// By the parts of the `lc` id, each with a newline after it.
    classes: HashMap<String, Py<PyAny>>,
    /// Keeps the types of `plans` alive, which knows only their addresses.
    _planned: Vec<Py<PyAny>>,
    strings: Mutex<StringCache>,
}

#[pymethods]
impl Codec {
    /// `dropped(marker, reason)` is called for private attributes that are left out;
    /// `plans`: (class, plan); `classes`: (`lc` id, class).
    #[new]
    #[expect(
        clippy::too_many_arguments,
        reason = "called from one place, in Python"
    )]
    fn new(
        py: Python<'_>,
        describe: Py<PyAny>,
        name_of_key: Py<PyAny>,
        revive: Py<PyAny>,
        rebuild: Py<PyAny>,
        dropped: Py<PyAny>,
        plans: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        classes: Vec<(Vec<String>, Py<PyAny>)>,
    ) -> PyResult<Self> {
        let mut by_address = HashMap::new();
        let mut planned = Vec::new();
        for (class, plan) in plans {
            by_address.insert(class.as_ptr() as usize, MessagePlan::new(&plan)?);
            planned.push(class.unbind());
        }
        let classes = classes
            .into_iter()
            .map(|(id, class)| (id.join("\n") + "\n", class))
            .collect();
        Ok(Self {
            types: Types::new(py),
            describe,
            name_of_key,
            revive,
            rebuild,
            dropped,
            plans: by_address,
            classes,
            _planned: planned,
            strings: Mutex::default(),
        })
    }

    /// Itself: a codec never changes.
    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    /// `(json, hints, has_bytes, has_odd_keys)` of a value.
    #[pyo3(signature = (value, label=None, force_hints=false))]
    fn dumps<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        label: Option<&str>,
        force_hints: bool,
    ) -> PyResult<Dumped<'py>> {
        let py = value.py();
        let output = encode::encode(self, value, label)?;
        let hints = hint::write(&output.root, &output.parts, force_hints);
        Ok((
            PyBytes::new(py, &output.json),
            hints.map(|hints| PyBytes::new(py, &hints)),
            output.has_bytes,
            output.has_odd_keys,
        ))
    }

    /// The value of a JSON text and its hints.
    ///
    /// Without `bytes_markers` a `__bytes__` dict stays a dict.
    #[pyo3(signature = (json, hints=None, bytes_markers=true))]
    fn loads<'py>(
        &self,
        json: &Bound<'py, PyAny>,
        hints: Option<&Bound<'py, PyAny>>,
        bytes_markers: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let sidecar = match hints {
            Some(hints) => with_text(hints, Sidecar::parse)?,
            None => Sidecar::default(),
        };
        with_text(json, |text| {
            self.decode(json.py(), text, &sidecar, bytes_markers)
        })
    }

    /// One JSON object that holds a JSON text and its hints.
    #[staticmethod]
    fn join<'py>(py: Python<'py>, json: &[u8], hints: &[u8]) -> Bound<'py, PyBytes> {
        let parts: [&[u8]; 5] = [b"{\"value\":", json, b",\"types\":", hints, b"}"];
        PyBytes::new(py, &parts.concat())
    }

    /// The value of what [`Codec::join`] gave.
    fn loads_joined<'py>(&self, joined: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        #[derive(Deserialize)]
        struct Joined<'a> {
            #[serde(borrow)]
            value: &'a RawValue,
            #[serde(borrow)]
            types: &'a RawValue,
        }
        with_text(joined, |text| {
            let pair: Joined<'_> = serde_json::from_slice(text)
                .map_err(|error| PyValueError::new_err(format!("invalid typed JSON: {error}")))?;
            let sidecar = Sidecar::parse(pair.types.get().as_bytes())?;
            self.decode(joined.py(), pair.value.get().as_bytes(), &sidecar, true)
        })
    }
}

impl Codec {
    fn decode<'py>(
        &self,
        py: Python<'py>,
        text: &[u8],
        sidecar: &Sidecar,
        bytes_markers: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        // A class that is revived may come back here, so no lock is held
        // while decoding: the cache is taken out, and put back afterwards.
        let taken = self
            .strings
            .try_lock()
            .map(|mut cache| std::mem::take(&mut *cache));
        let mut strings = taken.unwrap_or_default();
        let value = Decoder::new(py, self, &mut strings, bytes_markers).decode(text, sidecar);
        if let Ok(mut cache) = self.strings.try_lock() {
            *cache = strings;
        }
        value
    }
}

/// Calls `read` with the bytes of a str, bytes, or anything else that
/// Python's `bytes` takes.
fn with_text<T>(text: &Bound<'_, PyAny>, read: impl FnOnce(&[u8]) -> PyResult<T>) -> PyResult<T> {
    if let Ok(bytes) = text.cast::<PyBytes>() {
        return read(bytes.as_bytes());
    }
    if let Ok(string) = text.cast::<PyString>() {
        return read(string.to_str()?.as_bytes());
    }
    let bytes = text.py().get_type::<PyBytes>().call1((text,))?;
    read(bytes.cast::<PyBytes>()?.as_bytes())
}
