//! Chat messages in values: those of LangChain in every form that they are stored in, and those of
//! model providers.

use serde::Serialize;

use super::values::{constructed, plain_text};
use crate::codec::{RawJson, RawObject};

/// A chat message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    /// Who speaks: LangChain's `human`, `ai`, `system`, `tool`, `function`, `remove`, or the role
    /// as the message has it.
    pub(crate) role: String,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) content: Vec<Block>,
    pub(crate) tool_calls: Vec<ToolCall>,
    /// What the message is the result of.
    pub(crate) result_of: Option<ToolResult>,
    pub(crate) usage: Option<Usage>,
    /// The model, if the message says it.
    pub(crate) model: Option<String>,
}

/// A part of what a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Block {
    /// Text.
    Text(String),
    /// What the model thought before it answered.
    Reasoning(String),
    /// Something else, an image for instance, by its type and as it is stored.
    Other { kind: String, value: RawJson },
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ToolCall {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) arguments: RawJson,
    /// Why it is no call: its arguments could not be read.
    pub(crate) error: Option<String>,
}

/// The result of a call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ToolResult {
    pub(crate) tool_call_id: String,
    /// `success` or `error`, if the message says it.
    pub(crate) status: Option<String>,
}

/// How many tokens a message took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) total: u64,
}

