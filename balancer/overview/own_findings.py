"""What is wrong with the balancer itself (L5): its workers and its certificates. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from balancer.overview.finding import Found, found
from balancer.overview.shape import WorkerShape

BUSY: Final = 0.95  # of a core
LATE: Final = 250.0  # ms
EXPIRES: Final = 7 * 86_400.0  # seconds


def of_workers(workers: Mapping[str, WorkerShape]) -> Iterator[Found]:
    """Of all of them."""
    ready = sum(one["state"] == "ready" for one in workers.values())
    for slot, one in workers.items():
        if one["state"] != "ready":
            yield found(
                7 if ready else 0,
                "bad",
                f"Worker {slot} of the balancer is {one['state']}: "
                + ("the others serve for it." if ready else "no request is served until it is ready."),
                "It is restarted by itself. The log says why it ended.",
            )
        elif one["cpu"] is not None and one["cpu"] >= BUSY:
            yield found(
                12,
                "watch",
                f"Worker {slot} of the balancer uses {one['cpu']:.0%} of a core: this is the balancer, "
                "not the app.",
                "Set BALANCER_WORKERS to more, if there are cores, or run a second instance.",
            )
        elif one["lag"] >= LATE:
            yield found(
                13,
                "watch",
                f"Worker {slot} of the balancer was {one['lag']:,.0f} ms late: this is the balancer, or "
                "its machine.",
                "See whether the machine has free cores, and whether a policy of your own blocks.",
            )


def of_certificates(certificates: Sequence[Any], now: float) -> Iterator[Found]:
    """Of CertificateViews; `now` in seconds since the epoch."""
    for one in certificates:
        left = datetime.fromisoformat(one.not_after).timestamp() - now if one.not_after else None
        if left is not None and left <= 0:
            yield found(
                8,
                "bad",
                f"The certificate {one.name} has expired: {one.not_after}.",
                "Put a valid one there.",
            )
        elif one.acme is not None:
            if one.acme.state == "failed":
                yield found(
                    14,
                    "watch",
                    f"No certificate for {one.name}: {one.acme.error}.",
                    "It is tried again by itself.",
                )
        elif left is not None and left < EXPIRES:
            yield found(
                16,
                "watch",
                f"The certificate {one.name} expires in {left / 86_400:.1f} days.",
                "Renew its file: a changed one is taken up at once.",
            )
        if one.problem:
            yield found(
                14, "watch", f"The changed files of {one.name} are not used: {one.problem}.", "Mend them."
            )
