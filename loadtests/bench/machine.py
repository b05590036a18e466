"""Where and with what was measured: machine, versions, commit."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from loadtests import builds
from loadtests.instructions import bounds

_VERSION = re.compile(r"\d+\.\d+(\.\d+)?\S*")
_COMMANDS = {
    "nginx": ("nginx", "-v"),
    "haproxy": ("haproxy", "-v"),
    "caddy": ("caddy", "version"),
    "wrk": ("wrk", "-v"),
    "openssl": ("openssl", "version"),
}
_PACKAGES = ("uvloop", "aiohttp")


def facts(names: Sequence[str]) -> dict[str, str]:
    """What a reader must know to repeat it, by what it is."""
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": f"{_processor(Path('/proc/cpuinfo').read_text())}, {os.cpu_count()} CPUs",
        "kernel": f"{platform.system()} {platform.release()}",
    }
    for name in (*names, "wrk", "openssl"):
        if name in _COMMANDS:
            found[name] = version(_output(_COMMANDS[name]))
    found["ours"] = str(bounds.running(_PACKAGES))
    return found


def version(text: str) -> str:
    """The first thing in a program's answer that looks like a version."""
    match = _VERSION.search(text)
    return match[0].rstrip(",") if match else "unknown"


def _processor(cpuinfo: str) -> str:
    line = next((one for one in cpuinfo.splitlines() if one.startswith("model name")), ": unknown processor")
    return line.partition(":")[2].strip()


def _commit() -> str:
    commit = _output(("git", "-C", str(builds.ROOT), "rev-parse", "--short=12", "HEAD")).strip()
    changed = _output(("git", "-C", str(builds.ROOT), "status", "--porcelain", "--", "balancer"))
    return f"{commit or 'unknown'}{' with changes' if changed else ''}"


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10.0, check=False)
    except OSError:
        return ""
    return done.stdout + done.stderr
