"""A call in a thread of its own (L7), for what may never return: loading modules, a disk that is gone."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

ResultT = TypeVar("ResultT")


async def aside(name: str, call: Callable[[], ResultT]) -> ResultT:
    """What `call` returns, or raises. The loop waits for the threads of its executor at exit, but not for
    this one. The caller may be cancelled; the call goes on."""
    found: Future[ResultT] = Future()

    def run() -> None:
        if not found.set_running_or_notify_cancel():  # from here on it cannot be cancelled, only ignored
            return
        try:
            found.set_result(call())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(found)
