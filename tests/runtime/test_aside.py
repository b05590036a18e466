"""Calls in a thread of their own: results, errors, and callers that do not wait for them."""

import asyncio
import threading

import pytest

from balancer.runtime.aside import aside


async def test_the_result_comes_back() -> None:
    assert await aside("test", threading.current_thread) is not threading.current_thread()


async def test_an_error_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        await aside("test", lambda: 1 // 0)


async def test_a_caller_that_is_cancelled_leaves_the_call_running() -> None:
    began, may_end, ended = (threading.Event() for _ in range(3))

    def call() -> None:
        began.set()
        may_end.wait()
        ended.set()

    waiting = asyncio.create_task(aside("test", call))
    await asyncio.to_thread(began.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    may_end.set()
    assert await asyncio.to_thread(ended.wait, 20)
