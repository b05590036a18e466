"""What happens to an exchange whose deadline has passed, or whose upstream has become silent.

Called by the sweep, not in the path of a request.
"""

from balancer.errors import TOTAL_TIMEOUT, UPSTREAM_UNRESPONSIVE, Source
from balancer.proxy.phase import RULES, Phase, phase_of
from balancer.proxy.resending import sent_of
from balancer.proxy.state import ExchangeState
from balancer.spec.worker import FOREVER_NS


def deadline_passed(exchange: ExchangeState, now: int) -> None:
    """`deadline_ns` has passed: act by the phase, unless the peer is slow but makes progress."""
    timeouts = exchange.route.timeouts
    attempt = exchange.attempt
    phase = phase_of(exchange)
    rule = RULES[phase]
    if exchange.response_begun and exchange.client.takes():
        exchange.deadline_ns = now + timeouts.patience_ns
    elif exchange.tunnel is not None:
        exchange.tunnel.silent()
    elif phase is Phase.QUEUED:
        exchange.deadline_ns = FOREVER_NS  # the queue has a deadline of its own
    elif exchange.upstream_paused and attempt is not None and attempt.connection.takes():
        exchange.deadline_ns = now + timeouts.idle_ns
    elif rule.failure is None:  # the client has neither read nor sent anything: treated as gone
        exchange.client_gone()
        exchange.client.reset()
    elif rule.blames is Source.CLIENT:
        _explain_phase(exchange, phase)
        exchange.client_failed(rule.failure, rule.detail(timeouts))
    else:
        _explain_phase(exchange, phase)
        exchange.upstream_failed(rule.failure, rule.detail(timeouts))


def total_passed(exchange: ExchangeState, now: int) -> None:
    """The exchange has taken longer than the total timeout. Tunnels are exempt."""
    phase = phase_of(exchange)
    setting = f"BALANCER_TIMEOUTS__TOTAL is {exchange.route.timeouts.total_ns / 1e9:g} s"
    if phase is Phase.TUNNEL:
        return
    _explain_phase(exchange, phase)
    if phase is Phase.QUEUED:
        exchange.upstream_failed(TOTAL_TIMEOUT, f"it was still waiting for a slot; {setting}")
    elif RULES[phase].blames is Source.CLIENT:
        exchange.client_failed(TOTAL_TIMEOUT, f"the client was too slow; {setting}")
    else:
        exchange.upstream_failed(TOTAL_TIMEOUT, f"the upstream was too slow; {setting}")


def _explain_phase(exchange: ExchangeState, phase: Phase) -> None:
    account = exchange.troubled()
    if account is not None:
        account.phase = phase.name.lower()


def waits_for_upstream(exchange: ExchangeState) -> bool:
    """Whether the upstream keeps the exchange waiting for a response; not so while it takes an upload."""
    return not exchange.response_begun and RULES[phase_of(exchange)].blames is Source.UPSTREAM


def leave_silent(exchange: ExchangeState, now: int) -> bool:
    """Stop waiting for a silent upstream, if the rules allow it. Returns whether they do.

    A request that can go elsewhere does so, but only once: the request itself may be what silences upstreams.
    Any other request fails if it was sent after the first failed check: the app has not begun to work on it.
    A request sent before that check may be what the app is working on, and keeps its timeout.
    """
    attempt = exchange.attempt
    if attempt is None:
        return False
    sent = sent_of(exchange, attempt)
    silent_since_ns = attempt.upstream.silent_since_ns
    if sent.in_vain:
        return False
    can_leave = sent.may_be_repeated and sent.attempts_left
    if not can_leave and attempt.started_ns < silent_since_ns:
        return False
    seconds = (now - silent_since_ns) / 1e9
    exchange.upstream_failed(UPSTREAM_UNRESPONSIVE, f"it has answered no request for {seconds:.1f} s")
    return True
