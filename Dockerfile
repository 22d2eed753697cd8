# One image; its command says what a container is: api | worker | relay | scheduler | migrate, or any other of `phananh`.
# DATABASE_URL, OWNER_DATABASE_URL (migrate only), REDIS_URL, PHANANH_STORAGE_URL and the four keys come from outside.
# `tools/replay_dockerfile.py` runs these very steps where there is no container engine.

FROM python:3.13-slim AS packages
WORKDIR /build
COPY deploy/requirements.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --quiet \
        --only-binary :all: --require-hashes -r requirements.lock

FROM python:3.13-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/phananh \
    PHANANH_VAR_DIR=/var/lib/phananh \
    PHANANH_ENVIRONMENT=production \
    PORT=8000
WORKDIR /srv/phananh
COPY --from=packages /opt/venv /opt/venv
COPY pyproject.toml ./
COPY migrations migrations
COPY packs packs
COPY workers workers
COPY app app
# The group may write, so that any uid of group 0 will do (as some platforms choose their own).
RUN python -m compileall -q app workers && mkdir -m 0770 /var/lib/phananh
USER 10001:0
EXPOSE 8000
# For the API. The other roles serve no HTTP: switch it off for them and let the platform watch the process.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=2)"]
ENTRYPOINT ["python", "-m", "app.cli"]
CMD ["api", "--host", "0.0.0.0"]
