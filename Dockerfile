# The whole of Pulseboard as one small image: `docker build -t pulseboard .`, and then
# `docker run -p 3000:3000 -v pulseboard:/data pulseboard`.
FROM rust:1.95-bookworm AS build
# npm is for wasm-opt only, which makes the page a quarter smaller; the C compiler that zstd needs
# is there already.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends nodejs npm \
    && rm -rf /var/lib/apt/lists/*
# The image's own compiler, whatever `rust-toolchain.toml` would fetch.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN cargo xtask build && mkdir -m 700 /data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/pulseboard /usr/local/bin/pulseboard
COPY --from=build --chown=nonroot:nonroot /data /data
# Inside a container loopback is nobody's; what is published is decided by `docker run -p`.
ENV BIND_ADDR=0.0.0.0:3000 DATA_DIR=/data
WORKDIR /data
VOLUME /data
EXPOSE 3000
# To be admin: the link in the log of the start, or `docker exec CONTAINER pulseboard admin-link`.
# Tells the viewers, finishes what is under way and ends within ten seconds.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/pulseboard"]
