"""What the errors of a check without a response mean (L4): from aiohttp's exceptions to our closed list."""

import aiohttp

from balancer.errors import EXHAUSTED
from balancer.health.result import Reply, Result


def fault_of(error: aiohttp.ClientError | OSError, where: str) -> Reply:
    """The reply that stands for `error`; `where` is the address and port that was asked."""
    match error:
        case aiohttp.ClientConnectorError():
            return not_connected(error.os_error, where)
        case aiohttp.ClientResponseError():
            # Its text may quote the peer's bytes, over several lines.
            first_line = error.message.partition("\n")[0].rstrip(":")[:100]
            return Reply(Result.MALFORMED, 0, f"its response is not valid HTTP/1.1 ({first_line})")
        case aiohttp.ClientPayloadError():
            return Reply(Result.CLOSED, 0, "its response broke off")
        case aiohttp.ServerDisconnectedError():
            return Reply(Result.CLOSED, 0, "it closed the connection without a response")
        case OSError():
            return Reply(Result.CLOSED, 0, f"the connection broke ({error.strerror or error})")
        case _:
            return Reply(Result.NOT_MADE, 0, f"no check could be made ({error})")


def not_connected(error: OSError, where: str) -> Reply:
    """The reply that stands for an `error` of connecting."""
    if isinstance(error, ConnectionRefusedError):
        return Reply(Result.REFUSED, 0, f"refused: nothing listens on {where}")
    reason = error.strerror or str(error)
    if error.errno in EXHAUSTED:
        return Reply(Result.NOT_MADE, 0, f"no check could be made ({reason})")
    return Reply(Result.UNREACHABLE, 0, f"{where} cannot be reached ({reason})")
