# Voxloop in a container:
#
#   docker build -t voxloop .
#   docker run -p 8000:8000 -v /data/studies:/studies voxloop
#
# The ONNX Runtime library is installed while building, so the container needs
# no network.
FROM golang:1.26-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=container
ARG COMMIT=unknown
RUN make build VERSION="$VERSION" COMMIT="$COMMIT"
RUN XDG_CACHE_HOME=/runtime bin/voxloop runtime install

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --create-home voxloop \
 && install -d -o voxloop -g voxloop /studies
COPY --from=build /src/bin/voxloop /usr/local/bin/voxloop
COPY --from=build --chown=voxloop:voxloop /runtime /home/voxloop/.cache
COPY LICENSE NOTICE /usr/share/doc/voxloop/
USER voxloop
VOLUME /studies
EXPOSE 8000
ENTRYPOINT ["voxloop"]
CMD ["serve", "--app", "radiology", "--studies", "/studies", "--host", "0.0.0.0"]
