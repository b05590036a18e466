"""The app replica over real sockets: the effect of each switch, the shop's routes, and its start and end."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from loadtests.app.replica import CHECK_PATH, MOST_BYTES, Replica, burn
from loadtests.app.serving import serve
from loadtests.app.switches import CONTROL_PATH, Mode, Options, Switches
from tests.fakes.forkserver import Process, start

pytestmark = pytest.mark.integration

Client: TypeAlias = TestClient[web.Request, web.Application]

WAIT = 15.0  # seconds; only a failing test takes that long


class Pauses:
    """Replaces asyncio.sleep: records the duration, and returns at once."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def replica(pauses: Pauses) -> Replica:
    return Replica("app1", Switches(), Random(7), pauses.sleep)


@pytest.fixture
async def client(replica: Replica) -> AsyncIterator[Client]:
    async with TestClient(TestServer(replica.application())) as client:
        yield client


async def switch(client: Client, **changes: Any) -> None:
    async with client.post(CONTROL_PATH, json=changes) as response:
        assert response.status == 200, await response.text()


async def status(client: Client, path: str) -> int:
    async with client.get(path) as response:
        return response.status


ANSWERS: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "front page": ("GET", "/", 200, {"replica": "app1", "method": "GET", "path": "/", "received": 0}),
    "item": ("GET", "/items/12", 200, {"replica": "app1", "item": 12, "price": 200}),
    "item with a huge number": ("GET", "/items/" + "9" * 5000, 200, {"item": 999_999_999_999_999_999}),
    "no item": ("GET", "/items/x", 404, {"replica": "app1", "error": "there is no item x"}),
    "order": ("POST", "/orders", 201, {"replica": "app1", "ordered": True, "received": 4}),
    "any other path": ("POST", "/a/b", 200, {"replica": "app1", "method": "POST", "received": 4}),
    "check": ("GET", CHECK_PATH, 200, {"replica": "app1", "status": "ok"}),
    "session without a cookie": ("GET", "/session", 401, {"replica": "app1"}),
    "download of nothing said": ("GET", "/download", 400, {"replica": "app1"}),
    "download of a word": ("GET", "/download?bytes=many", 400, {"replica": "app1"}),
    "download of too much": ("GET", f"/download?bytes={MOST_BYTES + 1}", 400, {"replica": "app1"}),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_routes_answer(client: Client, case: str) -> None:
    method, path, expected, body = ANSWERS[case]
    async with client.request(method, path, data=b"body" if method == "POST" else None) as response:
        assert response.status == expected
        assert response.headers["X-Replica"] == "app1"
        assert body.items() <= (await response.json()).items()


@pytest.mark.parametrize("size", [0, 1, 65536, 200_001])
async def test_a_download_has_the_size_asked_for(client: Client, size: int) -> None:
    async with client.get("/download", params={"bytes": size}) as response:
        assert response.headers["Content-Length"] == str(size)
        assert len(await response.read()) == size


async def test_a_session_is_known_only_to_its_replica(client: Client) -> None:
    async with client.post("/login") as response:
        session = (await response.json())["session"]
    async with client.get("/session") as first, client.get("/session") as second:
        assert (await first.json())["owner"] == "app1"
        assert (await second.json())["visits"] == 2
    other = Replica("app2", Switches(), Random(8))
    async with TestClient(TestServer(other.application()), cookies={"session": session}) as elsewhere:
        assert await status(elsewhere, "/session") == 401


TROUBLE: dict[str, tuple[dict[str, Any], int, int]] = {
    "failing": ({"mode": "failing"}, 500, 500),
    "failing with a healthy check": ({"mode": "failing", "check_status": 200}, 500, 200),
    "check alone": ({"check_status": 503}, 200, 503),
    "every request fails by chance": ({"error_rate": 1}, 500, 200),
    "none fails by chance": ({"error_rate": "0"}, 200, 200),
}


@pytest.mark.parametrize("case", TROUBLE)
async def test_each_switch_causes_its_trouble(client: Client, case: str) -> None:
    changes, of_requests, of_checks = TROUBLE[case]
    await switch(client, **changes)
    assert (await status(client, "/"), await status(client, CHECK_PATH)) == (of_requests, of_checks)
    await switch(client, mode="normal", check_status=0, error_rate=0)
    assert (await status(client, "/"), await status(client, CHECK_PATH)) == (200, 200)


