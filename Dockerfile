# The mediator as an image. Targets: `mediator`, the default, with SQLite as its store, and `full`, which brings the extras
# kubernetes, postgresql and tracing besides. docs/how-to/image.md says how to build, check and run it.

# For a build that can be repeated, name it by its digest: --build-arg BASE=docker.io/library/python:3.13-slim-bookworm@sha256:...
ARG BASE=docker.io/library/python:3.13-slim-bookworm

# ---------------------------------------------------------------------------------------- the wheel of the mediator

FROM ${BASE} AS wheel
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# An index of your own; empty, pip's settings decide. Credentials belong into a mounted pip.conf, not into an argument.
ARG PIP_INDEX_URL=""
# Seconds since 1970 that are written wherever a build writes the time.
ARG SOURCE_DATE_EPOCH=1700000000
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONHASHSEED=0 \
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
WORKDIR /build
COPY deploy/image/tools.txt ./
RUN python -m venv tools && tools/bin/pip install --only-binary :all: --require-hashes -r tools.txt
COPY pyproject.toml README.md LICENSE source/
COPY bash_shim source/bash_shim
COPY mediator source/mediator
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./source

# --------------------------------------------------------------------------------- what goes into each of the targets

FROM wheel AS mediator-files
COPY deploy/image/assemble deploy/requirements.txt ./
RUN ./assemble requirements.txt

FROM wheel AS full-files
COPY deploy/image/assemble deploy/requirements-all.txt ./
RUN ./assemble requirements-all.txt

# ---------------------------------------------------------------------------------------------------- what they share

FROM ${BASE} AS runtime
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG SOURCE_DATE_EPOCH=1700000000
# tini reaps what `exec` leaves behind. The standard library is compiled because no script could do it on a read-only root,
# and then every script would compile what it imports at every start. Nothing of this needs rights that files give.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini=0.19.0-* \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/ldconfig/aux-cache \
    && find /var/log -type f -delete \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && PYTHONHASHSEED=0 python -m compileall -qf --invalidation-mode unchecked-hash \
        -x '/(ensurepip|idlelib|lib2to3|site-packages|test|turtledemo)/' "$(python -c 'import os; print(os.path.dirname(os.__file__))')" \
    && printf 'mediator:x:65532:65532:mediator:/tmp:/usr/sbin/nologin\n' >>/etc/passwd \
    && printf 'mediator:x:65532:\n' >>/etc/group \
    && install -d -m 775 -o 65532 -g 0 /var/lib/mediator \
    && install -d /scripts
COPY deploy/image/mediator.yaml /etc/mediator/
# Any user works, and a root that is read-only: it writes to /var/lib/mediator and /tmp alone.
ENV MEDIATOR_CONFIG=/etc/mediator/mediator.yaml \
    HOME=/tmp
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["tini", "--", "mediator"]
CMD ["serve"]
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["mediator", "health"]
ARG BASE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="mediator" \
    org.opencontainers.image.description="Carries Tufin SecureChange ticket events out of TOS Aurora and runs their scripts, losing none." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="${BASE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"

FROM runtime AS full
COPY --from=full-files /build/files/ /

FROM runtime AS mediator
COPY --from=mediator-files /build/files/ /
