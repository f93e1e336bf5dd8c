//! What is running: the version, the revision and the compiler.

/// Sets the metric that says what is running.
pub(super) fn record() {
    metrics::describe_gauge!(
        "langgraph_redis_build_info",
        "Always 1; its labels say which version runs, of which revision, built by which compiler"
    );
    metrics::gauge!(
        "langgraph_redis_build_info",
        "version" => env!("CARGO_PKG_VERSION"),
        "revision" => env!("BUILD_REVISION"),
        "rustc" => env!("BUILD_RUSTC"),
    )
    .set(1.0);
}
