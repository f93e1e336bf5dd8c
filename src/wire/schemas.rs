//! How the types that are text, or any JSON, stand in the OpenAPI document.

use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::codec::RawJson;
use crate::id::{CheckpointId, CheckpointNamespace, RunId, TaskId, ThreadId};

macro_rules! ids {
    ($($id:ty, $least:literal, $says:literal;)*) => {
        $(
            impl PartialSchema for $id {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new()
                        .schema_type(Type::String)
                        .min_length(Some($least))
                        .max_length(Some(crate::id::MAX_ID_BYTES))
                        .description(Some($says))
                        .into()
                }
            }

            impl ToSchema for $id {}
        )*
    };
}

ids! {
    ThreadId, 1, "The id of a thread.";
    CheckpointNamespace, 0, "A namespace; \"\" is that of the root graph.";
    CheckpointId, 1, "The id of a checkpoint; ids are ordered byte for byte.";
    TaskId, 1, "The id of a task.";
    RunId, 1, "The id of a run.";
}

impl PartialSchema for RawJson {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Any JSON, kept as it is."))
            .into()
    }
}

impl ToSchema for RawJson {}

/// Bytes as text: standard base64, with its padding.
pub(crate) struct Base64;

impl PartialSchema for Base64 {
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

impl ToSchema for Base64 {}
