# The command line and the HTTP service: one static binary, and the system's certificate authorities.
#
#   docker build -t langgraph-redis --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker run -p 8080:8080 -e REDIS_URL -e LANGGRAPH_REDIS_API_KEYS langgraph-redis

FROM rust:1.95-alpine AS build
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /source
COPY . .
ARG REVISION=unknown
RUN LANGGRAPH_REDIS_REVISION="$REVISION" cargo build --release --locked --features cli,server,otlp --bin langgraph-redis

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /source/target/release/langgraph-redis /usr/local/bin/
USER 65532:65532
# In the environment, where the one of `docker run` comes before it.
ENV LANGGRAPH_REDIS_SERVE_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s CMD ["/usr/local/bin/langgraph-redis", "health"]
ENTRYPOINT ["/usr/local/bin/langgraph-redis"]
CMD ["serve"]
