"""An upstream whose name has several addresses: dial one after the other until one connects (RFC 1123 2.3).

A dead address refuses, or does not answer at all: so after STAGGER without a connection the next address is
dialled too, and the first to connect is used.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar

STAGGER: Final = 0.25  # seconds

ConnectionT = TypeVar("ConnectionT")


async def first_to_connect(
    hosts: Sequence[str],
    dial: Callable[[str], Coroutine[Any, Any, ConnectionT]],
    discard: Callable[[ConnectionT], None],
    loop: asyncio.AbstractEventLoop,
) -> tuple[ConnectionT, str, Exception | None]:
    """The first connection, its host, and the error of the first of `hosts`, if it has failed by then.

    Raises the error of the first host if none connects. No dial goes on after the return or a cancellation,
    and surplus connections are discarded.
    """
    left = list(hosts)
    running: dict[asyncio.Task[ConnectionT], str] = {}
    errors: dict[str, Exception] = {}
    try:
        while left or running:
            if left:
                host = left.pop(0)
                running[loop.create_task(dial(host))] = host
            done, _ = await asyncio.wait(
                running, timeout=STAGGER if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in sorted(done, key=list(running).index):
                error = task.exception()
                if error is None:
                    return task.result(), running.pop(task), errors.get(hosts[0])
                if not isinstance(error, Exception):
                    raise error
                errors[running.pop(task)] = error
        raise errors[hosts[0]]
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(partial(_let_go, discard))


def _let_go(discard: Callable[[ConnectionT], None], late: "asyncio.Task[ConnectionT]") -> None:
    """It may have connected before it was cancelled."""
    if not late.cancelled() and late.exception() is None:
        discard(late.result())
