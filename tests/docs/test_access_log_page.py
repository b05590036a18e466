"""docs/access-log.md names every field and format, and its commands find what it says."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from balancer.config.access_log import AccessLogSettings
from balancer.telemetry.access_log import FORMATS
from balancer.telemetry.log_line import FIELDS

_PAGE = (Path(__file__).parents[2] / "docs/access-log.md").read_text(encoding="utf-8")
_COMMANDS = re.findall(r"^```sh\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| (`.*?) \| .* \|$", re.MULTILINE)

SERVED = {"status": 200, "upstream": "app2:80", "duration": 0.02, "first_byte": 0.01, "request_id": "a"}
RETRIED = SERVED | {"failures": [{"upstream": "app1:80", "reason": "connect_refused", "after": 0.001}]}
REFUSED = {"status": 503, "reason": "queue_full", "source": "balancer", "duration": 0.0}
SLOW = SERVED | {"target": "/slow", "duration": 0.75, "queue": 0.5}
OLD = [SERVED | {"side": "old", "first_byte": number / 1000} for number in range(100)]
NEW = [SERVED | {"side": "new", "first_byte": 0.5}]


def _tables() -> list[list[str]]:
    """What the first cells of each table name."""
    tables = []
    for part in _PAGE.split("|---|---|\n")[1:]:
        rows = _ROW.findall(part.split("\n\n")[0] + "\n")
        tables.append([name for cell in rows for name in re.findall(r"`(\w+)`", cell)])
    return tables


def test_the_table_names_every_field_once() -> None:
    fields, formats = _tables()
    assert sorted(fields) == sorted(FIELDS)
    assert tuple(formats) == FORMATS


def test_every_format_can_be_set() -> None:
    assert [AccessLogSettings.model_validate({"format": name}).format for name in FORMATS] == list(FORMATS)


def _answer(command: str, lines: list[dict[str, Any]], folder: Path) -> list[str]:
    (folder / "access.log").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-ec", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return [line.strip() for line in ran.stdout.splitlines()]


@pytest.mark.skipif(shutil.which("jq") is None, reason="without jq")
def test_commands_find_what_the_page_says(tmp_path: Path) -> None:
    reasons, failures, slow, sides = _COMMANDS
    lines = [SERVED, RETRIED, REFUSED, REFUSED, SLOW, *OLD, *NEW]
    assert _answer(reasons, lines, tmp_path) == ["2 balancer\tqueue_full\t-"]
    assert _answer(failures, lines, tmp_path) == ["1 app1:80\tconnect_refused"]
    (found,) = (json.loads(line) for line in _answer(slow, lines, tmp_path))
    assert (found["target"], found["duration"], found["queue"]) == ("/slow", 0.75, 0.5)
    p95 = {one["side"]: (one["n"], one["p95"]) for one in map(json.loads, _answer(sides, lines, tmp_path))}
    assert p95 == {"old": (100, 0.095), "new": (1, 0.5)}
