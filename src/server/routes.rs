//! The routes and the OpenAPI document.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, ResponseBuilder, SecurityRequirement,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::options::ServerOptions;
use super::problem::Problem;
use super::state::AppState;
use super::{auth, checkpoints, inspector, middleware, operations, scopes, telemetry, trace, v1};
use crate::blobs::BlobStore;
use crate::error::Result;

/// The service as an axum router, for programs that serve it themselves.
///
/// The limits on connections and slow clients are then theirs; [`serve`](super::serve) has them.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if the options are not valid; see
/// [`ServerOptions::check`].
pub fn router(saver: impl BlobStore, options: &ServerOptions) -> Result<Router> {
    Ok(over(&AppState::new(Arc::new(saver), options)?))
}

/// The OpenAPI document of the service as JSON, which is also served at `/openapi.json`.
///
/// # Errors
/// None in practice: the document can always be serialized.
///
/// ```
/// let document = langgraph_checkpoint_redis::server::openapi()?;
/// assert!(document.contains("/checkpoints/get-tuple"));
/// # Ok::<(), langgraph_checkpoint_redis::Error>(())
/// ```
pub fn openapi() -> Result<String> {
    let (_, paths) = public().split_for_parts();
    let mut document = described(paths);
    let mut needs_key = private().split_for_parts().1;
    add_common_problems(&mut needs_key);
    document.merge(needs_key);
    document.merge(measured().split_for_parts().1);
    scopes::describe(&mut document);
    close_choices(&mut document);
    name_operations(&mut document);
    document
        .to_pretty_json()
        .map_err(|error| crate::Error::invalid("the OpenAPI document", error.to_string()))
}

pub(super) fn over(state: &AppState) -> Router {
    telemetry::collector();
    if let Some(token) = state.options.inspector_alone {
        return inspector::alone(state, token)
            .layer(from_fn_with_state(state.clone(), trace::trace));
    }
    let mut measured: Router<AppState> = measured().split_for_parts().0;
    if !state.options.open_metrics {
        measured = measured.layer(from_fn_with_state(state.clone(), auth::authenticate));
    }
    let private: Router<AppState> = private().split_for_parts().0;
    // The layer added last runs first: a request is authenticated before it takes a permit.
    let private = private
        .layer(from_fn(trace::watch))
        .layer(from_fn_with_state(state.clone(), middleware::limit))
        .layer(from_fn_with_state(state.clone(), auth::authenticate));
    let document = openapi().map_err(Problem::from);
    let document = document.unwrap_or_default();
    let pages = state.options.inspector.then(|| inspector::beside(state));
    Router::new()
        .merge(public().split_for_parts().0)
        .merge(measured)
        .merge(private)
        .route(
            "/openapi.json",
            get(async move || super::body::typed(document.into(), "application/json")),
        )
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "the endpoint does not support this method",
            )
        })
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such endpoint"))
        .with_state(state.clone())
        .merge(pages.unwrap_or_default())
        .layer(from_fn_with_state(state.clone(), trace::trace))
}

/// The routes that need no key.
fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
}

/// The routes that need a key unless `open_metrics` is set.
fn measured() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(operations::metrics))
}

/// The routes that need a key and count towards `max_in_flight`.
fn private() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(checkpoints::get_tuple))
        .routes(routes!(checkpoints::put))
        .routes(routes!(checkpoints::put_writes))
        .routes(routes!(checkpoints::list))
        .routes(routes!(checkpoints::delete_thread))
        .routes(routes!(v1::setup))
        .routes(routes!(v1::put))
        .routes(routes!(v1::put_writes))
        .routes(routes!(v1::get_tuple))
        .routes(routes!(v1::list))
        .routes(routes!(v1::delete_thread))
        .routes(routes!(v1::delete_for_runs))
        .routes(routes!(v1::copy_thread))
        .routes(routes!(v1::prune))
        .routes(routes!(v1::delta_channel_history))
        .routes(routes!(v1::threads))
        .routes(routes!(v1::touch))
        .routes(routes!(v1::pin))
        .routes(routes!(v1::unpin))
}

