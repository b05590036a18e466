"""What all groups of settings have in common (L1)."""

from pydantic import BaseModel, ConfigDict


class MisfitError(ValueError):
    """A group's setting `name` conflicts with a setting outside the group, or with another one in it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class Group(BaseModel):
    """Settings that share a prefix; unknown names in it are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
