//! From JSON text and hints to a Python object.
//!
//! The text is read once, into Python objects directly. The reader keeps its
//! own stack, so that no nesting can exhaust the thread's.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyNone, PyString, PyTuple,
};
use serde_json::Value;

use super::Codec;
use super::encode::is_marker_key;
use super::hint::{self, Sidecar, View};
use super::message::has_raw_tool_calls;
use super::text::{Malformed, Number, Reader, Text};

/// Strings that recur, above all the keys of dicts.
#[derive(Debug, Default)]
pub(super) struct StringCache {
    slots: Vec<Option<(Box<str>, Py<PyString>)>>,
}

impl StringCache {
    const SLOTS: usize = 1024;
    const LONGEST: usize = 48;

    /// The Python string of `text`.
    #[inline]
    pub(super) fn get<'py>(&mut self, py: Python<'py>, text: &str) -> Bound<'py, PyString> {
        if text.len() > Self::LONGEST {
            return PyString::new(py, text);
        }
        if self.slots.is_empty() {
            self.slots.resize_with(Self::SLOTS, || None);
        }
        // FNV-1a: the strings are short.
        let hash = text.bytes().fold(0x811c_9dc5_usize, |hash, byte| {
            (hash ^ usize::from(byte)).wrapping_mul(0x0100_0193)
        });
        let slot = &mut self.slots[(hash ^ (hash >> 15)) % Self::SLOTS];
        if let Some((known, string)) = slot
            && **known == *text
        {
            return string.bind(py).clone();
        }
        let string = PyString::new(py, text);
        *slot = Some((text.into(), string.clone().unbind()));
        string
    }
}

/// What is being read when a value ends.
enum Open<'py> {
    /// A list; its elements are the values from this index on.
    List(usize),
    /// A dict, the key whose value comes next, and whether it may be a marker.
    Dict(Bound<'py, PyDict>, Bound<'py, PyString>, bool),
}

struct Frame<'py, 'h> {
    open: Open<'py>,
    hints: View<'h>,
}

/// Decodes a value.
pub(super) struct Decoder<'a, 'py> {
    /// What revives classes.
    pub codec: &'a Codec,
    /// The interpreter.
    pub py: Python<'py>,
    /// Strings that recur.
    pub strings: &'a mut StringCache,
    /// Whether `__bytes__` dicts are bytes.
    pub bytes_markers: bool,
    parts: Vec<Option<Bound<'py, PyAny>>>,
}

type Object<'py> = Bound<'py, PyAny>;

impl<'a, 'py> Decoder<'a, 'py> {
    /// A decoder that has read nothing yet.
    pub(super) fn new(
        py: Python<'py>,
        codec: &'a Codec,
        strings: &'a mut StringCache,
        bytes_markers: bool,
    ) -> Self {
        Self {
            codec,
            py,
            strings,
            bytes_markers,
            parts: Vec::new(),
        }
    }

