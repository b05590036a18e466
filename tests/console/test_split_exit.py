"""How the command `balancer split` exits, against a scripted admin listener."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from balancer.cli import app
from tests.console.test_split import BOUNDS, FIRST, GATE, WHY

pytestmark = pytest.mark.integration

WATCHED = ("split", "web", "canary=50", "--hold", "1m")


@contextmanager
def listener(routes: Sequence[dict[str, Any] | None]) -> Iterator[str]:
    """Accepts a watched change, and answers with these routes, one after the other; None breaks off. Yields
    its address."""
    left = list(routes)

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer({"route": "web", "weights": {"stable": 90, "canary": 50}, "gate": GATE})

        def do_GET(self) -> None:
            route = left.pop(0)
            if route is None:
                self.close_connection = True
            else:
                base = {"name": "web", "split": True, "sides": FIRST, "gate": None, "last_gate": None}
                self._answer({"bounds": BOUNDS, "routes": [{**base, **route}]})

        def _answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("routes", "code", "said"),
    [
        pytest.param(
            [{"last_gate": {"number": 4, "result": "held", "why": ""}}], 0, "it has held", id="held"
        ),
        pytest.param(
            [{"last_gate": {"number": 4, "result": "breached", "why": WHY}}], 1, "taken back", id="breached"
        ),
        pytest.param(
            [{"last_gate": {"number": 4, "result": "replaced", "why": "x"}}],
            3,
            "no longer watched: x",
            id="replaced",
        ),
        pytest.param([None], 3, "How the change of web ends is not known here", id="unreachable"),
    ],
)
def test_a_watched_change_exits_by_how_it_ended(
    routes: Sequence[dict[str, Any] | None], code: int, said: str
) -> None:
    with listener(routes) as address:
        done = CliRunner().invoke(app, [*WATCHED, "--admin", address])
    assert done.exit_code == code, done.output
    assert said in done.output


@pytest.mark.parametrize("condition", ["errors>1%", "nonsense"])
@pytest.mark.parametrize("weights", [[], ["canary=50"]], ids=["shown", "changed"])
def test_a_condition_without_a_time_to_hold_is_refused(condition: str, weights: Sequence[str]) -> None:
    done = CliRunner().invoke(app, ["split", "web", *weights, "--abort-if", condition])
    assert done.exit_code == 2
    assert "needs --hold" in " ".join(done.output.split())
