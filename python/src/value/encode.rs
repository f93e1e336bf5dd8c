//! From a Python object to JSON text and hints.
//!
//! One walk writes the text and collects the hints. What is common in a
//! checkpoint (JSON's own types, tuples, bytes, `LangChain` messages) is done
//! here; for every other type the Python side is asked once what to write.
//!
//! The recursion is bounded: a container below [`MAX_DEPTH`] levels becomes a
//! part of its own, which is walked when the walk above it has ended.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyNone, PyString, PyTuple,
};
use std::collections::HashSet;

use super::hint::{self, Hint, Node};
use super::message::{Field, MessagePlan};
use super::text::{write_float, write_int, write_str};
use super::{Codec, UnstorableValueError};

/// Containers in a JSON text nest no deeper than this. `RedisJSON` takes 127
/// levels, three of which are the checkpoint document around a value.
const MAX_DEPTH: usize = 120;

/// The addresses of the types that are recognised without asking Python.
#[derive(Debug)]
pub(super) struct Types {
    none: usize,
    bool: usize,
    int: usize,
    float: usize,
    str: usize,
    bytes: usize,
    bytearray: usize,
}

impl Types {
    /// The addresses in this interpreter.
    pub(super) fn new(py: Python<'_>) -> Self {
        fn address<T: PyTypeInfo>(py: Python<'_>) -> usize {
            T::type_object_raw(py) as usize
        }
        Self {
            none: address::<PyNone>(py),
            bool: address::<PyBool>(py),
            int: address::<PyInt>(py),
            float: address::<PyFloat>(py),
            str: address::<PyString>(py),
            bytes: address::<PyBytes>(py),
            bytearray: address::<PyByteArray>(py),
        }
    }
}

/// Why a value cannot be stored.
enum Fail {
    /// An exception, to be passed on as it is.
    Raised(PyErr),
    /// The value at `path` (innermost step first) cannot be stored.
    Unstorable { path: Vec<Step>, reason: String },
}

/// One step down into a value.
enum Step {
    Key(String),
    Index(usize),
    Part,
}

impl From<PyErr> for Fail {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl Fail {
    fn because(reason: impl Into<String>) -> Self {
        Self::Unstorable {
            path: Vec::new(),
            reason: reason.into(),
        }
    }

    fn at(mut self, step: Step) -> Self {
        if let Self::Unstorable { path, .. } = &mut self {
            path.push(step);
        }
        self
    }

    /// The exception; `label` says what the keys of the outermost dict are.
    fn raise(self, label: Option<&str>) -> PyErr {
        let (path, reason) = match self {
            Self::Raised(error) => return error,
            Self::Unstorable { path, reason } => (path, reason),
        };
        let mut label = label;
        let steps = path.iter().rev().map(|step| match (step, label.take()) {
            (Step::Key(key), Some(label)) => format!("{label} '{key}' → "),
            (Step::Key(key), None) if is_identifier(key) => format!(".{key}"),
            (Step::Key(key), None) => format!("['{key}']"),
            (Step::Index(index), _) => format!("[{index}]"),
            (Step::Part, _) => "…".to_owned(),
        });
        let text: String = steps.collect();
        let text = text.strip_suffix(" → ").unwrap_or(&text);
        let message = match text {
            "" => reason,
            text => format!("{text}: {reason}"),
        };
        UnstorableValueError::new_err(message)
    }
}

fn is_identifier(key: &str) -> bool {
    let mut characters = key.chars();
    characters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|character| character.is_alphanumeric() || character == '_')
}

type Encoded<T = Hint> = Result<T, Fail>;

/// What the Python side says of a value: see [`Encoder::other`].
type Answer<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    bool,
    Bound<'py, PyAny>,
);

/// The keys and values of a dict.
type Items<'py> = Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

/// A value that becomes a part.
struct Waiting<'py> {
    value: Bound<'py, PyAny>,
    /// The part in which it was met; none for the value as a whole.
    parent: Option<usize>,
}

/// What comes of a value.
pub(super) struct Output {
    /// The JSON text.
    pub json: Vec<u8>,
    /// The hint of the value as a whole.
    pub root: Hint,
    /// The parts.
    pub parts: Vec<(Vec<u8>, Hint)>,
    /// Whether the text holds `__bytes__` markers.
    pub has_bytes: bool,
    /// Whether a dict had keys other than strings.
    pub has_odd_keys: bool,
}

