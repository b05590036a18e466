"""Settings of what an instance keeps (L1)."""

import os
from typing import Annotated

from pydantic import AfterValidator, Field

from balancer.config.group import Group


def _absolute(path: str) -> str:
    return os.path.abspath(path) if path else ""


class StateSettings(Group):
    """What is kept beyond the end of an instance."""

    file: Annotated[str, AfterValidator(_absolute)] = Field(
        default="",
        description="File on a volume, of this instance alone, that keeps what was changed by the API, and "
        "what was learned of the upstreams' capacity. If unset, a restart forgets both.",
    )


def why_unusable(path: str) -> str:
    """Why the file cannot be written: the end of a sentence that begins with it; "" if it can."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return f"is in a directory that is not there ({directory}); create it, or mount a volume there"
    if os.path.isdir(path):
        return "is a directory; write the path of a file in it"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"is in a directory that cannot be written to ({directory}); correct its permissions"
    return ""