async def test_random_errors_have_their_rate(client: Client) -> None:
    await switch(client, error_rate=0.3)
    failed = [await status(client, "/") for _ in range(200)].count(500)
    assert 40 <= failed <= 80


async def test_requests_hang_until_switched_back(client: Client) -> None:
    await switch(client, mode="hanging", check_status=200)
    hanging = [asyncio.create_task(status(client, path)) for path in ("/", "/items/1")]
    await _inflight(client, 2)
    assert await status(client, CHECK_PATH) == 200
    await switch(client, mode="hanging")  # a change that does not affect them
    await _inflight(client, 2)
    await switch(client, mode="normal")
    assert await asyncio.gather(*hanging) == [200, 200]


async def test_hanging_applies_to_the_check_as_well(client: Client) -> None:
    await switch(client, mode="hanging")
    hanging = asyncio.create_task(status(client, CHECK_PATH))
    await switch(client, mode="failing")
    assert await hanging == 500


async def test_while_starting_all_paths_but_the_control_are_503(replica: Replica, client: Client) -> None:
    replica.starting = True
    await switch(client, check_status=200)
    assert [await status(client, path) for path in ("/", CHECK_PATH, CONTROL_PATH)] == [503, 503, 200]


async def test_only_requests_take_the_service_time(client: Client, pauses: Pauses) -> None:
    await switch(client, service_time="uniform:10ms-20ms")
    await status(client, CHECK_PATH)
    await status(client, "/")
    (asked,) = (seconds for seconds in pauses.asked if seconds > 0)
    assert 0.010 <= asked <= 0.020


def test_cpu_work_takes_as_much_time_of_its_clock_as_asked() -> None:
    readings = iter([5.0, 5.001, 5.002, 5.0031])
    burn(0.003, lambda: next(readings))
    assert next(readings, None) is None


async def test_the_control_shows_the_state(client: Client) -> None:
    await status(client, "/")
    await switch(client, cpu="2ms", service_time="exponential:20ms")
    async with client.get(CONTROL_PATH) as response:
        assert await response.json() == {
            "replica": "app1",
            "switches": {
                "mode": "normal",
                "check_status": 0,
                "error_rate": 0.0,
                "service_time": "exponential:0.02s",
                "cpu": "0.002s",
            },
            "inflight": 0,
            "served": 1,
            "sessions": 0,
        }


async def test_the_shown_state_can_be_sent_back(client: Client) -> None:
    await switch(client, mode="failing", service_time="uniform:1ms-2ms")
    async with client.get(CONTROL_PATH) as response:
        shown = (await response.json())["switches"]
    await switch(client, mode="normal", service_time="0")
    await switch(client, **shown)
    async with client.get(CONTROL_PATH) as response:
        assert (await response.json())["switches"] == shown


