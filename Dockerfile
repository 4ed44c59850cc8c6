# syntax=docker/dockerfile:1
# docker build -t etl-worker . && docker run --rm etl-worker demo

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The SQL is checked against the committed .sqlx: a build needs no database.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package etl-worker \
    && cp target/release/etl-worker /usr/local/bin/etl-worker

# The C library and the root certificates, no shell, no package manager, nobody but user 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="etl-worker" \
      org.opencontainers.image.description="Reads login events from SQS, masks the personal fields, writes rows to Postgres" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/etl-worker/
COPY --from=build /usr/local/bin/etl-worker /usr/local/bin/etl-worker
# Of that user's own: `demo` writes its database here.
WORKDIR /home/nonroot
ENTRYPOINT ["/usr/local/bin/etl-worker"]
CMD ["--help"]
