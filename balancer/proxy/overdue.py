"""What a passed deadline means: that depends on what the exchange was waiting for, and so on whom."""

from typing import TYPE_CHECKING

from balancer.errors import (
    BODY_TIMEOUT,
    CONNECT_TIMEOUT,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    TOTAL_TIMEOUT,
)
from balancer.proxy.limits import FOREVER_NS

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange


def deadline_passed(exchange: "Exchange") -> None:
    """The client connection's deadline has come while `exchange` runs."""
    if exchange.tunnel is not None:
        exchange.tunnel.silent()
    elif exchange.connecting.waiting:
        exchange.client.deadline_ns = FOREVER_NS  # the queue has a deadline of its own
    elif exchange.upstream_paused and exchange.upstream_takes():
        proxy = exchange.proxy
        exchange.client.deadline_ns = proxy.monotonic_ns() + proxy.timeouts.idle_ns  # slow, but it reads
    elif waits_for_client(exchange):
        if exchange.response_begun:  # it has neither read nor sent for so long: as good as gone
            exchange.client_gone()
            exchange.client.break_off()
        else:
            exchange.client_failed(BODY_TIMEOUT, f"no more of it {_within(exchange)}")
    elif exchange.response_begun:
        exchange.upstream_failed(IDLE_TIMEOUT, f"no more of the response {_within(exchange)}")
    elif exchange.connecting.dialling is not None:
        exchange.upstream_failed(CONNECT_TIMEOUT, f"no connection {_within(exchange)}")
    else:
        exchange.upstream_failed(FIRST_BYTE_TIMEOUT, f"no response head {_within(exchange)}")


def _within(exchange: "Exchange") -> str:
    """The setting whose time has passed: it is what to change for who wants another one."""
    timeouts = exchange.proxy.timeouts
    if exchange.request_whole and not exchange.response_begun:
        return f"within BALANCER_TIMEOUTS__FIRST_BYTE ({timeouts.first_byte_ns / 1e9:g} s)"
    return f"within BALANCER_TIMEOUTS__IDLE ({timeouts.idle_ns / 1e9:g} s)"


def total_passed(exchange: "Exchange") -> None:
    """The exchange has taken longer than a whole one may. Tunnels are exempt."""
    if exchange.tunnel is not None:
        return
    setting = f"BALANCER_TIMEOUTS__TOTAL is {exchange.proxy.timeouts.total_ns / 1e9:g} s"
    if exchange.connecting.waiting:
        exchange.upstream_failed(
            TOTAL_TIMEOUT, f"it still waited for an upstream that is not full; {setting}"
        )
    elif waits_for_client(exchange):
        exchange.client_failed(TOTAL_TIMEOUT, f"the client was too slow; {setting}")
    else:
        exchange.upstream_failed(TOTAL_TIMEOUT, f"the upstream was too slow; {setting}")


def waits_for_client(exchange: "Exchange") -> bool:
    """Whether it is the client that keeps the exchange waiting: then the upstream is not to blame."""
    if exchange.response_begun and exchange.client.write_paused:
        return True
    connecting = exchange.connecting
    if exchange.request_whole or exchange.upstream_paused:
        return False
    if connecting.dialling is not None or connecting.waiting:
        return False
    # A client that waits for 100 before it sends its body waits for the upstream (RFC 9110 section 10.1.1).
    return exchange.request_bytes > 0 or exchange.informed or exchange.head.find(b"expect") is None
