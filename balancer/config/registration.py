"""Settings of apps that register themselves as upstreams of a pool (L1)."""

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from balancer.config.group import Group
from balancer.config.types import SecretToken


class RegistrationSettings(Group):
    """The token of a pool's apps. A pool does not take it from the top of the tree: it is for one pool."""

    token: SecretToken = Field(
        default=SecretStr(""),
        description="Token with which apps may register themselves in this pool, for a time, by `POST "
        "/api/pools/{pool}/upstreams`, and nothing else. If unset, only those who may make any change.",
    )
    token_file: str = Field(
        default="",
        description="File with that token, instead of REGISTRATION__TOKEN; read at start and by each reload.",
    )

    @field_validator("token_file")
    @classmethod
    def _one_token(cls, file: str, info: ValidationInfo) -> str:
        token = info.data.get("token")
        if file and token is not None and token.get_secret_value():
            raise ValueError("is set together with REGISTRATION__TOKEN; keep one of them")
        return file

    @property
    def is_on(self) -> bool:
        """Whether there is a token."""
        return bool(self.token_file or self.token.get_secret_value())