#[cfg(test)]
impl Message {
    /// The text of the message, its parts joined as LangChain's `text` joins them.
    pub(crate) fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

/// The messages of a channel's value: a list of nothing but messages, or one message. `None` if it
/// is neither; an empty list has no messages.
pub(crate) fn messages(value: &RawJson) -> Option<Vec<Message>> {
    match value.bytes().first() {
        Some(b'[') => {
            let items: Vec<&serde_json::value::RawValue> = value.decode().ok()?;
            if items.is_empty() {
                return None;
            }
            let items = items.into_iter();
            items
                .map(|item| {
                    message(&RawJson::trusted(
                        value.bytes().slice_ref(item.get().as_bytes()),
                    ))
                })
                .collect()
        }
        Some(b'{') => Some(vec![message(value)?]),
        _ => None,
    }
}

/// A value as a message; `None` if it is none.
///
/// Known are the constructor form of LangChain's classes (`lc` 1 and 2, hence also what MessagePack
/// holds), `{"type":…,"content":…}`, `{"type":…,"data":{…}}`, and `{"role":…,"content":…}`.
pub(crate) fn message(value: &RawJson) -> Option<Message> {
    let form = RawObject::parse(value.bytes().clone()).ok()?;
    if let Some(class) = constructed(&form) {
        let fields = RawObject::parse(form.get("kwargs")?.bytes().clone()).ok()?;
        return of_class(&class, &fields);
    }
    if let Some(role) = string(&form, "role") {
        let spoken = form.get("content").is_some() || form.get("tool_calls").is_some();
        return (spoken && is_role(&role)).then(|| build(role, &form));
    }
    let role = role_of_type(&string(&form, "type")?)?;
    if form.get("content").is_some() {
        return Some(build(role, &form));
    }
    let fields = RawObject::parse(form.get("data")?.bytes().clone()).ok()?;
    fields.get("content")?;
    Some(build(role, &fields))
}

fn of_class(class: &str, fields: &RawObject) -> Option<Message> {
    let class = class.strip_suffix("Chunk").unwrap_or(class);
    let role = match class.strip_suffix("Message")? {
        "Human" => "human".to_owned(),
        "AI" => "ai".to_owned(),
        "System" => "system".to_owned(),
        "Tool" => "tool".to_owned(),
        "Function" => "function".to_owned(),
        "Remove" => "remove".to_owned(),
        "Chat" => string(fields, "role").unwrap_or_else(|| "chat".to_owned()),
        // A class of the program's own.
        _ => role_of_type(&string(fields, "type")?)?,
    };
    fields.get("content").or_else(|| fields.get("id"))?;
    Some(build(role, fields))
}

fn role_of_type(kind: &str) -> Option<String> {
    let role = match kind {
        "HumanMessageChunk" => "human",
        "AIMessageChunk" => "ai",
        "SystemMessageChunk" => "system",
        "ToolMessageChunk" => "tool",
        "human" | "ai" | "system" | "tool" | "function" | "remove" | "chat" => kind,
        _ => return None,
    };
    Some(role.to_owned())
}

fn is_role(role: &str) -> bool {
    matches!(
        role,
        "user"
            | "assistant"
            | "system"
            | "developer"
            | "tool"
            | "function"
            | "human"
            | "ai"
            | "model"
    )
}

fn build(role: String, fields: &RawObject) -> Message {
    let extra = object(fields, "additional_kwargs").unwrap_or_default();
    let mut calls = tool_calls(fields);
    if calls.is_empty() {
        // Before LangChain had calls of its own, the provider's were kept here.
        calls = tool_calls(&extra);
    }
    for invalid in list(fields, "invalid_tool_calls") {
        calls.extend(tool_call(&invalid));
    }
    let content = content(fields.get("content"), &mut calls);
    let metadata = object(fields, "response_metadata").unwrap_or_default();
    Message {
        role,
        id: string(fields, "id"),
        name: string(fields, "name").filter(|name| !name.is_empty()),
        content,
        tool_calls: calls,
        result_of: string(fields, "tool_call_id").map(|tool_call_id| ToolResult {
            tool_call_id,
            status: string(fields, "status"),
        }),
        usage: usage(fields, &metadata),
        model: string(&metadata, "model_name").or_else(|| string(&metadata, "model")),
    }
}

/// The parts of the content, and the calls in it that are not in `calls` already.
fn content(content: Option<&RawJson>, calls: &mut Vec<ToolCall>) -> Vec<Block> {
    let Some(content) = content else {
        return Vec::new();
    };
    match content.bytes().first() {
        Some(b'"') => {
            let text = plain_text(content).into_owned();
            if text.is_empty() {
                Vec::new()
            } else {
                vec![Block::Text(text)]
            }
        }
        Some(b'[') => {
            let blocks: Vec<RawJson> = content.decode().unwrap_or_default();
            blocks
                .iter()
                .filter_map(|value| block(value, calls))
                .collect()
        }
        Some(b'n') => Vec::new(),
        _ => vec![Block::Other {
            kind: "content".to_owned(),
            value: content.clone(),
        }],
    }
}

fn block(value: &RawJson, calls: &mut Vec<ToolCall>) -> Option<Block> {
    if value.bytes().first() == Some(&b'"') {
        return Some(Block::Text(plain_text(value).into_owned()));
    }
    let other = |kind: String| {
        Some(Block::Other {
            kind,
            value: value.clone(),
        })
    };
    let Ok(fields) = RawObject::parse(value.bytes().clone()) else {
        return other("content".to_owned());
    };
    let kind = string(&fields, "type").unwrap_or_else(|| "content".to_owned());
    match kind.as_str() {
        "text" | "input_text" | "output_text" => match string(&fields, "text") {
            Some(text) => Some(Block::Text(text)),
            None => other(kind),
        },
        "thinking" | "reasoning" => {
            let text = string(&fields, "thinking").or_else(|| string(&fields, "reasoning"));
            match text.or_else(|| string(&fields, "text")) {
                Some(text) => Some(Block::Reasoning(text)),
                None => other(kind),
            }
        }
        "tool_use" | "tool_call" => {
            let call = tool_call(&fields)?;
            if !calls.iter().any(|known| known.id == call.id) {
                calls.push(call);
            }
            None
        }
        _ => other(kind),
    }
}

fn tool_calls(fields: &RawObject) -> Vec<ToolCall> {
    let calls = list(fields, "tool_calls");
    calls.iter().filter_map(tool_call).collect()
}

/// A call as LangChain has it (`name`, `args`), as in blocks (`name`, `input`), or as OpenAI has it
/// (`function`, with its arguments as JSON in a string).
fn tool_call(fields: &RawObject) -> Option<ToolCall> {
    let function = object(fields, "function");
    let from = function.as_ref().unwrap_or(fields);
    let arguments = ["args", "arguments", "input"]
        .into_iter()
        .find_map(|name| from.get(name));
    let arguments = arguments.map_or_else(|| RawJson::trusted("null"), unwrapped);
    Some(ToolCall {
        id: string(fields, "id"),
        name: string(from, "name")?,
        arguments,
        error: string(fields, "error"),
    })
}

/// JSON that was put into a string, taken out of it; else the value as it is.
fn unwrapped(value: &RawJson) -> RawJson {
    let inner = value.decode::<String>().ok().map(RawJson::parse);
    match inner {
        Some(Ok(inner)) if inner.bytes().first() == Some(&b'{') => inner,
        _ => value.clone(),
    }
}

/// LangChain's `usage_metadata`, else what the provider reported.
fn usage(fields: &RawObject, metadata: &RawObject) -> Option<Usage> {
    let reported = object(fields, "usage_metadata")
        .or_else(|| object(metadata, "token_usage"))
        .or_else(|| object(metadata, "usage"))
        .or_else(|| object(fields, "usage"))?;
    let count = |names: [&str; 2]| {
        names
            .into_iter()
            .find_map(|name| reported.get(name)?.decode::<u64>().ok())
    };
    let input = count(["input_tokens", "prompt_tokens"]);
    let output = count(["output_tokens", "completion_tokens"]);
    let total = count(["total_tokens", "total"]);
    input.or(output).or(total)?;
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    Some(Usage {
        input,
        output,
        total: total.unwrap_or_else(|| input.saturating_add(output)),
    })
}

fn string(fields: &RawObject, name: &str) -> Option<String> {
    fields.get(name)?.decode().ok()
}

fn object(fields: &RawObject, name: &str) -> Option<RawObject> {
    RawObject::parse(fields.get(name)?.bytes().clone()).ok()
}

fn list(fields: &RawObject, name: &str) -> Vec<RawObject> {
    let items = fields.get(name).map(RawJson::decode::<Vec<RawJson>>);
    let items = items.and_then(Result::ok).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| RawObject::parse(item.bytes().clone()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::super::values::{Readable, readable};
    use super::*;
    use crate::checkpoint::TypedValue;

    /// `[AIMessage, ToolMessage]`, as LangGraph's `JsonPlusSerializer` packs them, in base64.
    const PACKED: &str = "ksgBAQWUumxhbmdjaGFpbl9jb3JlLm1lc3NhZ2VzLmFpqUFJTWVzc2FnZYmnY29udGVudKJ5b7FhZGRpdGlvbmFsX2t3YXJnc4CxcmVzcG9uc2VfbWV0YWRhdGGApHR5cGWiYWmkbmFtZcCiaWSiYTGqdG9vbF9jYWxsc5GEpG5hbWWhZqRhcmdzgaF4AaJpZKJjMaR0eXBlqXRvb2xfY2FsbLJpbnZhbGlkX3Rvb2xfY2FsbHOQrnVzYWdlX21ldGFkYXRhg6xpbnB1dF90b2tlbnMDrW91dHB1dF90b2tlbnMErHRvdGFsX3Rva2VucwezbW9kZWxfdmFsaWRhdGVfanNvbsesBZS8bGFuZ2NoYWluX2NvcmUubWVzc2FnZXMudG9vbKtUb29sTWVzc2FnZYmnY29udGVudKFysWFkZGl0aW9uYWxfa3dhcmdzgLFyZXNwb25zZV9tZXRhZGF0YYCkdHlwZaR0b29spG5hbWXAomlkonQxrHRvb2xfY2FsbF9pZKJjMahhcnRpZmFjdMCmc3RhdHVzpWVycm9ys21vZGVsX3ZhbGlkYXRlX2pzb24=";

    fn parsed(json: &'static str) -> Option<Vec<Message>> {
        messages(&RawJson::parse(json).unwrap())
    }

    fn check_call_and_result(messages: &[Message]) {
        let [call, result] = messages else {
            panic!("{messages:?}");
        };
        assert_eq!((call.role.as_str(), call.text().as_str()), ("ai", "yo"));
        assert_eq!(call.id.as_deref(), Some("a1"));
        assert_eq!(call.tool_calls.len(), 1);
        let asked = &call.tool_calls[0];
        assert_eq!(
            (asked.name.as_str(), asked.id.as_deref()),
            ("f", Some("c1"))
        );
        assert_eq!(asked.arguments.as_str(), r#"{"x":1}"#);
        let usage = call.usage.unwrap();
        assert_eq!((usage.input, usage.output, usage.total), (3, 4, 7));
        assert_eq!(
            (result.role.as_str(), result.text().as_str()),
            ("tool", "r")
        );
        let of = result.result_of.as_ref().unwrap();
        assert_eq!(of.tool_call_id, "c1");
        assert_eq!(of.status.as_deref(), Some("error"));
    }

    #[test]
    fn langchains_messages_are_read_as_json_and_as_messagepack() {
        let packed = TypedValue::new("msgpack", BASE64.decode(PACKED).unwrap());
        let Readable::Json(json) = readable(&packed) else {
            panic!("it is decoded");
        };
        check_call_and_result(&messages(&json).unwrap());
        let json = parsed(
            r#"[{"lc":1,"type":"constructor","id":["langchain","schema","messages","AIMessage"],
            "kwargs":{"content":"yo","type":"ai","id":"a1","tool_calls":[{"name":"f","args":{"x":1},
            "id":"c1","type":"tool_call"}],"usage_metadata":{"input_tokens":3,"output_tokens":4,
            "total_tokens":7}}},{"lc":1,"type":"constructor","id":["langchain","schema","messages",
            "ToolMessage"],"kwargs":{"content":"r","tool_call_id":"c1","status":"error"}}]"#,
        );
        check_call_and_result(&json.unwrap());
    }

    #[test]
    fn the_dicts_of_providers_are_read() {
        let json = parsed(
            r#"[{"role":"assistant","id":"a1","content":"yo","tool_calls":[{"id":"c1","type":
            "function","function":{"name":"f","arguments":"{\"x\":1}"}}],"usage":{"prompt_tokens":3,
            "completion_tokens":4}},{"role":"tool","tool_call_id":"c1","status":"error",
            "content":"r"}]"#,
        );
        let mut json = json.unwrap();
        assert_eq!(json[0].role, "assistant");
        "ai".clone_into(&mut json[0].role);
        check_call_and_result(&json);
        let blocks = parsed(
            r#"{"type":"ai","data":{"content":["a",{"type":"thinking","thinking":"hm"},
            {"type":"text","text":"b"},{"type":"tool_use","id":"c1","name":"f","input":{"x":1}},
            {"type":"image","data":"…"}]}}"#,
        );
        let message = blocks.unwrap().remove(0);
        assert_eq!(message.text(), "ab");
        assert_eq!(message.tool_calls[0].arguments.as_str(), r#"{"x":1}"#);
        let kinds: Vec<_> = message
            .content
            .iter()
            .map(|block| match block {
                Block::Text(text) => text.as_str(),
                Block::Reasoning(text) => text,
                Block::Other { kind, .. } => kind,
            })
            .collect();
        assert_eq!(kinds, ["a", "hm", "b", "image"]);
    }

    #[test]
    fn what_is_no_message_stays_a_value() {
        for json in [
            "[]",
            "[1]",
            "null",
            r#""human""#,
            r#"{"type":"human"}"#,
            r#"{"role":"cook","content":"soup"}"#,
            r#"{"type":"text","content":"a"}"#,
            r#"[{"role":"user","content":"hi"},{"other":1}]"#,
            r#"{"lc":2,"type":"constructor","id":["app","Invoice"],"kwargs":{"content":"x"}}"#,
        ] {
            assert_eq!(parsed(json), None, "{json}");
        }
    }

    #[test]
    fn a_call_that_could_not_be_read_says_so() {
        let json = parsed(
            r#"{"type":"ai","content":"","invalid_tool_calls":[{"name":"f","args":"{\"x\":",
            "id":"c1","error":"no JSON"}]}"#,
        );
        let call = &json.unwrap()[0].tool_calls[0];
        assert_eq!(call.error.as_deref(), Some("no JSON"));
        assert_eq!(call.arguments.as_str(), r#""{\"x\":""#);
    }
}
