"""App replicas of the load tests as processes of one machine, each with a name: they can be restarted."""

import asyncio
import os
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL
from contextlib import suppress
from pathlib import Path

from tests.fakes.instance import gone, until
from tests.fakes.pebble import free_port

ROOT = Path(__file__).parents[2]
# In place of systemd's: ends the process of a replica, and starts its new version.
_SYSTEMCTL = """\
#!/bin/sh
cd {directory}
kill -TERM $(cat $2.pid)
tail --pid=$(cat $2.pid) -f /dev/null
. ./$2.env
REPLICA_NAME=$2-new {python} -m loadtests.app >/dev/null 2>&1 &
echo $! >$2.pid
"""
# In place of `docker compose -f FILE exec --index N SERVICE python3 ...`: runs that for the replica SERVICEN.
_DOCKER = """\
#!/bin/sh
cd {directory}
shift 4
. ./$3$2.env
shift 4
exec {python} "$@"
"""


class ReplicaProcesses:
    """`addresses` by name. The folder `bin` has a `systemctl restart NAME` and a `docker compose exec`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.addresses: dict[str, str] = {}
        (directory / "bin").mkdir()
        for name, script in (("systemctl", _SYSTEMCTL), ("docker", _DOCKER)):
            file = directory / "bin" / name
            file.write_text(script.format(directory=shlex.quote(str(directory)), python=sys.executable))
            file.chmod(0o755)

    async def start(self, name: str) -> None:
        """The first version of a replica, on a port of its own, where it serves from then on."""
        port = free_port()
        address = f"127.0.0.1:{port}"
        environ = {"REPLICA_LISTEN": address, "REPLICA_SERVICE_TIME": "lognormal:5ms"}
        lines = [f"export {key}={value}\n" for key, value in environ.items()]
        (self._directory / f"{name}.env").write_text("".join(lines))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtests.app"),
            env={**os.environ, **environ, "REPLICA_NAME": f"{name}-old", "PYTHONPATH": str(ROOT)},
            stdout=DEVNULL,
        )
        (self._directory / f"{name}.pid").write_text(str(process.pid))
        self.addresses[name] = address

        async def serves() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await until(serves)

    async def end(self) -> None:
        """End all of them."""
        for file in self._directory.glob("*.pid"):
            pid = int(file.read_text())
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                await gone(pid)
