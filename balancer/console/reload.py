"""`balancer reload` and `balancer diff` (L7): what a reload changes, or would change, as a table."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from balancer.console.client import AdminClient
from balancer.errors import OperatorError, SettingsError

PATH = "/api/reload"
PATIENCE = 600.0  # seconds: new workers may wait for their first checks, and old ones leave one by one
_FAILED = ("refused", "taken_back")
_HOW = {"live": "live", "new_workers": "new workers"}
_NOTHING = "-"

Answer: TypeAlias = Mapping[str, Any]


def reload(
    client: AdminClient, *, dry_run: bool = False, settings: str | None = None
) -> Iterator[RenderableType]:
    """Ask for a reload, or with `dry_run` what it would do; `settings` are the text of a file for that,
    instead of the instance's own. Raises SettingsError or OperatorError if it is refused."""
    wish: dict[str, Any] = {"dry_run": True} if dry_run else {}
    if settings is not None:
        wish["settings"] = settings
    _, answer = client.ask("POST", PATH, wish, "how", results=_FAILED, patience=PATIENCE)
    if answer["result"] in _FAILED:
        raise _failure(answer)
    below = list(_tables(answer))
    yield Group(Text(_outcome(answer)), *below) if below else Text(_outcome(answer))


def file_text(name: str) -> str:
    """The text of a settings file. Raises OperatorError."""
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OperatorError(f"{name} cannot be read ({why}); correct the path") from None
    except UnicodeDecodeError:
        raise OperatorError(f"{name} is not UTF-8; write a YAML settings file") from None


def _tables(answer: Answer) -> Iterator[RenderableType]:
    """What is shown below the outcome, with an empty line before each."""
    if answer["changes"]:
        yield from (Text(""), _changes(answer["changes"]))
    if answer["members"]:
        yield from (Text(""), _members(answer["members"]))
    for problem in answer.get("problems", ()):
        yield from (Text(""), Text(f"but {problem}", style="bold red"))
    if answer["from_environment"]:
        names = ", ".join(answer["from_environment"])
        said = f"not from the file, as the environment of the instance sets it: {names}"
        yield from (Text(""), Text(said, style="yellow"))


def _failure(answer: Answer) -> OperatorError:
    if answer["result"] == "taken_back":
        return OperatorError(
            f"the reload was taken back, the settings before are in force: {answer['error']}"
        )
    return SettingsError(list(answer.get("problems") or [answer["error"]]))


def _outcome(answer: Answer) -> str:
    if answer["result"] == "unchanged" or answer["how"] == "nothing":
        return "nothing changes: these are the settings in force"
    counts = [_counted(len(answer["changes"]), "setting"), _counted(len(answer["members"]), "upstream")]
    what = " and ".join(count for count in counts if count)
    if answer["result"] == "would_apply":
        way = "live" if answer["how"] == "live" else "by new workers, while the old ones drain"
        return f"{what} would change, {way}"
    way = "live" if answer["how"] == "live" else "by new workers; the old ones drain"
    return f"{what} changed in {answer['seconds']:.1f} s, {way}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}" if count else ""


def _changes(changes: Sequence[Answer]) -> Table:
    table = _table("setting", "before", "after", "how")
    for one in changes:
        how = _HOW.get(one["how"], one["how"])
        table.add_row(*map(_shown, (one["setting"], one["before"], one["after"], how)))
    return table


def _members(members: Sequence[Answer]) -> Table:
    table = _table("upstream", "pool", "change", "before", "after")
    for one in members:
        table.add_row(*(_shown(one[name]) for name in ("id", "pool", "change", "before", "after")))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _shown(value: str | None) -> Text:
    """A value as text: rich would take brackets in it for markup."""
    return Text(_NOTHING if value is None else value)
