"""The app replica's switches: set by the environment at the start, and by the control path at any time."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from loadtests.app import service_time
from loadtests.app.errors import SwitchError
from loadtests.app.service_time import ServiceTime

PREFIX = "REPLICA_"
CONTROL_PATH = "/_control"


class Mode(StrEnum):
    """What happens to requests, including health checks unless `check_status` is set."""

    NORMAL = "normal"
    FAILING = "failing"  # every request is answered with 500
    HANGING = "hanging"  # every request is accepted and left without an answer


@dataclass(frozen=True, slots=True)
class Switches:
    """The state of all switches."""

    mode: Mode = Mode.NORMAL
    check_status: int = 0  # status of the health check's path; 0 = by the mode
    error_rate: float = 0.0  # share of requests answered with 500, from 0 to 1
    service_time: ServiceTime = ServiceTime("fixed", 0.0, 0.0)  # noqa: RUF009 - it is frozen
    cpu: float = 0.0  # seconds of CPU time that each request burns, on the replica's one event loop

    def as_json(self) -> dict[str, str | int | float]:
        """The switches as the control path shows and accepts them."""
        return {
            "mode": self.mode.value,
            "check_status": self.check_status,
            "error_rate": self.error_rate,
            "service_time": str(self.service_time),
            "cpu": f"{self.cpu:g}s",
        }

    def changed(self, changes: Mapping[str, Any], label: Callable[[str], str] = str) -> "Switches":
        """A copy with these changes; `SwitchError` names each unknown switch or invalid value.

        `label` maps a switch's name to the form in which the user wrote it.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, value in changes.items():
            reader = _READERS.get(name)
            if reader is None:
                known = ", ".join(map(label, _READERS))
                problems.append(f"{label(name)} is not a switch; the switches are {known}")
                continue
            try:
                values[name] = reader(value)
            except SwitchError as error:
                problems.append(f"{label(name)}: {error}")
        if problems:
            raise SwitchError("; ".join(problems))
        return replace(self, **values)


def _mode(value: Any) -> Mode:
    if value not in Mode.__members__.values():
        raise SwitchError(f"{value!r} is none of {', '.join(Mode)}")
    return Mode(value)


def _check_status(value: Any) -> int:
    text = _text(value)
    if text != "0" and not re.fullmatch(r"[2-5]\d\d", text):
        raise SwitchError(f"{value!r} is neither a status from 200 to 599 nor 0 (status of the mode)")
    return int(text)


def _rate(value: Any) -> float:
    text = _text(value)
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate <= 1.0:  # neither is NaN
        raise SwitchError(f"{value!r} is not a share from 0 to 1")
    return rate


def _text(value: Any) -> str:
    """A number or a string as text; JSON's true is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SwitchError(f"{value!r} is neither a number nor a string")
    return str(value).strip()


_READERS: dict[str, Callable[[Any], Any]] = {
    "mode": _mode,
    "check_status": _check_status,
    "error_rate": _rate,
    "service_time": lambda value: service_time.parse(_text(value)),
    "cpu": lambda value: service_time.seconds(_text(value)),
}


@dataclass(frozen=True, slots=True)
class Options:
    """Options fixed at the start. For `start_delay` seconds the replica is closed, or it answers 503."""

    name: str
    host: str
    port: int  # 0 is any free one
    start_delay: float
    closed_at_first: bool
    switches: Switches


def read_environment(environ: Mapping[str, str], hostname: str) -> Options:
    """Read REPLICA_* from the environment; empty ones count as unset. `SwitchError` if one is invalid."""
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value}
    host, _, port = given.pop("REPLICA_LISTEN", "0.0.0.0:8000").rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SwitchError("REPLICA_LISTEN is not an address and a port, such as 0.0.0.0:8000")
    starting = given.pop("REPLICA_STARTING", "closed")
    if starting not in ("closed", "503"):
        raise SwitchError(f"REPLICA_STARTING: {starting!r} is neither closed nor 503")
    name = given.pop("REPLICA_NAME", hostname)
    try:
        delay = service_time.seconds(given.pop("REPLICA_START_DELAY", "0"))
    except SwitchError as error:
        raise SwitchError(f"REPLICA_START_DELAY: {error}") from error
    changes = {variable.removeprefix(PREFIX).lower(): value for variable, value in given.items()}
    switches = Switches().changed(changes, label=lambda switch: PREFIX + switch.upper())
    return Options(name, host, int(port), delay, starting == "closed", switches)