/// Encodes `value`; `label` says in errors what the keys of its dict are.
pub(super) fn encode(
    codec: &Codec,
    value: &Bound<'_, PyAny>,
    label: Option<&str>,
) -> PyResult<Output> {
    let mut encoder = Encoder {
        codec,
        py: value.py(),
        out: Vec::with_capacity(1024),
        path: Vec::new(),
        waiting: Vec::new(),
        current: None,
        spare: Vec::new(),
        has_bytes: false,
        has_odd_keys: false,
    };
    let root = encoder.value(value, 1).map_err(|fail| fail.raise(label))?;
    let json = std::mem::take(&mut encoder.out);
    let mut parts = Vec::new();
    while let Some(part) = encoder.waiting.get(parts.len()) {
        let value = part.value.clone();
        encoder.current = Some(parts.len());
        let hint = encoder
            .value(&value, 1)
            .map_err(|fail| fail.at(Step::Part).raise(None))?;
        parts.push((std::mem::take(&mut encoder.out), hint));
    }
    let Encoder {
        has_bytes,
        has_odd_keys,
        ..
    } = encoder;
    Ok(Output {
        json,
        root,
        parts,
        has_bytes,
        has_odd_keys,
    })
}

struct Encoder<'c, 'py> {
    codec: &'c Codec,
    py: Python<'py>,
    out: Vec<u8>,
    /// The addresses of the objects that the walk is inside of.
    path: Vec<usize>,
    waiting: Vec<Waiting<'py>>,
    current: Option<usize>,
    /// Emptied lists of items, to be used again.
    spare: Vec<Items<'py>>,
    has_bytes: bool,
    has_odd_keys: bool,
}