/// An alternative of an enum is an object with one member: no others are allowed.
fn close_choices(document: &mut OpenApi) {
    let schemas = document.components.iter_mut();
    for schema in schemas.flat_map(|components| components.schemas.values_mut()) {
        let RefOr::T(Schema::OneOf(choices)) = schema else {
            continue;
        };
        for choice in &mut choices.items {
            if let RefOr::T(Schema::Object(object)) = choice
                && !object.properties.is_empty()
            {
                let none = AdditionalProperties::FreeForm(false);
                object.additional_properties = Some(Box::new(none));
            }
        }
    }
}

/// Puts the tag of an operation before its id: the same method is under `/checkpoints` and `/v1`.
fn name_operations(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            let tag = operation.tags.iter().flatten().next();
            if let (Some(tag), Some(id)) = (tag, &operation.operation_id) {
                operation.operation_id = Some(format!("{tag}_{id}"));
            }
        }
    }
}

/// Adds the error responses that every route with a key may have.
fn add_common_problems(document: &mut OpenApi) {
    let body = Ref::from_schema_name("ProblemBody");
    for operation in document.paths.paths.values_mut() {
        let Some(operation) = &mut operation.post else {
            continue;
        };
        for (status, description) in [
            ("400", "The body is incomplete"),
            ("401", "The API key is missing, unknown or has expired"),
            ("403", "The key does not have the scope"),
            ("404", "The key does not reach the thread"),
            ("408", "The body took too long to arrive"),
            ("413", "The body or a document in it is too large"),
            ("415", "The content type is not JSON"),
            ("429", "The request exceeds a limit of the key"),
            ("500", "The request failed"),
            (
                "503",
                "Too many concurrent requests or too many bytes in bodies, or the store is unavailable",
            ),
            ("504", "The request took too long"),
        ] {
            let mut response = ResponseBuilder::new().description(description);
            if status != "401" {
                let content = ContentBuilder::new().schema(Some(body.clone())).build();
                response = response.content("application/json", content);
            }
            let responses = &mut operation.responses.responses;
            let response = RefOr::T(response.build());
            responses.entry(status.to_owned()).or_insert(response);
        }
    }
}

fn described(mut document: OpenApi) -> OpenApi {
    let info = InfoBuilder::new()
        .title("LangGraph checkpoints in Redis")
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(
            LicenseBuilder::new()
                .name("MIT")
                .identifier(Some("MIT"))
                .build(),
        ))
        .description(Some(
            "Stores the checkpoints of LangGraph threads. Any request may be answered 401 \
             (no API key), 408 (the body takes too long to arrive), 413 (the body is too \
             large), 415 (the body is not JSON), 500 (the request failed), 503 with \
             Retry-After (too many concurrent requests, or the store is unavailable) or 504 \
             (the request takes too long).",
        ));
    let components = ComponentsBuilder::new()
        .security_scheme(
            "agent_api_key",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(auth::API_KEY_HEADER))),
        )
        .security_scheme(
            "bearer",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        );
    let here = ServerBuilder::new()
        .url("/")
        .description(Some("Where this document is served"));
    let tags = [
        ("checkpoints", "What scale-agentex's client calls"),
        ("v1", "Every method of the saver"),
        ("operations", "Health and metrics"),
    ];
    let tags = tags.map(|(name, description)| {
        TagBuilder::new()
            .name(name)
            .description(Some(description))
            .build()
    });
    let frame = OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([here.build()]))
        .tags(Some(tags))
        .components(Some(components.build()))
        .security(Some(["agent_api_key", "bearer"].map(|name| {
            SecurityRequirement::new::<_, [String; 0], String>(name, [])
        })))
        .build();
    let mut framed = frame;
    document.info = framed.info.clone();
    framed.merge(document);
    framed
}
