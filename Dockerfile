# Keepwatch in a container: `keepwatch api`, `keepwatch worker` and `keepwatch migrate` are the commands to run (see docker-compose.yml).
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/keepwatch
# The packages first: their layer is made again only when the lock changes.
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-deps --require-hashes -r requirements/build.txt \
 && /opt/keepwatch/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY monitor monitor
COPY dashboards dashboards
COPY migrations migrations
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist \
 && /opt/keepwatch/bin/pip install --no-deps /dist/*.whl

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="Keepwatch" \
      org.opencontainers.image.description="Production model monitoring" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin keepwatch
COPY --from=build /opt/keepwatch /opt/keepwatch
ENV PATH=/opt/keepwatch/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 \
    MALLOC_ARENA_MAX=2 ARROW_DEFAULT_MEMORY_POOL=system
WORKDIR /data
VOLUME /data
USER 10001
EXPOSE 8000
# The slim image has no curl; Python is there.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["keepwatch"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
