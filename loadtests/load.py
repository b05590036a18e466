"""`make load`: Locust against a target for some seconds, by default against a demo that is started for it.

Its exit code is that of the verdict (`loadtests.verdict`), or 1 if the load could not be generated.
"""

import argparse
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEMO = "127.0.0.1", 8080  # the address of a demo that is already running
START_SECONDS = 30.0
STOP_SECONDS = 20.0
_SERVES = re.compile(r"balancer\s+(http://\S+?)/?\s*$")
_READY = "Ctrl-C stops everything."


class LoadError(Exception):
    """The load could not be generated; the message is one plain sentence."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the load; returns the exit code."""
    options = _parse(argv)
    try:
        if options.host:
            return _locust(options, options.host)
        with _demo() as url:
            return _locust(options, url)
    except LoadError as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.load",
        description="Load a target with Locust and judge the run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("host", nargs="?", help="the target, such as http://127.0.0.1:8080; default: a demo")
    seconds = os.environ.get("LOAD_TIME", "").removesuffix("s") or 20
    parser.add_argument("--seconds", type=int, default=seconds, help="seconds of load (or LOAD_TIME)")
    users = os.environ.get("LOAD_USERS") or 20
    parser.add_argument("--users", type=int, default=users, help="concurrent users (or LOAD_USERS)")
    parser.add_argument("--locust", default="locust", help="the command")
    options = parser.parse_args(argv)
    if options.host and not options.host.startswith(("http://", "https://")):
        parser.error(f"{options.host} is not a target URL; write http://{options.host}")
    return options


def _locust(options: argparse.Namespace, host: str) -> int:
    print(f"loading {host} with {options.users} users for {options.seconds} s", flush=True)
    command = [
        *(options.locust, "--locustfile", str(ROOT / "loadtests" / "locustfile.py")),
        *("--headless", "--only-summary", "--loglevel", "WARNING", "--stop-timeout", "10"),
        *("--users", str(options.users), "--spawn-rate", str(options.users)),
        *("--run-time", f"{options.seconds}s", "--host", host),
    ]
    try:
        return subprocess.call(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    except FileNotFoundError:
        raise LoadError(f"{options.locust} is not installed; `make load` installs it") from None


@contextmanager
def _demo() -> Iterator[str]:
    """The address of a demo: of a running one, otherwise of one that runs until the end of the block."""
    if _is_demo(*DEMO):
        yield "http://{}:{}".format(*DEMO)
        return
    command = [sys.executable, "-m", "balancer", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        watchdog = threading.Timer(START_SECONDS, process.terminate)
        watchdog.start()
        try:
            assert process.stdout is not None
            url = ""
            for line in process.stdout:
                if found := _SERVES.match(line):
                    url = found[1]
                if line.strip() == _READY:
                    break
            else:
                raise LoadError("the demo did not start; `make demo` shows why")
            watchdog.cancel()
            # Its table is not read, but it must not wait for a reader either.
            reader = threading.Thread(target=process.stdout.read, daemon=True)
            reader.start()
            yield url
        finally:
            watchdog.cancel()
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        reader.join(STOP_SECONDS)


def _is_demo(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().getheader("X-Replica") is not None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