    /// Reads the value of `text`.
    pub(super) fn decode(&mut self, text: &[u8], sidecar: &Sidecar) -> PyResult<Object<'py>> {
        self.parts.resize_with(sidecar.parts.len(), || None);
        // A part may refer to later ones only.
        for (at, (text, node)) in sidecar.parts.iter().enumerate().rev() {
            let value = self.document(text.as_bytes(), sidecar, node)?;
            self.parts[at] = Some(value);
        }
        self.document(text, sidecar, &sidecar.root)
    }

    fn document(&mut self, text: &[u8], sidecar: &Sidecar, node: &Value) -> PyResult<Object<'py>> {
        let mut reader = Reader::new(text)?;
        let mut frames: Vec<Frame<'py, '_>> = Vec::new();
        let mut values: Vec<Object<'py>> = Vec::new();
        let mut node = (!node.is_null()).then_some(node);
        loop {
            let mut value = match reader.peek() {
                b'[' => {
                    reader.bump();
                    let hints = sidecar.view(node);
                    node = hints.children.at(0);
                    let frame = Frame {
                        open: Open::List(values.len()),
                        hints,
                    };
                    if reader.peek() != b']' {
                        frames.push(frame);
                        continue;
                    }
                    reader.bump();
                    self.close(frame, &mut values)?
                }
                b'{' => {
                    reader.bump();
                    let hints = sidecar.view(node);
                    let dict = PyDict::new(self.py);
                    if reader.peek() != b'}' {
                        let mut marker = false;
                        let (key, child) = self.key(&mut reader, &hints, &mut marker)?;
                        node = child;
                        frames.push(Frame {
                            open: Open::Dict(dict, key, marker),
                            hints,
                        });
                        continue;
                    }
                    reader.bump();
                    self.apply(dict.into_any(), &hints)?
                }
                byte => {
                    let value = self.scalar(&mut reader, byte)?;
                    match node {
                        Some(_) => self.apply(value, &sidecar.view(node))?,
                        None => value,
                    }
                }
            };
            // Hand the value to what it is part of, as long as that ends with it.
            loop {
                let Some(frame) = frames.last_mut() else {
                    if !reader.is_at_end() {
                        return Err(reader.error("trailing characters").into());
                    }
                    return Ok(value);
                };
                match &mut frame.open {
                    Open::List(start) => {
                        values.push(value);
                        if reader.peek() == b',' {
                            reader.bump();
                            node = frame.hints.children.at(values.len() - *start);
                            break;
                        }
                        reader.expect(b']')?;
                    }
                    Open::Dict(dict, key, marker) => {
                        dict.set_item(&*key, value)?;
                        if reader.peek() == b',' {
                            reader.bump();
                            (*key, node) = self.key(&mut reader, &frame.hints, marker)?;
                            break;
                        }
                        reader.expect(b'}')?;
                    }
                }
                let Some(frame) = frames.pop() else {
                    return Err(reader.error("unreachable").into());
                };
                value = self.close(frame, &mut values)?;
            }
        }
    }

    fn key<'h>(
        &mut self,
        reader: &mut Reader<'_>,
        hints: &View<'h>,
        marker: &mut bool,
    ) -> PyResult<(Bound<'py, PyString>, Option<&'h Value>)> {
        reader.peek();
        let found = match reader.string()? {
            Text::Str(text) => {
                *marker |= is_marker_key(text.as_bytes());
                (self.strings.get(self.py, &text), hints.children.get(&text))
            }
            Text::Surrogates(bytes) => (self.surrogates(&bytes)?, None),
        };
        reader.expect(b':')?;
        Ok(found)
    }

    fn scalar(&mut self, reader: &mut Reader<'_>, byte: u8) -> PyResult<Object<'py>> {
        let py = self.py;
        let float = |value: f64| Ok(PyFloat::new(py, value).into_any());
        match byte {
            b'"' => Ok(match reader.string()? {
                Text::Str(Cow::Borrowed(text)) if text.len() <= 16 => self.strings.get(py, text),
                Text::Str(text) => PyString::new(py, &text),
                Text::Surrogates(bytes) => self.surrogates(&bytes)?,
            }
            .into_any()),
            b'n' if reader.keyword("null") => Ok(PyNone::get(py).to_owned().into_any()),
            b't' if reader.keyword("true") => Ok(PyBool::new(py, true).to_owned().into_any()),
            b'f' if reader.keyword("false") => Ok(PyBool::new(py, false).to_owned().into_any()),
            // Python's own json module writes these.
            b'N' if reader.keyword("NaN") => float(f64::NAN),
            b'I' if reader.keyword("Infinity") => float(f64::INFINITY),
            b'-' if reader.keyword("-Infinity") => float(f64::NEG_INFINITY),
            _ => match reader.number()? {
                Number::Signed(value) => Ok(value.into_pyobject(py)?.into_any()),
                Number::Float(value) => float(value),
                Number::Digits(digits) => int_of(py, digits, 10),
            },
        }
    }

    fn surrogates(&self, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
        let bytes = PyBytes::new(self.py, bytes);
        PyString::from_encoded_object(&bytes, Some(c"utf-8"), Some(c"surrogatepass"))
    }

    fn close(
        &mut self,
        frame: Frame<'py, '_>,
        values: &mut Vec<Object<'py>>,
    ) -> PyResult<Object<'py>> {
        let hints = &frame.hints;
        match frame.open {
            Open::List(start) => {
                let items = values.drain(start..);
                if let [Value::String(code)] = hints.ops.as_slice()
                    && code == "t"
                {
                    return Ok(PyTuple::new(self.py, items)?.into_any());
                }
                let list = PyList::new(self.py, items)?.into_any();
                self.apply(list, hints)
            }
            Open::Dict(dict, _, marker) => {
                let literal = hints
                    .ops
                    .first()
                    .is_some_and(|op| matches!(hint::code(op), "d" | "i" | "k"));
                let value = if marker && !literal {
                    self.revive(dict)?
                } else {
                    dict.into_any()
                };
                self.apply(value, hints)
            }
        }
    }

    /// What a dict with a marker's key stands for; the dict itself if for nothing.
    fn revive(&self, dict: Bound<'py, PyDict>) -> PyResult<Object<'py>> {
        let py = self.py;
        if let Some(text) = dict.get_item(intern!(py, "__bytes__"))? {
            if self.bytes_markers
                && dict.len() == 1
                && let Ok(text) = text.cast::<PyString>()
                && let Ok(bytes) = STANDARD.decode(text.to_str()?)
            {
                return Ok(PyBytes::new(py, &bytes).into_any());
            }
            return Ok(dict.into_any());
        }
        if let Some(class) = self.known_class(&dict)?
            && let Some(kwargs) = dict.get_item(intern!(py, "kwargs"))?
            && let Ok(kwargs) = kwargs.cast::<PyDict>()
            && !has_raw_tool_calls(kwargs)?
            && let Ok(value) = class.call((), Some(kwargs))
        {
            return Ok(value);
        }
        self.codec.revive.bind(py).call1((dict,))
    }

    /// The class of an `lc` 1 constructor, if it is known.
    fn known_class(&self, dict: &Bound<'py, PyDict>) -> PyResult<Option<&Object<'py>>> {
        let py = self.py;
        let Some(lc) = dict.get_item(intern!(py, "lc"))? else {
            return Ok(None);
        };
        let (kind, id) = (
            dict.get_item(intern!(py, "type"))?,
            dict.get_item(intern!(py, "id"))?,
        );
        let (Some(kind), Some(id)) = (kind, id) else {
            return Ok(None);
        };
        let (Ok(kind), Ok(id)) = (kind.cast::<PyString>(), id.cast::<PyList>()) else {
            return Ok(None);
        };
        if lc.extract::<i64>().ok() != Some(1) || kind.to_str()? != "constructor" {
            return Ok(None);
        }
        let mut path = String::with_capacity(64);
        for step in id.iter() {
            let Ok(step) = step.cast::<PyString>() else {
                return Ok(None);
            };
            path.push_str(step.to_str()?);
            path.push('\n');
        }
        Ok(self.codec.classes.get(&path).map(|class| class.bind(py)))
    }

    /// Performs the operations of a node; those that do not fit are passed over.
    fn apply(&mut self, value: Object<'py>, hints: &View<'_>) -> PyResult<Object<'py>> {
        let mut value = value;
        for op in &hints.ops {
            value = self.perform(value, op)?;
        }
        Ok(value)
    }

    fn perform(&mut self, value: Object<'py>, op: &Value) -> PyResult<Object<'py>> {
        let py = self.py;
        let float = |number: f64| Ok(PyFloat::new(py, number).into_any());
        match hint::code(op) {
            "t" => match value.cast::<PyList>() {
                Ok(list) => Ok(list.to_tuple().into_any()),
                Err(_) => Ok(value),
            },
            "nan" if value.is_none() => float(f64::NAN),
            "inf" if value.is_none() => float(f64::INFINITY),
            "-inf" if value.is_none() => float(f64::NEG_INFINITY),
            "I" => match value.cast::<PyString>() {
                Ok(digits) => {
                    let digits = digits.to_str()?;
                    int_of(py, digits, if digits.contains('x') { 16 } else { 10 }).or(Ok(value))
                }
                Err(_) => Ok(value),
            },
            "w" => {
                let exact = hint::arg(op, 0).and_then(Value::as_str);
                match exact.map(|exact| STANDARD.decode(exact)) {
                    Some(Ok(bytes)) if value.is_instance_of::<PyString>() => {
                        self.surrogates(&bytes).map(Bound::into_any).or(Ok(value))
                    }
                    _ => Ok(value),
                }
            }
            "B" => match value.cast::<PyBytes>() {
                Ok(bytes) => Ok(PyByteArray::new(py, bytes.as_bytes()).into_any()),
                Err(_) => Ok(value),
            },
            "p" if value.is_none() => Ok(self.part(hint::arg(op, 0)).unwrap_or(value)),
            "i" | "k" => match value.cast::<PyDict>() {
                Ok(dict) => self.replace_keys(dict, op),
                Err(_) => Ok(value),
            },
            "d" | "nan" | "inf" | "-inf" | "p" => Ok(value),
            _ => self.rebuild(value, op),
        }
    }

    /// Part n, which can be had once.
    fn part(&mut self, index: Option<&Value>) -> Option<Object<'py>> {
        let index = usize::try_from(index?.as_u64()?).ok()?;
        self.parts.get_mut(index)?.take()
    }

    fn replace_keys(&mut self, dict: &Bound<'py, PyDict>, op: &Value) -> PyResult<Object<'py>> {
        let py = self.py;
        let result = PyDict::new(py);
        let items: Vec<_> = dict.iter().collect();
        for (name, item) in items {
            let text = name.extract::<String>()?;
            let key = match hint::arg(op, 0) {
                None => int_of(py, &text, 10).ok(),
                Some(keys) => match keys.get(&text) {
                    Some(Value::Null) => Some(PyNone::get(py).to_owned().into_any()),
                    Some(Value::Bool(value)) => Some(PyBool::new(py, *value).to_owned().into_any()),
                    Some(Value::Number(number)) => Some(if let Some(int) = number.as_i64() {
                        int.into_pyobject(py)?.into_any()
                    } else if let Some(int) = number.as_u64() {
                        int.into_pyobject(py)?.into_any()
                    } else {
                        PyFloat::new(py, number.as_f64().unwrap_or(f64::NAN)).into_any()
                    }),
                    Some(Value::Array(part)) => self.part(part.first()),
                    _ => None,
                },
            };
            let key = key
                .filter(|key| key.hash().is_ok())
                .unwrap_or(name.into_any());
            result.set_item(key, item)?;
        }
        Ok(result.into_any())
    }

    /// An operation that names a type: the Python side decides.
    fn rebuild(&mut self, value: Object<'py>, op: &Value) -> PyResult<Object<'py>> {
        let mut args = Vec::new();
        if let Value::Array(items) = op {
            for item in items.iter().skip(2) {
                args.push(match item {
                    Value::String(text) => PyString::new(self.py, text).into_any(),
                    Value::Number(_) => match self.part(Some(item)) {
                        Some(part) => part,
                        None => PyNone::get(self.py).to_owned().into_any(),
                    },
                    _ => PyNone::get(self.py).to_owned().into_any(),
                });
            }
        }
        let args = PyTuple::new(self.py, args)?;
        self.codec
            .rebuild
            .bind(self.py)
            .call1((value, hint::code(op), args))
    }
}

impl From<Malformed> for PyErr {
    fn from(Malformed(reason): Malformed) -> Self {
        PyValueError::new_err(reason)
    }
}

/// A Python int of any size.
fn int_of<'py>(py: Python<'py>, digits: &str, base: u32) -> PyResult<Object<'py>> {
    if base == 10
        && let Ok(value) = digits.parse::<i64>()
    {
        return Ok(value.into_pyobject(py)?.into_any());
    }
    py.get_type::<PyInt>().call1((digits, base))
}
