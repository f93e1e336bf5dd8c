//! How `LangChain`'s own classes are written, worked out once per class.

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::text::write_str;

/// What a field is left out for.
#[derive(Debug)]
enum Default {
    /// Nothing: it is required.
    Required,
    /// An empty dict.
    Dict,
    /// An empty list.
    List,
    /// A false value equal to this one.
    Value(Py<PyAny>),
}

/// One field of a class.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub name: Py<PyString>,
    /// Its name, for hints and errors.
    pub text: String,
    /// Its name as JSON, with the colon.
    pub json: Vec<u8>,
    /// Whether it is never written.
    pub excluded: bool,
    default: Default,
}

impl Field {
    /// What `LangChain`'s `_is_field_useful` says of a value.
    pub(super) fn is_useful(&self, value: &Bound<'_, PyAny>) -> bool {
        if matches!(self.default, Default::Required) || value.is_truthy().unwrap_or(false) {
            return true;
        }
        match &self.default {
            Default::Dict if value.is_instance_of::<PyDict>() => false,
            Default::List if value.is_instance_of::<PyList>() => false,
            Default::Value(default) => {
                let default = default.bind(value.py());
                !default.is(value) && default.ne(value).unwrap_or(true)
            }
            // A factory whose product is not of its type counts as None.
            _ => !value.is_none(),
        }
    }
}

/// How the instances of one class are written.
#[derive(Debug)]
pub(super) struct MessagePlan {
    /// `{"lc":1,...,"kwargs":`.
    pub prefix: Vec<u8>,
    /// The fields, in the order in which instances have them.
    pub fields: Vec<Field>,
    /// The fields that are written even if not useful.
    pub attributes: Vec<usize>,
}

impl MessagePlan {
    /// Reads `(prefix, [(name, kind, default, excluded), ...], attributes)`.
    pub(super) fn new(plan: &Bound<'_, PyAny>) -> PyResult<Self> {
        type Plan<'py> = (String, Vec<Bound<'py, PyTuple>>, Vec<String>);
        let (prefix, items, attributes): Plan<'_> = plan.extract()?;
        let mut fields = Vec::with_capacity(items.len());
        for item in items {
            let (name, kind, default, excluded): (Bound<'_, PyString>, String, Py<PyAny>, bool) =
                item.extract()?;
            let text = name.to_str()?.to_owned();
            let mut json = Vec::new();
            write_str(&mut json, &text);
            json.push(b':');
            let default = match kind.as_str() {
                "required" => Default::Required,
                "dict" => Default::Dict,
                "list" => Default::List,
                _ => Default::Value(default),
            };
            let interned = PyString::intern(item.py(), &text).unbind();
            fields.push(Field {
                name: interned,
                text,
                json,
                excluded,
                default,
            });
        }
        let attributes = attributes
            .iter()
            .filter_map(|name| fields.iter().position(|field| field.text == *name))
            .collect();
        if fields.len() > 64 {
            // The encoder marks the fields written in a bit set of 64.
            return Err(PyValueError::new_err("a class with more than 64 fields"));
        }
        Ok(Self {
            prefix: prefix.into_bytes(),
            fields,
            attributes,
        })
    }

    /// The field of this name, most likely the one at index `guess`.
    pub(super) fn find(&self, guess: usize, name: &Bound<'_, PyAny>) -> Option<(usize, &Field)> {
        if let Some(field) = self.fields.get(guess)
            && field.name.is(name)
        {
            return Some((guess, field));
        }
        let name = name.cast::<PyString>().ok()?.to_str().ok()?;
        self.fields
            .iter()
            .enumerate()
            .find(|(_, field)| field.text == name)
    }
}

/// Whether kwargs hold tool calls in `LangChain`'s old form only. A constructor
/// would parse those again and so change a message that was stored without.
pub(super) fn has_raw_tool_calls(kwargs: &Bound<'_, PyDict>) -> PyResult<bool> {
    let py = kwargs.py();
    let additional = kwargs.get_item(intern!(py, "additional_kwargs"))?;
    let Some(Ok(additional)) = additional.as_ref().map(|value| value.cast::<PyDict>()) else {
        return Ok(false);
    };
    if !additional.contains(intern!(py, "tool_calls"))? {
        return Ok(false);
    }
    for name in [intern!(py, "tool_calls"), intern!(py, "invalid_tool_calls")] {
        if let Some(calls) = kwargs.get_item(name)?
            && calls.is_truthy()?
        {
            return Ok(false);
        }
    }
    Ok(true)
}
