# Two images for docker-compose.yaml: `service`, which is this service alone, and `store`, its S3 store.

FROM python:3.11.15-slim AS build
WORKDIR /src
COPY constraints-image.txt ./
RUN python -m venv /opt/drs \
 && /opt/drs/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement constraints-image.txt
COPY pyproject.toml README.md LICENSE ./
COPY db ./db
COPY drs_service ./drs_service
COPY worker ./worker
# --no-deps: the embedded PostgreSQL, 73 MB, is left out.
RUN /opt/drs/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM dxflrs/garage:v2.4.1 AS garage

# Garage comes without a shell, which is what can read a secret, and as root, to whom a new volume would belong.
FROM busybox:1.37.0 AS store
COPY --from=garage /garage /usr/local/bin/garage
RUN mkdir -p /var/lib/garage && chown 10002:10002 /var/lib/garage
ENV PATH=/usr/local/bin:/bin
USER 10002:10002
CMD ["garage", "server"]

FROM python:3.11.15-slim AS service
COPY --from=build /opt/drs /opt/drs
RUN mkdir /spool && chown 10001:10001 /spool
ENV PATH=/opt/drs/bin:/usr/local/bin:/usr/bin:/bin TMPDIR=/spool
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["drs-service"]
CMD ["serve"]
