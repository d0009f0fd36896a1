# The whole of Pulseboard as one small image: `docker build -t pulseboard .`, and then
# `docker run -p 3000:3000 -v pulseboard:/data pulseboard`. `cargo xtask image` makes the same without
# Docker.
FROM rust:1.95-bookworm AS build
# npm is for wasm-opt only, which makes the page a quarter smaller; musl-tools compiles what is C.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nodejs npm musl-tools \
    && rm -rf /var/lib/apt/lists/*
# The image's own compiler, whatever `rust-toolchain.toml` would fetch.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN cargo xtask image --root-only

FROM scratch
COPY --from=build /src/target/image/root/etc /etc
COPY --from=build /src/target/image/root/usr /usr
COPY --from=build --chown=65532:65532 /src/target/image/root/data /data
# Inside a container loopback is nobody's; what is published is decided by `docker run -p`.
ENV BIND_ADDR=0.0.0.0:3000 DATA_DIR=/data
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 3000
# To be admin: the link in the log of the start, or `docker exec CONTAINER pulseboard admin-link`.
# Tells the viewers, finishes what is under way and ends within ten seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s CMD ["/usr/local/bin/pulseboard", "ready"]
ENTRYPOINT ["/usr/local/bin/pulseboard"]