impl<'py> Encoder<'_, 'py> {
    fn value(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Encoded {
        let kind = value.get_type_ptr() as usize;
        let types = &self.codec.types;
        if kind == types.str {
            return self.string(value);
        }
        if kind == types.int {
            return self.int(value);
        }
        if kind == types.none {
            self.out.extend_from_slice(b"null");
            return Ok(None);
        }
        if kind == types.bool {
            let is_true = value.is(PyBool::new(self.py, true).as_any());
            let text: &[u8] = if is_true { b"true" } else { b"false" };
            self.out.extend_from_slice(text);
            return Ok(None);
        }
        if kind == types.float {
            return self.float(value);
        }
        if kind == types.bytes || kind == types.bytearray {
            return self.bytes(value);
        }
        let address = value.as_ptr() as usize;
        if self.path.contains(&address) {
            return Err(Fail::because(
                "a value that contains itself cannot be stored",
            ));
        }
        if depth > MAX_DEPTH || self.path.len() > 2 * MAX_DEPTH {
            self.out.extend_from_slice(b"null");
            let part = self.part(value)?;
            return Ok(hint::then(None, "p", format!(",{part}")));
        }
        self.path.push(address);
        let hint = if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict, depth)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.list(list.iter(), depth)
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            let hint = self.list(tuple.iter(), depth);
            hint.map(|hint| hint::then(hint, "t", String::new()))
        } else if let Some(plan) = self.codec.plans.get(&kind) {
            self.message(plan, value, depth)
        } else {
            self.other(value, depth)
        };
        self.path.pop();
        hint
    }

    /// Sets `value` aside to be written as a part, and gives its number.
    fn part(&mut self, value: &Bound<'py, PyAny>) -> Encoded<usize> {
        let mut above = self.current;
        while let Some(at) = above {
            let part = &self.waiting[at];
            if part.value.is(value) {
                return Err(Fail::because(
                    "a value that contains itself cannot be stored",
                ));
            }
            above = part.parent;
        }
        self.waiting.push(Waiting {
            value: value.clone(),
            parent: self.current,
        });
        Ok(self.waiting.len() - 1)
    }

    fn string(&mut self, value: &Bound<'py, PyAny>) -> Encoded {
        let text = value.cast::<PyString>().map_err(PyErr::from)?;
        if let Ok(text) = text.to_str() {
            write_str(&mut self.out, text);
            return Ok(None);
        }
        let encode = intern!(self.py, "encode");
        let bytes = text.call_method1(encode, ("utf-8", "surrogatepass"))?;
        let readable = text.call_method1(encode, ("utf-8", "replace"))?;
        let readable = readable.cast::<PyBytes>().map_err(PyErr::from)?;
        write_str(&mut self.out, &String::from_utf8_lossy(readable.as_bytes()));
        let exact = STANDARD.encode(bytes.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes());
        Ok(hint::then(None, "w", format!(",\"{exact}\"")))
    }

    fn int(&mut self, value: &Bound<'py, PyAny>) -> Encoded {
        if let Ok(small) = value.extract::<i64>() {
            write_int(&mut self.out, small);
            return Ok(None);
        }
        if let Ok(large) = value.extract::<u64>() {
            write_int(&mut self.out, large);
            return Ok(None);
        }
        // Python limits the digits of `str`, not those of base 16.
        let digits = match value.str() {
            Ok(decimal) => decimal.into_any(),
            Err(_) => value.call_method1(intern!(self.py, "__format__"), ("#x",))?,
        };
        write_str(&mut self.out, &digits.extract::<String>()?);
        Ok(hint::op("I"))
    }

    fn float(&mut self, value: &Bound<'py, PyAny>) -> Encoded {
        let value: f64 = value.extract()?;
        if value.is_finite() {
            write_float(&mut self.out, value);
            return Ok(None);
        }
        self.out.extend_from_slice(b"null");
        Ok(hint::op(if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }))
    }

    fn bytes(&mut self, value: &Bound<'py, PyAny>) -> Encoded {
        self.has_bytes = true;
        self.out.extend_from_slice(b"{\"__bytes__\":\"");
        let hint = if let Ok(bytes) = value.cast::<PyBytes>() {
            self.out
                .extend_from_slice(STANDARD.encode(bytes.as_bytes()).as_bytes());
            None
        } else {
            let bytes = value.cast::<PyByteArray>().map_err(PyErr::from)?.to_vec();
            self.out
                .extend_from_slice(STANDARD.encode(bytes).as_bytes());
            hint::op("B")
        };
        self.out.extend_from_slice(b"\"}");
        Ok(hint)
    }

    fn list(&mut self, items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> Encoded {
        let mut hints = Vec::new();
        let mut len = 0;
        self.out.push(b'[');
        for item in items {
            if len > 0 {
                self.out.push(b',');
            }
            let hint = self
                .value(&item, depth + 1)
                .map_err(|fail| fail.at(Step::Index(len)))?;
            if let Some(node) = hint {
                hints.push((len.to_string(), *node));
            }
            len += 1;
        }
        self.out.push(b']');
        Ok(hint::elements(hints, len))
    }

    fn dict(&mut self, dict: &Bound<'py, PyDict>, depth: usize) -> Encoded {
        // No Python code may run while a dict is iterated over.
        let mut items = self.spare.pop().unwrap_or_default();
        items.extend(dict.iter());
        let hint = self.items(&items, depth);
        items.clear();
        self.spare.push(items);
        hint
    }

    fn items(&mut self, items: &Items<'py>, depth: usize) -> Encoded {
        let mut hints = Vec::new();
        let mut lookalike = false;
        let start = (self.out.len(), self.waiting.len());
        let mut first = true;
        for (key, item) in items {
            let name = key.cast_exact::<PyString>().ok().map(|name| name.to_str());
            let Some(Ok(name)) = name else {
                self.out.truncate(start.0);
                self.waiting.truncate(start.1);
                return self.dict_with_odd_keys(items, depth);
            };
            lookalike |= is_marker_key(name.as_bytes());
            if let Some(hint) = self.entry(name, item, depth, &mut first)? {
                hints.push((name.to_owned(), *hint));
            }
        }
        self.end_object(first);
        let hint = hint::children(hints);
        Ok(if lookalike {
            hint::then(hint, "d", String::new())
        } else {
            hint
        })
    }

    fn entry(
        &mut self,
        name: &str,
        item: &Bound<'py, PyAny>,
        depth: usize,
        first: &mut bool,
    ) -> Encoded {
        self.out.push(if *first { b'{' } else { b',' });
        *first = false;
        write_str(&mut self.out, name);
        self.out.push(b':');
        self.value(item, depth + 1)
            .map_err(|fail| fail.at(Step::Key(name.to_owned())))
    }

    fn end_object(&mut self, empty: bool) {
        let text: &[u8] = if empty { b"{}" } else { b"}" };
        self.out.extend_from_slice(text);
    }

    /// A dict with a key that is no string: JSON names are made up, and the
    /// hint says which keys they stand for.
    fn dict_with_odd_keys(&mut self, items: &Items<'py>, depth: usize) -> Encoded {
        self.has_odd_keys = true;
        let types = &self.codec.types;
        let exact_name = |key: &Bound<'py, PyAny>| -> Option<String> {
            let key = key.cast_exact::<PyString>().ok()?;
            key.to_str().ok().map(str::to_owned)
        };
        let all_ints = items
            .iter()
            .all(|(key, _)| key.get_type_ptr() as usize == types.int);
        let mut taken: HashSet<String> = items
            .iter()
            .filter_map(|(key, _)| exact_name(key))
            .collect();
        let mut names = Vec::with_capacity(items.len());
        let mut keys: Vec<(String, String)> = Vec::new();
        for (key, _) in items {
            if let Some(name) = exact_name(key) {
                names.push(name);
                continue;
            }
            let wanted = self.name_of_key(key)?;
            let mut name = wanted.clone();
            let mut count = 1;
            while !taken.insert(name.clone()) {
                count += 1;
                name = format!("{wanted}#{count}");
            }
            if !all_ints {
                keys.push((name.clone(), self.key(key)?));
            }
            names.push(name);
        }
        let mut hints = Vec::new();
        let mut first = true;
        for (name, (_, item)) in names.iter().zip(items) {
            if let Some(hint) = self.entry(name, item, depth, &mut first)? {
                hints.push((name.clone(), *hint));
            }
        }
        self.end_object(first);
        let hint = hint::children(hints);
        if all_ints {
            return Ok(hint::then(hint, "i", String::new()));
        }
        let mut map = Vec::from(*b",{");
        for (at, (name, key)) in keys.iter().enumerate() {
            if at > 0 {
                map.push(b',');
            }
            write_str(&mut map, name);
            map.push(b':');
            map.extend_from_slice(key.as_bytes());
        }
        map.push(b'}');
        Ok(hint::then(
            hint,
            "k",
            String::from_utf8_lossy(&map).into_owned(),
        ))
    }

    /// The JSON name under which a key that is no string is written.
    fn name_of_key(&mut self, key: &Bound<'py, PyAny>) -> Encoded<String> {
        let name = self.codec.name_of_key.bind(self.py).call1((key,))?;
        Ok(name.extract::<String>()?)
    }

    /// A key for the map of `k`: itself where JSON can say it, else a part.
    fn key(&mut self, key: &Bound<'py, PyAny>) -> Encoded<String> {
        let types = &self.codec.types;
        let kind = key.get_type_ptr() as usize;
        if kind == types.none || kind == types.bool || kind == types.int || kind == types.float {
            let start = self.out.len();
            let hint = self.value(key, 1)?;
            let text = String::from_utf8_lossy(&self.out[start..]).into_owned();
            self.out.truncate(start);
            if hint.is_none() {
                return Ok(text);
            }
        }
        Ok(format!("[{}]", self.part(key)?))
    }

    /// A `LangChain` message or document, exactly as its `to_json` gives it.
    fn message(&mut self, plan: &MessagePlan, value: &Bound<'py, PyAny>, depth: usize) -> Encoded {
        let py = self.py;
        self.out.extend_from_slice(&plan.prefix);
        let fields = value.getattr(intern!(py, "__dict__"))?;
        let fields = fields.cast::<PyDict>().map_err(PyErr::from)?;
        let items: Vec<_> = fields.iter().collect();
        let mut hints = Vec::new();
        let mut first = true;
        let mut written = 0_u64;
        for (at, (name, item)) in items.iter().enumerate() {
            let Some((index, field)) = plan.find(at, name) else {
                continue;
            };
            if !field.excluded && field.is_useful(item) {
                written |= 1 << index;
                self.field(field, item, depth, &mut first, &mut hints)?;
            }
        }
        for &index in &plan.attributes {
            let field = &plan.fields[index];
            if written & (1 << index) == 0
                && let Some(item) = fields.get_item(&field.name)?
            {
                self.field(field, &item, depth, &mut first, &mut hints)?;
            }
        }
        let extra = value.getattr(intern!(py, "__pydantic_extra__"))?;
        let mut lookalike = false;
        if let Ok(extra) = extra.cast::<PyDict>() {
            let items: Vec<_> = extra.iter().collect();
            for (name, item) in &items {
                let name = name.cast::<PyString>().map_err(PyErr::from)?.to_str()?;
                lookalike |= is_marker_key(name.as_bytes());
                if let Some(hint) = self.entry(name, item, depth + 1, &mut first)? {
                    hints.push((name.to_owned(), *hint));
                }
            }
        }
        self.end_object(first);
        self.out.push(b'}');
        let mut hint = hint::children(hints);
        if lookalike {
            hint = hint::then(hint, "d", String::new());
        }
        Ok(hint.and_then(|node| hint::children(vec![("kwargs".to_owned(), *node)])))
    }

    fn field(
        &mut self,
        field: &Field,
        item: &Bound<'py, PyAny>,
        depth: usize,
        first: &mut bool,
        hints: &mut Vec<(String, Node)>,
    ) -> Encoded<()> {
        self.out.push(if *first { b'{' } else { b',' });
        *first = false;
        self.out.extend_from_slice(&field.json);
        let hint = self.value(item, depth + 2);
        if let Some(node) = hint.map_err(|fail| fail.at(Step::Key(field.text.clone())))? {
            hints.push((field.text.clone(), *node));
        }
        Ok(())
    }

    /// Any other type: the Python side says what to write in its place.
    ///
    /// Its answer is `(payload, op, marker, extra)`: write `payload`, a dict
    /// which is a marker if `marker`; then the operation `op`, a tuple of its
    /// name and arguments, to which `extra`, if not None, is added as a part.
    fn other(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Encoded {
        let answer = match self.codec.describe.bind(self.py).call1((value,)) {
            Ok(answer) => answer,
            Err(error) if error.is_instance_of::<UnstorableValueError>(self.py) => {
                return Err(Fail::because(error.value(self.py).to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let (payload, op, marker, extra): Answer<'py> = answer.extract()?;
        let hint = if marker {
            self.marker(payload.cast::<PyDict>().map_err(PyErr::from)?, depth)?
        } else {
            self.value(&payload, depth)?
        };
        let Ok(op) = op.cast::<PyTuple>() else {
            return Ok(hint);
        };
        let mut items = op.iter();
        let Some(code) = items.next() else {
            return Err(PyRuntimeError::new_err("an operation without a name").into());
        };
        let mut args = Vec::new();
        for item in items {
            args.push(b',');
            match item.extract::<Option<String>>()? {
                Some(text) => write_str(&mut args, &text),
                None => args.extend_from_slice(b"null"),
            }
        }
        if !extra.is_none() {
            args.extend_from_slice(format!(",{}", self.part(&extra)?).as_bytes());
        }
        let args = String::from_utf8_lossy(&args).into_owned();
        Ok(hint::then(hint, code.extract::<String>()?, args))
    }

    /// A dict that stands for something else: `lc`, `__send__` and so on.
    fn marker(&mut self, dict: &Bound<'py, PyDict>, depth: usize) -> Encoded {
        let items: Vec<_> = dict.iter().collect();
        let mut hints = Vec::new();
        let mut first = true;
        for (key, item) in &items {
            let name = key.cast::<PyString>().map_err(PyErr::from)?.to_str()?;
            let (start, waiting, was_first) = (self.out.len(), self.waiting.len(), first);
            let hint = match self.entry(name, item, depth, &mut first) {
                // Private attributes are often locks and clients, which
                // LangGraph's own serializer leaves out as well.
                Err(Fail::Unstorable { reason, .. }) if name == "private" => {
                    self.codec.dropped.bind(self.py).call1((dict, reason))?;
                    self.out.truncate(start);
                    self.waiting.truncate(waiting);
                    first = was_first;
                    None
                }
                // The user knows nothing of these levels.
                Err(Fail::Unstorable { mut path, reason })
                    if matches!(name, "args" | "kwargs" | "set") =>
                {
                    path.pop();
                    return Err(Fail::Unstorable { path, reason });
                }
                hint => hint?,
            };
            if let Some(node) = hint {
                hints.push((name.to_owned(), *node));
            }
        }
        self.end_object(first);
        Ok(hint::children(hints))
    }
}

/// Whether a dict with this key may be taken for a marker by a reader.
pub(super) fn is_marker_key(key: &[u8]) -> bool {
    matches!(
        key,
        b"lc" | b"__bytes__" | b"__send__" | b"__interrupt__" | b"__delta_snapshot__"
    )
}
