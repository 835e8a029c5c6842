# VFolder's images: the operator, the node plugin, and simulated arrays to try both without one.
#
#     docker build --target operator --tag vfolder-operator .
#     docker build --target csi --tag vfolder-csi .
#     docker build --target sim --tag vfolder-sim .
#
# BASE is any Debian with Python 3.11 or newer and its venv module.
ARG BASE=docker.io/library/python:3.13-slim-bookworm


# pip and the build backend; neither gets into an image.
FROM ${BASE} AS tools
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements-build.lock ./
RUN python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --requirement requirements-build.lock


FROM tools AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY backends backends
COPY csi csi
COPY operator operator
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist .


# Dependencies come before the wheel, so that a change of the sources installs only the wheel.
FROM tools AS operator-venv
COPY requirements-operator.lock ./
RUN python3 -m venv --without-pip /opt/vfolder \
    && /opt/tools/bin/pip --python /opt/vfolder/bin/python install \
        --require-hashes --no-deps --requirement requirements-operator.lock
COPY --from=wheel /dist /dist
RUN /opt/tools/bin/pip --python /opt/vfolder/bin/python install --no-deps --no-index /dist/*.whl


FROM tools AS csi-venv
COPY requirements-csi.lock ./
RUN python3 -m venv --without-pip /opt/vfolder \
    && /opt/tools/bin/pip --python /opt/vfolder/bin/python install \
        --require-hashes --no-deps --requirement requirements-csi.lock
COPY --from=wheel /dist /dist
RUN /opt/tools/bin/pip --python /opt/vfolder/bin/python install --no-deps --no-index /dist/*.whl


FROM tools AS sim-venv
COPY requirements-sim.lock ./
RUN python3 -m venv --without-pip /opt/vfolder \
    && /opt/tools/bin/pip --python /opt/vfolder/bin/python install \
        --require-hashes --no-deps --requirement requirements-sim.lock
COPY --from=wheel /dist /dist
RUN /opt/tools/bin/pip --python /opt/vfolder/bin/python install --no-deps --no-index /dist/*.whl


FROM ${BASE} AS operator
LABEL org.opencontainers.image.title="vfolder-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/vfolder/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=operator-venv /opt/vfolder /opt/vfolder
USER 65532:65532
ENTRYPOINT ["vfolder-operator"]


FROM ${BASE} AS sim
LABEL org.opencontainers.image.title="vfolder-sim" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/vfolder/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=sim-venv /opt/vfolder /opt/vfolder
ENTRYPOINT ["vfolder-sim"]


# The node plugin mounts, so it runs as root; the chart takes from it what it does not need.
FROM ${BASE} AS csi
LABEL org.opencontainers.image.title="vfolder-csi" \
      org.opencontainers.image.licenses="Apache-2.0"
# One arena: the few threads that wait for storages need no memory pools of their own.
ENV PATH=/opt/vfolder/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=1
# A base that has the NFS helper already (the local cluster's) is taken as it is.
RUN command -v mount.nfs >/dev/null \
    || { apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates mount netbase nfs-common \
        && rm -rf /var/lib/apt/lists/*; }
# What mount.nfs would start with it for version 3 would end with the node plugin.
RUN rm -f /usr/sbin/start-statd
COPY --from=csi-venv /opt/vfolder /opt/vfolder
ENTRYPOINT ["vfolder-csi"]
