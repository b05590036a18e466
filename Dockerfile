# The balancer's image (the last stage, and so the default), and two more for demos and tests:
# `--target app`, the app replica of the compose file, and `--target load`, Locust with the load tests.
# It builds with BuildKit and with the older builder, and needs only a Python image.
ARG BASE_IMAGE=python:3.13-slim

# ---- the package's dependencies, in a virtual environment
FROM ${BASE_IMAGE} AS dependencies
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/venv
WORKDIR /build
COPY pyproject.toml .
# Only the dependencies, so that a code change does not reinstall them.
# The extra `acme` is for automatic certificates, `otel` for traces.
RUN python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
      extras = p['optional-dependencies']; \
      print(*p['dependencies'], *extras['acme'], *extras['otel'], sep='\n')" \
      > requirements.txt \
    && /opt/venv/bin/python -m pip install --only-binary :all: -r requirements.txt

# ---- the package itself, as plain Python, for the images of demos and tests
FROM dependencies AS installed
COPY LICENSE README.md build_backend.py setup.py ./
COPY balancer/ balancer/
RUN /opt/venv/bin/python -m pip install --no-deps .

# ---- the package with Locust
FROM installed AS installed-load
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['load'], sep='\n')" \
      > requirements-load.txt \
    && /opt/venv/bin/python -m pip install --only-binary :all: -r requirements-load.txt

# ---- common to all images. They run as a numeric user, so that Kubernetes can tell that it is not root.
FROM ${BASE_IMAGE} AS runtime
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv

# ---- the app replica
FROM runtime AS app
COPY --from=installed /opt/venv /opt/venv
COPY loadtests/ loadtests/
RUN python3 -m compileall -q loadtests
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=2s --start-period=10s --retries=2 CMD ["python3", "-I", "-S", "-c", \
    "import socket; s = socket.create_connection(('127.0.0.1', 8000), 1); s.sendall(b'GET /healthz HTTP/1.0\\r\\n\\r\\n'); assert b' 200 ' in s.recv(64)"]
ENTRYPOINT ["python3", "-m", "loadtests.app"]

# ---- Locust
FROM runtime AS load
COPY --from=installed-load /opt/venv /opt/venv
COPY loadtests/ loadtests/
RUN python3 -m compileall -q loadtests
USER 10001:10001
ENV PYTHONPATH=/srv
ENTRYPOINT ["locust", "--locustfile", "/srv/loadtests/locustfile.py"]

# ---- the package with its request path compiled. The compiler stays in this stage, the symbols for debuggers
# ---- too: `--target compiled` has them in /build/build/debug. (The older builder makes all stages above the one
# ---- it is asked for, so this one is below those that need no compiler.)
FROM dependencies AS compiled
# 0: plain Python, which is built in seconds.
ARG BUILD_COMPILED=1
RUN headers=$(python3 -c "import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path('include'), 'Python.h').exists())") \
    && apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends gcc libc6-dev $([ "$headers" = True ] || echo python3-dev) \
    && rm -rf /var/lib/apt/lists/*
COPY LICENSE README.md build_backend.py setup.py ./
COPY balancer/ balancer/
RUN BUILD_COMPILED=${BUILD_COMPILED} /opt/venv/bin/python -m pip install --no-deps .

# ---- the balancer
FROM runtime AS balancer
COPY --from=compiled /opt/venv /opt/venv
# For TLS__ACME__STORAGE: a volume that is mounted here for the first time gets this owner.
RUN install -d -m 700 -o 10001 -g 10001 /var/lib/balancer
USER 10001:10001
# On a loopback address Prometheus and probes outside the container could not reach the admin listener.
ENV BALANCER_ADMIN_LISTEN=0.0.0.0:9901
EXPOSE 8080 8443 9901
STOPSIGNAL SIGTERM
# A bare socket in an interpreter without site-packages: a third of the CPU time of urllib.
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s --retries=3 CMD ["python3", "-I", "-S", "-c", \
    "import os, socket; host, _, port = os.environ['BALANCER_ADMIN_LISTEN'].rpartition(':'); s = socket.create_connection((host.strip('[]') or '0.0.0.0', int(port)), 1); s.sendall(b'GET /healthz HTTP/1.0\\r\\n\\r\\n'); assert b' 200 ' in s.recv(64)"]
ENTRYPOINT ["balancer"]
