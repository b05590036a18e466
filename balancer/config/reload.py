"""Settings of reloads (L1): how other settings are taken up while the instance runs."""

from pydantic import Field

from balancer.config.group import Group
from balancer.config.types import Duration


class ReloadSettings(Group):
    """How settings that were read again are taken up."""

    watch: bool = Field(
        default=False,
        description="Read the settings again when their file, or a file that they name, has changed. HUP and "
        "`POST /api/reload` do so in any case.",
    )
    drain: Duration = Field(
        default=3600.0,
        description="How long workers that a reload has replaced may live on for what they serve: tunnels, "
        "streams, long downloads. Then these end as after TERM.",
    )
    ready: Duration = Field(
        default=30.0,
        gt=0,
        description="How long the first worker with new settings may take until it serves. If it takes "
        "longer, the reload is taken back.",
    )
