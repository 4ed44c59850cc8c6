# syntax=docker/dockerfile:1
# docker build -t etl-worker . && docker run --rm etl-worker demo
# docker build -t etl-admin --target admin . && docker run --rm etl-admin --help
# Keys that keygen makes must outlive the container, and be whose they are to be:
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/home/nonroot" etl-admin keygen

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The SQL is checked against the committed .sqlx: a build needs no database.
ENV SQLX_OFFLINE=true
# What etl_build_info tells as the commit: --build-arg BUILD_COMMIT="$(git rev-parse --short HEAD)". There is no .git here.
ARG BUILD_COMMIT=unknown
ENV BUILD_COMMIT=$BUILD_COMMIT
# With every place that a masking key can come from.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --package etl-worker --package etl-admin \
      --features etl-worker/otlp,etl-worker/secrets-manager,etl-worker/kms,etl-admin/secrets-manager,etl-admin/kms \
    && cp target/dist/etl-worker target/dist/etl-admin /usr/local/bin/

# The C library and the root certificates, no shell, no package manager, nobody but user 65532.
FROM gcr.io/distroless/cc-debian12:nonroot AS base
LABEL org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/fetch-etl/
# Of that user's own: `demo` writes its database here, `keygen` its keys. They are gone with the container unless a directory is
# mounted here.
WORKDIR /home/nonroot
# By number, so that a cluster can see that it is not root.
USER 65532:65532
CMD ["--help"]

# An image of its own: it works with a key that the worker's must never see.
FROM base AS admin
LABEL org.opencontainers.image.title="etl-admin" \
      org.opencontainers.image.description="Keys, the quarantine and dead letters of etl-worker"
COPY --from=build /usr/local/bin/etl-admin /usr/local/bin/etl-admin
ENTRYPOINT ["/usr/local/bin/etl-admin"]

FROM base AS worker
LABEL org.opencontainers.image.title="etl-worker" \
      org.opencontainers.image.description="Reads login events from SQS, masks the personal fields, writes rows to Postgres"
COPY --from=build /usr/local/bin/etl-worker /usr/local/bin/etl-worker
# /metrics, /live and /ready; the container's network decides who gets there.
ENV ETL_TELEMETRY__LISTEN=0.0.0.0:9600
EXPOSE 9600
# There is no curl: the worker asks itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/etl-worker", "health"]
ENTRYPOINT ["/usr/local/bin/etl-worker"]
