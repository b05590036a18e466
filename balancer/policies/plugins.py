"""External policies: `module:attribute` in the settings, and entry points of installed packages."""

import importlib
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "balancer.policies"
_LONGEST_TEXT: Final = 200


class PluginError(Exception):
    """A named policy is missing or unusable.

    The text has cause and remedy, and ends a sentence that begins with the name.
    """


def attribute(name: str) -> object:
    """The object that `module:attribute` names. Raises PluginError."""
    module_name, _, path = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise PluginError("is not module:attribute; write for example my_policies:Fairest")
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise PluginError(f"cannot be imported: {_why_not(error, module_name)}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            close = get_close_matches(part, [each for each in dir(found) if not each.startswith("_")], n=1)
            remedy = f"did you mean {close[0]}?" if close else "name what it defines"
            raise PluginError(f"is not there: {module_name} has no {path}; {remedy}")
        found = getattr(found, part)
    return found


def installed(group: str = GROUP) -> "list[EntryPoint]":
    """The entry points of installed packages, none of them loaded, ordered by name and package."""
    from importlib.metadata import entry_points  # here: 1 MiB and 15 ms in every worker

    return sorted(entry_points(group=group), key=lambda each: (each.name, origin(each)))


def load(entry: "EntryPoint") -> object:
    """The object that an entry point names. Raises PluginError."""
    try:
        return attribute(entry.value.partition("[")[0].replace(" ", ""))
    except PluginError as error:
        raise PluginError(f"is registered by {origin(entry)} as {entry.value}, which {error}") from error


def origin(entry: "EntryPoint") -> str:
    """The package that provides `entry`, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def described(error: BaseException) -> str:
    """A one-line traceback: what was raised, and where."""
    text = " ".join(str(error).split())[:_LONGEST_TEXT]
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = "" if isinstance(error, SyntaxError) else next(_places(error), "")  # its text has the place
    return f"{told} ({place})" if place else told


def _places(error: BaseException) -> Iterator[str]:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith("<frozen"):
            yield f"{Path(frame.filename).name}, line {frame.lineno}"


def _why_not(error: BaseException, module_name: str) -> str:
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return f"{described(error)}; fix the module"
    if f"{module_name}.".startswith(f"{error.name}."):
        return f"there is no module {error.name}; install it, or name its folder in PYTHONPATH"
    return f"it needs the module {error.name}, which is not installed; install that too"
