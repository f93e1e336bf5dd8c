//! The sidecar that says what a JSON text alone cannot.
//!
//! A sidecar is itself one JSON object:
//!
//! ```json
//! {"v":1, "h":NODE, "p":[["json text",NODE],...], "q":[NODE,...]}
//! ```
//!
//! * `v` is the version of this format;
//! * `h` (left out when empty) describes the value as a whole;
//! * `p` (left out when empty) holds *parts*: values that have no place in the
//!   JSON text, because they are nested too deep or are not JSON there (a
//!   tuple as a dict key, the attributes of a list subclass). Each is JSON
//!   text with a node of its own and may refer only to later parts;
//! * `q` (left out when empty) holds nodes cut off from a tree that would
//!   itself be nested too deep.
//!
//! A node is sparse: it names only what needs a word. It is one of
//!
//! | node | means |
//! |---|---|
//! | `null` | as the JSON says |
//! | `{"key":NODE,...}` | nodes of some children, by key or by index |
//! | `["*",NODE]` | every child has this node |
//! | `["@",null,n]` | see `q[n]` |
//! | `"op"` or `[op,NODE,arg...]` | first what the inner node says, then the operation |
//!
//! The operations that this crate performs itself:
//!
//! | op | on | gives |
//! |---|---|---|
//! | `t` | list | tuple |
//! | `d` | dict | that dict: its `lc` or `__send__` is data, not a marker |
//! | `i` | dict | the dict with its keys as ints |
//! | `k`, `{name:key}` | dict | the dict with some keys replaced; `[n]` stands for part n |
//! | `nan`, `inf`, `-inf` | null | that float |
//! | `I` | string of digits | int |
//! | `w`, base64 | string | the string with its lone surrogates |
//! | `B` | bytes | bytearray |
//! | `p`, n | null | part n |
//!
//! All others name a type and are left to the Python side, which checks them
//! against the allowlist: see `langgraph_checkpoint_redis_rs._types`. An
//! operation that does not fit the value it meets is passed over.

use std::borrow::Cow;
use std::collections::VecDeque;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::{Map, Value};

use super::text::{write_int, write_str};

/// The version of the format that this code reads and writes.
pub(super) const VERSION: u64 = 1;

/// A tree is cut where it would be nested deeper than this, so that a sidecar
/// can be embedded in a `RedisJSON` document, which takes 127 levels.
const MAX_DEPTH: usize = 96;

/// What a value needs said about it; mostly nothing.
pub(super) type Hint = Option<Box<Node>>;

/// An operation and its arguments; these are JSON, each with a comma before it.
#[derive(Debug, PartialEq)]
pub(super) struct Op {
    /// The name of the operation.
    pub code: Cow<'static, str>,
    /// The arguments.
    pub args: String,
}

/// A node of the tree, while it is built.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Node {
    /// The operations, the first to perform first.
    pub ops: Vec<Op>,
    /// Nodes of children; of all children if `star`.
    pub children: Vec<(String, Node)>,
    /// Whether the one entry of `children` stands for all of them.
    pub star: bool,
}

/// A hint of one operation without arguments.
pub(super) fn op(code: &'static str) -> Hint {
    then(None, code, String::new())
}

/// `hint`, and after it one more operation.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a hint of nothing is `None`; this one is handed on as any"
)]
pub(super) fn then(hint: Hint, code: impl Into<Cow<'static, str>>, args: String) -> Hint {
    let mut node = hint.unwrap_or_default();
    let code = code.into();
    node.ops.push(Op { code, args });
    Some(node)
}

/// A hint of nothing but children; none if there are none.
pub(super) fn children(children: Vec<(String, Node)>) -> Hint {
    (!children.is_empty()).then(|| {
        Box::new(Node {
            children,
            ..Node::default()
        })
    })
}

/// The hint of a list whose `len` elements have the hints `children`.
pub(super) fn elements(mut children: Vec<(String, Node)>, len: usize) -> Hint {
    let star = len > 1 && children.len() == len && {
        let (first, rest) = children.split_at(1);
        rest.iter().all(|(_, node)| *node == first[0].1)
    };
    if star {
        children.truncate(1);
    }
    let hint = self::children(children);
    hint.map(|mut node| {
        node.star = star;
        node
    })
}

/// Writes the sidecar of a value and its parts, or nothing if none is needed.
pub(super) fn write(root: &Hint, parts: &[(Vec<u8>, Hint)], force: bool) -> Option<Vec<u8>> {
    if root.is_none() && parts.is_empty() && !force {
        return None;
    }
    let mut out = Vec::with_capacity(64);
    let mut pool = Pool::default();
    out.extend_from_slice(b"{\"v\":");
    write_int(&mut out, VERSION);
    if let Some(node) = root {
        out.extend_from_slice(b",\"h\":");
        pool.node(node, &mut out, 1);
    }
    if !parts.is_empty() {
        out.extend_from_slice(b",\"p\":[");
        for (at, (text, hint)) in parts.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"[" } else { b",[" });
            // The encoder writes nothing but UTF-8.
            write_str(&mut out, &String::from_utf8_lossy(text));
            out.push(b',');
            pool.hint(hint, &mut out, 3);
            out.push(b']');
        }
        out.push(b']');
    }
    if !pool.waiting.is_empty() {
        out.extend_from_slice(b",\"q\":[");
        let mut first = true;
        while let Some(node) = pool.waiting.pop_front() {
            if !first {
                out.push(b',');
            }
            first = false;
            pool.node(node, &mut out, 2);
        }
        out.push(b']');
    }
    out.push(b'}');
    Some(out)
}

/// The nodes that were cut off and wait to be written.
#[derive(Default)]
struct Pool<'a> {
    waiting: VecDeque<&'a Node>,
    cut: usize,
}

