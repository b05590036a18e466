"""A fake resolver: the test controls its answers and how long they take."""

import asyncio

from balancer.discovery.lookup import Answer


class FakeResolver:
    """Answers from `answers`; a name not in it hangs until the test calls `answer`.

    `asked` are the names with the loop's time, `delay` is how many seconds an answer takes.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.delay = 0.0
        self.asked: list[tuple[float, str]] = []
        self.hanging: dict[str, asyncio.Future[Answer]] = {}
        self.closed = False
        self._timers: list[asyncio.TimerHandle] = []

    def look_up(self, name: str) -> asyncio.Future[Answer]:
        assert not self.closed
        loop = asyncio.get_running_loop()
        self.asked.append((loop.time(), name))
        if name in self.hanging:
            raise AssertionError(f"{name} is looked up twice at the same time")
        future: asyncio.Future[Answer] = loop.create_future()
        if name not in self.answers:
            self.hanging[name] = future
        elif self.delay:
            self._timers.append(loop.call_later(self.delay, future.set_result, self.answers[name]))
        else:
            future.set_result(self.answers[name])
        return future

    def answer(self, name: str, answer: Answer) -> None:
        """End the hanging lookup of `name`."""
        self.hanging.pop(name).set_result(answer)

    def close(self) -> None:
        self.closed = True
        for timer in self._timers:
            timer.cancel()
