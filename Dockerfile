FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked \
    && install -D -s target/release/trainyard /out/trainyard \
    && install -d /out/data

# Only the C library, no shell and no package manager; runs as the user 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/trainyard /usr/local/bin/trainyard
# A new volume takes over the owner of the folder it is mounted on.
COPY --from=build --chown=nonroot:nonroot /out/data /data
ENV TRAINYARD_BIND=0.0.0.0:8080 \
    TRAINYARD_DATA_DIR=/data \
    TRAINYARD_LOG_FORMAT=json
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["trainyard"]
CMD ["serve"]
