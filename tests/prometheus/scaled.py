"""The shipped rules in a hurry: they look at seconds instead of minutes, so that a test can wait."""

import json
import re
from pathlib import Path
from typing import Any

from tests.prometheus.rules import FILES, read

# Ranges and offsets are divided by WINDOWS, but have room for four scrapes; how long something must last is
# divided by LASTS.
WINDOWS = 60
LASTS = 300
SCRAPE = 0.5  # seconds from one scrape to the next, and from one evaluation to the next

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RANGE = re.compile(r"(\[|offset )(\d+)([smhd])\b")
# Seconds that are plain numbers: how far a trend is extrapolated, and how old an answer may be. And a core:
# where other tests run at the same time no process gets all of one.
_NUMBERS = {
    ", 1800)": ", 30)",
    ", 3600) > 1": ", 60) > 1",
    "* 900 >": "* 15 >",
    "balancer_discovery_stale_seconds) > 60": "balancer_discovery_stale_seconds) > 1",
    "(balancer_worker_cpu_seconds_total[5s]) > 0.95": "(balancer_worker_cpu_seconds_total[5s]) > 0.2",
}


def write(directory: Path) -> list[str]:
    """Write the rules to files, and return these."""
    names = []
    for file in FILES:
        name = directory / f"{file.stem}.json"
        name.write_text(json.dumps(_scaled(read(file))))
        names.append(str(name))
    return names


def _scaled(content: Any) -> Any:
    for group in content["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _expression(rule["expr"])
            for name, text in rule.get("annotations", {}).items():
                rule["annotations"][name] = _RANGE.sub(_shorter, text)
            if "for" in rule:
                rule["for"] = f"{_seconds(rule['for'][:-1], rule['for'][-1]) * 1000 // LASTS}ms"
    return content


def _expression(text: str) -> str:
    text = _RANGE.sub(_shorter, text)
    for number, other in _NUMBERS.items():
        text = text.replace(number, other)
    return text


def _shorter(found: re.Match[str]) -> str:
    seconds = max(_seconds(found[2], found[3]) // WINDOWS, int(4 * SCRAPE))
    return f"{found[1]}{seconds}s"


def _seconds(number: str, unit: str) -> int:
    return int(number) * _SECONDS[unit]
