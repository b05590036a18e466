"""Starts a server of a kind with its app; ends it with the block."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests.processes import free_ports
from loadtests.proxies import nginx
from tests.corpus import readings
from tests.corpus.readings import Reading

_HERE = Path(__file__).parent
_APPS = "tests.fakes.readers.apps"
PATIENCE = 20.0  # seconds

# Kinds of servers with their model. Node needs not be there: it is not among the packages of the tests.
SERVERS: dict[str, Reading] = {
    "aiohttp": readings.aiohttp,
    "uvicorn": readings.uvicorn,
    "gunicorn": readings.decoded,
    "wsgiref": readings.decoded,
    "nginx": readings.nginx,
    **({"node": readings.node} if shutil.which("node") else {}),
}


def _command(kind: str, port: int, directory: Path) -> list[str]:
    python = sys.executable
    commands = {
        "aiohttp": [python, "-m", _APPS, "aiohttp", str(port)],
        "wsgiref": [python, "-m", _APPS, "wsgiref", str(port)],
        "uvicorn": [python, "-m", "uvicorn", f"{_APPS}:asgi", "--port", str(port), "--lifespan", "off",
                    "--log-level", "error"],
        "gunicorn": [python, "-m", "gunicorn", f"{_APPS}:wsgi", "--bind", f"127.0.0.1:{port}",
                     "--threads", "4", "--limit-request-line", "0", "--log-level", "error",
                     "--worker-tmp-dir", str(directory)],
        "node": ["node", str(_HERE / "app.js"), str(port)],
    }  # fmt: skip
    if kind == "nginx":
        return [*nginx(_HERE / "nginx.conf.template", directory, port=str(port)).argv]
    return commands[kind]


@contextmanager
def server(kind: str, directory: Path) -> Iterator[int]:
    """The port of a server that answers with the paths that it sees."""
    (port,) = free_ports(1)
    with (directory / "output").open("w") as output:
        process = subprocess.Popen(
            _command(kind, port, directory), stdout=output, stderr=output, cwd=Path(__file__).parents[3]
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                text = (directory / "output").read_text()
                assert process.poll() is None, f"{kind} has ended: {text}"
                assert time.monotonic() < deadline, f"{kind} does not listen: {text}"
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)
