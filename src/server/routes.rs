//! Which endpoint is where.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    ResponseBuilder, SecurityRequirement,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::state::AppState;
use super::{ServerOptions, auth, checkpoints, middleware, operations, telemetry, v1};
use crate::blobs::BlobStore;
use crate::error::Result;

/// The service as a router, for programs that serve it in a way of their own: the limits on
/// connections and on slow clients are then theirs. [`serve`](super::serve) is the paved path.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if the options cannot be, as
/// [`ServerOptions::check`].
pub fn router(saver: impl BlobStore, options: &ServerOptions) -> Result<Router> {
    Ok(over(&AppState::new(Arc::new(saver), options)?))
}

/// The OpenAPI document of the service, as JSON; it is served at `/openapi.json` as well.
///
/// # Errors
/// None in practice: the document has a JSON form.
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
    close_choices(&mut document);
    document
        .to_pretty_json()
        .map_err(|error| crate::Error::invalid("the OpenAPI document", error.to_string()))
}

pub(super) fn over(state: &AppState) -> Router {
    telemetry::collector();
    let mut measured: Router<AppState> = measured().split_for_parts().0;
    if !state.options.open_metrics {
        measured = measured.layer(from_fn_with_state(state.clone(), auth::authenticate));
    }
    let private: Router<AppState> = private().split_for_parts().0;
    // What is outermost comes last: who it is, then whether there is a turn.
    let private = private
        .layer(from_fn_with_state(state.clone(), middleware::take_turn))
        .layer(from_fn_with_state(state.clone(), auth::authenticate));
    let document = openapi().map_err(Problem::from);
    let document = document.unwrap_or_default();
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
                "the endpoint has another method",
            )
        })
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such endpoint"))
        .layer(from_fn(middleware::tell))
        .with_state(state.clone())
}

/// What needs no key.
fn public() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(operations::healthz))
        .routes(routes!(operations::readyz))
}

/// What needs a key, unless the options say otherwise.
fn measured() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(operations::metrics))
}

/// What needs a key and takes a turn.
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

/// A choice with a value has that one member; others would be another choice.
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

/// What any request with a key may be answered.
fn add_common_problems(document: &mut OpenApi) {
    let body = Ref::from_schema_name("ProblemBody");
    for operation in document.paths.paths.values_mut() {
        let Some(operation) = &mut operation.post else {
            continue;
        };
        for (status, description) in [
            ("400", "The body ended before it was whole"),
            ("401", "There is no key, or one that is not known"),
            ("404", "The key does not reach the thread"),
            ("408", "The body took too long"),
            ("413", "The body, or a document of it, is too large"),
            ("415", "The body does not say that it is JSON"),
            ("500", "The request failed"),
            (
                "503",
                "Too many requests are served, or the store cannot be reached",
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
        .description(Some(
            "Keeps the state of LangGraph threads. Every request may be answered 401 without a \
             key, 413 for a body that is too large, 415 for one that is not JSON, 408 for one \
             that takes too long, 503 with Retry-After when too many are served, 504 when the \
             store takes too long, and 500 when it fails.",
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
    let frame = OpenApiBuilder::new()
        .info(info.build())
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