REFUSED = {
    "no JSON": (b"mode=failing", "the body is not JSON"),
    "no object": (b"[1]", "not a JSON object"),
    "not UTF-8": (b"\xff", "the body is not JSON"),
    "unknown switch": (b'{"moed": 1}', "moed is not a switch; the switches are mode, check_status"),
    "unknown mode": (b'{"mode": "sick"}', "mode: 'sick' is none of normal, failing, hanging"),
    "mode of another type": (b'{"mode": [1]}', "mode: [1] is none of normal"),
    "status": (b'{"check_status": 99}', "check_status: 99 is neither a status from 200 to 599 nor 0"),
    "rate above 1": (b'{"error_rate": 1.5}', "error_rate: 1.5 is not a share from 0 to 1"),
    "rate is not a number": (b'{"error_rate": NaN}', "error_rate: nan is not a share from 0 to 1"),
    "rate as a truth": (b'{"error_rate": true}', "error_rate: True is neither a number nor a string"),
    "distribution": (b'{"service_time": "pareto:1s"}', "'pareto:1s' is not a service time, such as 20ms"),
    "bounds": (b'{"service_time": "uniform:2s-1s"}', "'uniform:2s-1s' is not a service time"),
    "duration": (b'{"cpu": "-1ms"}', "cpu: '-1ms' is not a duration from 0 to 1 hour, such as 20ms or 1.5s"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_an_invalid_switch_is_refused_and_changes_nothing(client: Client, case: str) -> None:
    body, problem = REFUSED[case]
    async with client.post(CONTROL_PATH, data=body) as response:
        assert response.status == 400
        assert problem in (await response.json())["error"]
    assert await status(client, "/") == 200


async def _inflight(client: Client, wanted: int) -> None:
    """Wait until this many requests are held."""
    async with asyncio.timeout(WAIT):
        while True:
            async with client.get(CONTROL_PATH) as response:
                if (await response.json())["inflight"] == wanted:
                    return


def options(start_delay: float = 0.0, closed_at_first: bool = True) -> Options:
    return Options("app1", "127.0.0.1", 0, start_delay, closed_at_first, Switches())


async def test_the_port_stays_closed_through_the_start_delay_and_a_signal_ends_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve(options(start_delay=WAIT), Replica("app1", Switches(), Random(1)), stop)
    )
    await asyncio.sleep(0)
    stop.set()
    await serving
    assert capsys.readouterr().out == ""


async def test_the_replica_says_when_it_listens_and_answers_503_through_the_start_delay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    replica, stop = Replica("app1", Switches(), Random(1)), asyncio.Event()
    serving = asyncio.create_task(serve(options(WAIT, closed_at_first=False), replica, stop))
    said = ""
    async with asyncio.timeout(WAIT):
        while not said:
            await asyncio.sleep(0)
            said = capsys.readouterr().out
    async with ClientSession() as session, session.get(f"http://{said.split()[-1]}/") as response:
        assert response.status == 503
    stop.set()
    await serving


@asynccontextmanager
async def process(*arguments: str, **environ: str) -> AsyncIterator[Process]:
    environ = {**os.environ, "REPLICA_NAME": "app1", **environ}
    started = await start("loadtests.app", *arguments, environ=environ)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def test_the_process_answers_running_requests_before_it_ends() -> None:
    async with (
        process(REPLICA_LISTEN="127.0.0.1:0", REPLICA_SERVICE_TIME="200ms") as running,
        ClientSession() as session,
    ):
        address = (await asyncio.wait_for(running.stdout.readline(), WAIT)).decode().split()[-1]
        last = asyncio.create_task(session_status(session, f"http://{address}/"))
        await _has_inflight(session, f"http://{address}{CONTROL_PATH}")
        running.send_signal(signal.SIGTERM)
        assert await last == 200
        assert await asyncio.wait_for(running.wait(), WAIT) == 0


async def test_the_control_command_turns_the_switches_of_the_local_replica() -> None:
    async with process(REPLICA_LISTEN="127.0.0.1:0") as running:
        address = (await asyncio.wait_for(running.stdout.readline(), WAIT)).decode().split()[-1]
        async with process("control", '{"mode": "failing"}', REPLICA_LISTEN=address) as control:
            said, _ = await asyncio.wait_for(control.communicate(), WAIT)
        assert json.loads(said)["switches"]["mode"] == Mode.FAILING
        assert control.returncode == 0
        async with process("control", "{}}", REPLICA_LISTEN=address) as control:
            assert b"not JSON" in (await asyncio.wait_for(control.communicate(), WAIT))[0]
        assert control.returncode == 1


WRONG_ENVIRONMENTS = {
    "unknown": ("REPLICA_MOED", "failing", "REPLICA_MOED is not a switch; the switches are REPLICA_MODE"),
    "mode": ("REPLICA_MODE", "sick", "REPLICA_MODE: 'sick' is none of normal"),
    "listen": ("REPLICA_LISTEN", "8000", "REPLICA_LISTEN is not an address and a port"),
    "starting": ("REPLICA_STARTING", "later", "REPLICA_STARTING: 'later' is neither closed nor 503"),
    "delay": ("REPLICA_START_DELAY", "soon", "REPLICA_START_DELAY: 'soon' is not a duration"),
}


@pytest.mark.parametrize("case", WRONG_ENVIRONMENTS)
async def test_an_invalid_environment_is_reported_in_one_line(case: str) -> None:
    name, value, problem = WRONG_ENVIRONMENTS[case]
    async with process(**{name: value}) as ended:
        _, said = await asyncio.wait_for(ended.communicate(), WAIT)
    assert ended.returncode == 1
    assert said.decode().startswith(f"app replica: {problem}")
    assert said.count(b"\n") == 1


async def session_status(session: ClientSession, url: str) -> int:
    async with session.get(url) as response:
        return response.status


async def _has_inflight(session: ClientSession, url: str) -> None:
    async with asyncio.timeout(WAIT):
        while True:
            async with session.get(url) as response:
                if (await response.json())["inflight"]:
                    return
