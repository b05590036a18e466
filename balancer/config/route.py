"""What holds for an exchange once its route is known (L1): the route has it, or its pool, or the top of the
tree.
"""

from pydantic import Field

from balancer.config.group import Group
from balancer.config.types import Duration, Size


class RouteTimeouts(Group):
    """Deadlines of an exchange."""

    first_byte: Duration = Field(
        default=55.0,
        description="Time from the request's start, or its body's last byte, to the response head, "
        "connecting included; a retry gets the full time again.",
    )
    idle: Duration = Field(
        default=60.0, description="Time between two pieces of a body, in either direction."
    )
    total: Duration = Field(default=0.0, description="Time for the whole exchange, from head to last byte.")
    tunnel_idle: Duration = Field(
        default=3600.0,
        description="Time without data in both directions after which a tunnel is closed; once one side "
        "has ended, `IDLE` applies.",
    )
    tunnel_drain: Duration = Field(
        default=10.0,
        description="After TERM, time that open tunnels go on before they are closed with a Close frame "
        "(1012); 0 closes them at once. At most three fifths of `DRAIN`.",
    )


class RouteLimits(Group):
    """What an exchange may carry."""

    body_bytes: Size = Field(
        default=0, description="Size of a request body; a larger one gets 413. 0 = no cap."
    )
