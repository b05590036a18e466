"""An upstream whose name has several addresses: one after the other until one connects (RFC 1123 2.3).

What is dead refuses, or swallows: so an address that has not connected after STAGGER is joined by the next
one, and the first to connect is used.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

STAGGER = 0.25  # seconds

ConnectionT = TypeVar("ConnectionT")


async def first_to_connect(
    hosts: Sequence[str],
    dial: Callable[[str], Coroutine[Any, Any, ConnectionT]],
    *,
    discard: Callable[[ConnectionT], None],
    failed_over: Callable[[str, Exception], None],
    loop: asyncio.AbstractEventLoop,
) -> ConnectionT:
    """The first connection to one of `hosts`. Raises the first one's error where none connects.

    Where another one is used, `failed_over` is told of it, and of what is wrong with the first: at once, or
    later, when that is known; one that is only slow does connect, and is discarded. When this is cancelled no
    connection is left behind.
    """
    left = list(hosts)
    running: dict[asyncio.Task[ConnectionT], str] = {}
    errors: dict[str, Exception] = {}
    used = ""
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
                    used = running.pop(task)
                    if hosts[0] in errors:
                        failed_over(used, errors[hosts[0]])
                    return task.result()
                if not isinstance(error, Exception):
                    raise error
                errors[running.pop(task)] = error
        raise errors[hosts[0]]
    finally:
        for task, host in running.items():
            if used and host == hosts[0]:
                task.add_done_callback(partial(_let_go, discard, partial(failed_over, used)))
            else:
                task.cancel()
                task.add_done_callback(partial(_let_go, discard, None))


def _let_go(
    discard: Callable[[ConnectionT], None],
    failed: Callable[[Exception], None] | None,
    late: "asyncio.Task[ConnectionT]",
) -> None:
    """One that has not won has ended. It may have connected before it was cancelled."""
    if late.cancelled():
        return
    error = late.exception()
    if error is None:
        discard(late.result())
    elif failed is not None and isinstance(error, Exception):
        failed(error)
