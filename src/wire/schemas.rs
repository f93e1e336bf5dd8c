//! The OpenAPI schemas of types that are text or any JSON.

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{Count, MAX_NAME_CHARS, MAX_PATH_CHARS, Milliseconds, Positive};
use crate::codec::RawJson;
use crate::id::{CheckpointId, CheckpointNamespace, MAX_ID_BYTES, RunId, TaskId, ThreadId};
use crate::options::MAX_TTL;

/// Namespaces are part of keys. A NUL ends a key for RediSearch, and `__empty__` stands for the
/// root namespace.
const NAMESPACE: &str = r"^(?!__empty__$)[^\x00]*$";

macro_rules! texts {
    ($($text:ty, $least:literal to $most:expr, $pattern:expr, $says:literal;)*) => {
        $(
            impl PartialSchema for $text {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new()
                        .schema_type(Type::String)
                        .min_length(($least > 0).then_some($least))
                        .max_length(Some($most))
                        .pattern($pattern)
                        .description(Some($says))
                        .into()
                }
            }

            impl ToSchema for $text {}
        )*
    };
}

/// The id of a checkpoint, or none.
pub(crate) struct AnyId;
/// An id under `/checkpoints`.
pub(crate) struct ShortId;
/// A name under `/checkpoints`.
pub(crate) struct ShortName;
/// A version under `/checkpoints`.
pub(crate) struct ShortVersion;
/// A path under `/checkpoints`.
pub(crate) struct ShortPath;
/// A namespace under `/checkpoints`.
pub(crate) struct ShortNamespace;

texts! {
    ThreadId, 1 to MAX_ID_BYTES, None::<&str>, "The id of a thread.";
    CheckpointNamespace, 0 to MAX_ID_BYTES, Some(NAMESPACE),
        "A namespace; \"\" is that of the root graph.";
    CheckpointId, 1 to MAX_ID_BYTES, None::<&str>,
        "The id of a checkpoint; ids are ordered byte for byte.";
    TaskId, 1 to MAX_ID_BYTES, None::<&str>, "The id of a task.";
    RunId, 1 to MAX_ID_BYTES, None::<&str>, "The id of a run.";
    AnyId, 0 to MAX_ID_BYTES, None::<&str>, "The id of a checkpoint; \"\" is none.";
    ShortId, 1 to MAX_NAME_CHARS, None::<&str>, "The id of a thread, a checkpoint or a task.";
    ShortName, 0 to MAX_NAME_CHARS, None::<&str>, "The name of a channel or of a type.";
    ShortVersion, 1 to MAX_NAME_CHARS, None::<&str>, "The version of a channel.";
    ShortPath, 0 to MAX_PATH_CHARS, None::<&str>, "The path of a task.";
    ShortNamespace, 0 to MAX_PATH_CHARS, Some(NAMESPACE),
        "A namespace; \"\" is that of the root graph.";
}

/// An integer.
pub(crate) struct Int64;

macro_rules! integers {
    ($($integer:ty, $least:expr, $most:expr;)*) => {
        $(
            impl PartialSchema for $integer {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new()
                        .schema_type(Type::Integer)
                        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                        .minimum(Some($least))
                        .maximum(Some($most))
                        .into()
                }
            }

            impl ToSchema for $integer {}
        )*
    };
}

integers! {
    Int64, isize::MIN, isize::MAX;
    Count, 0_isize, isize::MAX;
    Positive, 1_isize, isize::MAX;
    Milliseconds, 1_isize, longest();
}

fn longest() -> isize {
    isize::try_from(MAX_TTL.as_millis()).unwrap_or(isize::MAX)
}

/// A config that names a checkpoint.
#[allow(dead_code)] // Its schema alone is used: `Config` reads it.
#[derive(ToSchema)]
pub(crate) struct ConfigOfCheckpoint {
    thread_id: ThreadId,
    checkpoint_ns: Option<CheckpointNamespace>,
    checkpoint_id: CheckpointId,
    run_id: Option<RunId>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<RawJson>,
}

/// A checkpoint with the members that the saver reads; others are stored verbatim.
pub(crate) struct CheckpointObject;

impl PartialSchema for CheckpointObject {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("id", CheckpointId::schema())
            .property(
                "channel_values",
                ObjectBuilder::new().schema_type(Type::Object),
            )
            .required("id")
            .into()
    }
}

impl ToSchema for CheckpointObject {}

impl PartialSchema for RawJson {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Any JSON, returned verbatim."))
            .into()
    }
}

impl ToSchema for RawJson {}

/// Bytes in standard base64 with padding.
pub(crate) struct Base64Text;

impl PartialSchema for Base64Text {
    fn schema() -> RefOr<Schema> {
        let pattern = "^([A-Za-z0-9+/]{4})*\
            ([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
        ObjectBuilder::new()
            .schema_type(Type::String)
            .content_encoding("base64")
            .pattern(Some(pattern))
            .into()
    }
}

impl ToSchema for Base64Text {}
