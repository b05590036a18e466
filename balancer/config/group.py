"""What all groups of settings have in common (L1)."""

from pydantic import BaseModel, ConfigDict


class MisfitError(ValueError):
    """A setting, at the `path` below where the error is raised, conflicts with another one."""

    def __init__(self, path: str, text: str) -> None:
        """`path` has dots between its parts."""
        super().__init__(text)
        self.path = tuple(path.split("."))


class Group(BaseModel):
    """Settings that share a prefix; unknown names in it are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