impl<'a> Pool<'a> {
    fn hint(&mut self, hint: &'a Hint, out: &mut Vec<u8>, depth: usize) {
        match hint {
            Some(node) => self.node(node, out, depth),
            None => out.extend_from_slice(b"null"),
        }
    }

    fn node(&mut self, node: &'a Node, out: &mut Vec<u8>, depth: usize) {
        if depth + node.ops.len() >= MAX_DEPTH {
            out.extend_from_slice(b"[\"@\",null,");
            write_int(out, self.cut);
            out.push(b']');
            self.cut += 1;
            self.waiting.push_back(node);
            return;
        }
        if let ([op], []) = (node.ops.as_slice(), node.children.as_slice())
            && op.args.is_empty()
        {
            write_str(out, &op.code);
            return;
        }
        for op in node.ops.iter().rev() {
            out.push(b'[');
            write_str(out, &op.code);
            out.push(b',');
        }
        let inner = depth + node.ops.len() + 1;
        match node.children.as_slice() {
            [] => out.extend_from_slice(b"null"),
            [(_, child)] if node.star => {
                out.extend_from_slice(b"[\"*\",");
                self.node(child, out, inner);
                out.push(b']');
            }
            children => {
                for (at, (key, child)) in children.iter().enumerate() {
                    out.push(if at == 0 { b'{' } else { b',' });
                    write_str(out, key);
                    out.push(b':');
                    self.node(child, out, inner);
                }
                out.push(b'}');
            }
        }
        for op in &node.ops {
            out.extend_from_slice(op.args.as_bytes());
            out.push(b']');
        }
    }
}

/// A sidecar that was read.
#[derive(Debug, Default)]
pub(super) struct Sidecar {
    /// The node of the value.
    pub root: Value,
    /// The parts: JSON text and node.
    pub parts: Vec<(String, Value)>,
    pool: Vec<Value>,
}

/// The children of a node.
#[derive(Clone, Copy, Default)]
pub(super) enum Children<'a> {
    /// Nothing is said of them.
    #[default]
    None,
    /// By key or index.
    Some(&'a Map<String, Value>),
    /// All the same.
    All(&'a Value),
}

impl<'a> Children<'a> {
    /// The node of the child at `key`.
    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        match self {
            Self::None => None,
            Self::Some(map) => map.get(key),
            Self::All(node) => Some(node),
        }
    }

    /// The node of the child at `index`.
    #[inline]
    pub(super) fn at(&self, index: usize) -> Option<&'a Value> {
        match self {
            Self::None => None,
            Self::Some(map) => map.get(itoa::Buffer::new().format(index)),
            Self::All(node) => Some(node),
        }
    }
}

/// A node made ready: its operations in order, and its children.
#[derive(Default)]
pub(super) struct View<'a> {
    /// Each operation: a string, or an array `[op, node, arg...]`.
    pub ops: Vec<&'a Value>,
    /// The nodes of the children.
    pub children: Children<'a>,
}

/// The name of an operation.
pub(super) fn code(op: &Value) -> &str {
    match op {
        Value::String(code) => code,
        Value::Array(items) => items.first().and_then(Value::as_str).unwrap_or(""),
        _ => "",
    }
}

/// An argument of an operation, counted from 0.
pub(super) fn arg(op: &Value, index: usize) -> Option<&Value> {
    op.as_array().and_then(|items| items.get(index + 2))
}

impl Sidecar {
    /// Reads a sidecar.
    pub(super) fn parse(text: &[u8]) -> PyResult<Self> {
        let fail = |what: &str| PyValueError::new_err(format!("invalid type hints: {what}"));
        let value: Value =
            serde_json::from_slice(text).map_err(|error| fail(&error.to_string()))?;
        let Value::Object(mut fields) = value else {
            return Err(fail("not an object"));
        };
        if fields.get("v").and_then(Value::as_u64) != Some(VERSION) {
            return Err(fail("a version that this release does not know"));
        }
        let mut parts = Vec::new();
        if let Some(Value::Array(items)) = fields.remove("p") {
            for item in items {
                let Value::Array(mut pair) = item else {
                    return Err(fail("a part is not a pair"));
                };
                match (pair.pop(), pair.pop()) {
                    (Some(node), Some(Value::String(text))) => parts.push((text, node)),
                    _ => return Err(fail("a part is not a pair")),
                }
            }
        }
        let pool = match fields.remove("q") {
            Some(Value::Array(pool)) => pool,
            _ => Vec::new(),
        };
        let root = fields.remove("h").unwrap_or(Value::Null);
        Ok(Self { root, parts, pool })
    }

    /// Makes a node ready.
    pub(super) fn view<'a>(&'a self, node: Option<&'a Value>) -> View<'a> {
        let mut view = View::default();
        // A node cut off may refer to a later one only, so this ends.
        let mut seen = None;
        let mut next = node;
        while let Some(node) = next {
            next = match node {
                Value::Object(map) => {
                    view.children = Children::Some(map);
                    None
                }
                Value::String(_) => {
                    view.ops.push(node);
                    None
                }
                Value::Array(items) => match code(node) {
                    "*" => {
                        view.children = items.get(1).map_or(Children::None, Children::All);
                        None
                    }
                    "@" => {
                        let index = arg(node, 0).and_then(Value::as_u64);
                        let index = index.filter(|_| seen < index);
                        seen = index.or(seen);
                        index.and_then(|index| self.pool.get(usize::try_from(index).ok()?))
                    }
                    _ => {
                        view.ops.push(node);
                        items.get(1)
                    }
                },
                _ => None,
            };
        }
        view.ops.reverse();
        view
    }
}
