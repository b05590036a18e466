"""The load generator's users (Locust): shoppers of the app replica, visitors of your own app."""

import os

from locust import FastHttpUser, constant_throughput, task

from loadtests.verdict import PREFIX, BoundsError, switched_on

DOWNLOAD_BYTES = 200_000
ORDER = b'{"item": 7, "count": 2}' + b" " * 2000


def _rate() -> float:
    """Requests a second of one user, as long as responses arrive in time."""
    text = os.environ.get(f"{PREFIX}RATE", "") or "5"
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= 10_000:
        raise BoundsError(f"{PREFIX}RATE: {text!r} is not a number of requests a second, from 0.001 to 10000")
    return rate


class Shopper(FastHttpUser):
    """Browses, views items, orders, returns to a session, downloads: all paths of `loadtests.app`."""

    wait_time = constant_throughput(_rate())
    # With sticky sessions, a response of a replica that does not know the session is a failure.
    sticky = switched_on(os.environ, "STICKY")

    def on_start(self) -> None:
        self.item = 0
        self.client.post("/login")

    @task(10)
    def browse(self) -> None:
        self.client.get("/")

    @task(6)
    def look_at_an_item(self) -> None:
        self.item = self.item % 500 + 1
        self.client.get(f"/items/{self.item}", name="/items/N")

    @task(2)
    def order(self) -> None:
        self.client.post("/orders", data=ORDER, headers={"Content-Type": "application/json"})

    @task(2)
    def come_back(self) -> None:
        with self.client.get("/session", catch_response=True) as response:
            if response.status_code == 401 and not self.sticky:
                response.success()

    @task(1)
    def download(self) -> None:
        path = f"/download?bytes={DOWNLOAD_BYTES}"
        with self.client.get(path, name="/download", catch_response=True) as response:
            length = len(response.content or b"")
            named = response.headers.get("Content-Length") if response.headers else None
            if response.status_code == 200 and named != str(length):
                response.failure(f"{length} of {named} bytes arrived")


class Visitor(FastHttpUser):
    """Requests LOAD_PATHS in turn, for your own app."""

    wait_time = constant_throughput(_rate())
    paths = tuple(filter(None, map(str.strip, os.environ.get(f"{PREFIX}PATHS", "").split(","))))

    def on_start(self) -> None:
        self.visits = 0

    @task
    def visit(self) -> None:
        path = self.paths[self.visits % len(self.paths)]
        self.visits += 1
        self.client.get(path)
