"""The cases with TLS: every proxy chooses the same suite, and full handshakes are served."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.bench import contenders, tls
from loadtests.bench.setup import Place, Setup
from loadtests.builds import plain
from loadtests.processes import Processes, free_ports
from tests.fakes.app_replica import app_replica

pytestmark = pytest.mark.integration

CLIENTS = [sys.executable, "-m", "loadtests.bench.generators.tls_clients"]
NAMES = contenders.installed(("nginx", "haproxy", "ours"))


def run(*words: object) -> str:
    done = subprocess.run(
        [*CLIENTS, *map(str, words)], env=plain().environment(), capture_output=True, text=True, timeout=60.0
    )
    return done.stdout if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("name", NAMES)
async def test_every_proxy_serves_new_connections_with_the_same_suite(name: str, tmp_path: Path) -> None:
    async with app_replica("hello") as app:
        port, spare = free_ports(2)
        place = Place(tmp_path, port, spare, [app.port], tls.certificate(tmp_path))
        launch = contenders.launch(name, place, Setup(tls=True))
        with Processes(tmp_path) as processes:
            pid = processes.start(name, launch.argv, None, launch.environment)
            await asyncio.to_thread(processes.wait_for_body, name, pid, port, len("hello"), tls.client())
            await asyncio.to_thread(tls.require_suite, name, port)
            seen = json.loads(await asyncio.to_thread(run, "new", port, 4, 0.2))
    assert seen["requests"] >= 4
    assert 0.0 < seen["p50"] <= seen["p99"]
