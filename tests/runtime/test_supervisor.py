"""Whole instances with real processes, signals and sockets, as seen by operators and clients."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, Client, get, gone, launched, running, stop, until

pytestmark = pytest.mark.integration


@pytest.fixture
async def app() -> AsyncIterator[AppReplica]:
    async with app_replica() as replica:
        yield replica


async def is_refused(port: int) -> bool:
    try:
        client = await Client.connect(port)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the queue when the listening ended
        return False
    await client.close()
    return False


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_instance_starts_serves_counts_logs_and_ends(app: AppReplica, workers: str) -> None:
    async with running(UPSTREAMS=app.address, WORKERS=workers) as balancer:
        assert len(balancer.workers()) == int(workers)
        assert (await balancer.readiness()).json() == {"status": "ready"}
        assert [(await get(balancer.port)).body for _ in range(4)] == [b"app"] * 4
        records = await balancer.logs_access(4)
        assert {(r["status"], r["target"], r["upstream"]) for r in records} == {(200, "/", app.address)}
        series = 'balancer_requests_total{code="200",method="GET",pool="default",route="default"}'
        await balancer.shows(series, 4)
        (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
        assert [(u["id"], u["requests"]) for u in pool["upstreams"]] == [(app.address, 4)]
        balancer.signal(signal.SIGTERM)
        assert await balancer.exit_code() == 0


async def test_a_broken_off_response_is_counted_and_logged_alike(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address) as balancer:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await get(balancer.port, "/cut")
        (record,) = await balancer.logs_access(1)
        assert (record["status"], record["reason"], record["response_bytes"]) == (
            200,
            "response_truncated",
            4,
        )
        counts = {
            'balancer_requests_total{code="200",method="GET",pool="default",route="default"}': 1,
            'balancer_local_responses_total{code="502",reason="response_truncated"}': 1,
            f'balancer_upstream_requests_total{{code="200",pool="default",upstream="{app.address}"}}': 1,
            'balancer_response_bytes_total{pool="default",route="default"}': 4,
            'balancer_requests_inflight{pool="default",route="default"}': 0,
        }
        for series, value in counts.items():
            await balancer.shows(series, value)


async def test_an_instance_listens_on_ipv6(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address, LISTEN="[::1]:0", WORKERS="2") as balancer:
        assert balancer.host == "::1"
        assert (await get(balancer.port, host="::1")).status == 200


async def test_the_supervisor_resolves_upstream_names(app: AppReplica) -> None:
    async with running(UPSTREAMS=f"localhost:{app.port},nowhere.invalid:80") as balancer:
        await balancer.says("nowhere.invalid does not resolve")
        (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
        assert [u["address"] for u in pool["upstreams"]] == [app.address, ""]
        assert (await get(balancer.port)).status == 200


async def test_a_replacement_serves_clients_waiting_in_the_killed_workers_queue(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address) as balancer:
        (worker,) = balancer.workers()
        await stop(worker)
        clients = [await balancer.connect() for _ in range(20)]
        for client in clients:
            client.send()
        os.kill(worker, signal.SIGKILL)
        answers = [await client.answer() for client in clients]
        assert [answer.status for answer in answers] == [200] * 20
        assert balancer.workers() != [worker]
        await balancer.becomes_ready()
        await balancer.shows('balancer_worker_restarts_total{worker="0"}', 1)


async def test_counts_of_a_killed_worker_are_kept(app: AppReplica) -> None:
    series = f'balancer_upstream_requests_total{{code="200",pool="default",upstream="{app.address}"}}'
    async with running(UPSTREAMS=app.address) as balancer:
        for _ in range(3):
            await get(balancer.port)
        await balancer.shows(series, 3)
        os.kill(balancer.workers()[0], signal.SIGKILL)
        await balancer.says("is ready again")
        await get(balancer.port)
        await balancer.shows(series, 4)


async def test_traffic_continues_while_workers_are_killed(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address, WORKERS="2") as balancer:
        for victim in balancer.workers():
            await stop(victim)  # so that no request is half served when it dies
            traffic = [asyncio.create_task(get(balancer.port)) for _ in range(20)]
            os.kill(victim, signal.SIGKILL)
            assert [(await one).status for one in traffic] == [200] * 20
            await balancer.becomes_ready()


async def drains(balancer: Balancer) -> None:
    await balancer.says("draining")
    await until(lambda: is_refused(balancer.port))


async def test_term_lets_running_requests_finish_and_refuses_new_ones(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address, WORKERS="2") as balancer:
        idle, busy = await balancer.connect(), await balancer.connect()
        idle.send()
        assert (await idle.answer()).status == 200
        busy.send("/hold")
        await app.holds()
        balancer.signal(signal.SIGTERM)
        await drains(balancer)
        assert await idle.ended() == b""
        assert "draining" in (await balancer.readiness()).json()["reasons"]
        app.release.set()
        answer = await busy.answer()
        assert (answer.status, "connection: close" in answer.head.lower()) == (200, True)
        assert await balancer.exit_code() == 0
        assert len(balancer.stdout) == 2


async def test_term_serves_clients_waiting_in_the_accept_queue(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address) as balancer:
        (worker,) = balancer.workers()
        await stop(worker)
        clients = [await balancer.connect() for _ in range(20)]
        for client in clients:
            client.send()
        balancer.signal(signal.SIGTERM)
        await balancer.says("draining")
        os.kill(worker, signal.SIGCONT)
        assert [(await client.answer()).status for client in clients] == [200] * 20
        assert await balancer.exit_code() == 0


async def test_during_the_drain_delay_connections_are_accepted_and_readyz_fails(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address, TIMEOUTS__DRAIN_DELAY="1h") as balancer:
        balancer.signal(signal.SIGTERM)
        await balancer.says("draining")
        assert (await balancer.readiness()).json()["reasons"] == ["draining"]
        assert (await get(balancer.port)).status == 200
        workers = balancer.workers()
        balancer.signal(signal.SIGTERM)
        assert await balancer.exit_code() == 128 + signal.SIGTERM
        for pid in workers:
            await gone(pid)


async def test_requests_that_outlast_the_drain_time_get_503(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address, TIMEOUTS__DRAIN="50ms") as balancer:
        client = await balancer.connect()
        client.send("/hold")
        await app.holds()
        balancer.signal(signal.SIGTERM)
        assert (await client.answer()).status == 503
        assert await balancer.exit_code() == 0


async def test_a_second_signal_exits_at_once(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address, WORKERS="2") as balancer:
        client = await balancer.connect()
        client.send("/hold")
        await app.holds()
        workers = balancer.workers()
        balancer.signal(signal.SIGTERM)
        await balancer.says("draining")
        balancer.signal(signal.SIGINT)
        assert await balancer.exit_code() == 128 + signal.SIGINT
        for pid in workers:
            await gone(pid)


async def test_workers_finish_and_exit_when_the_supervisor_is_killed(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address, WORKERS="2") as balancer:
        client = await balancer.connect()
        client.send("/hold")
        await app.holds()
        workers = balancer.workers()
        balancer.signal(signal.SIGKILL)
        await until(lambda: is_refused(balancer.port))
        app.release.set()
        assert (await client.answer()).status == 200
        for pid in workers:
            await gone(pid)


@pytest.mark.parametrize("setting", ["LISTEN", "ADMIN_LISTEN"])
async def test_a_port_in_use_is_one_line_and_exit_1(setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with launched(UPSTREAMS="127.0.0.1:1", **{setting: address}) as balancer:
            assert await balancer.exit_code() == 1
    (line,) = balancer.stderr
    assert f"cannot listen on {address}: the port is in use" in line


async def test_a_port_is_free_again_after_a_restart(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address) as first:
        client = await first.connect()
        client.send()
        await client.answer()
        first.signal(signal.SIGTERM)  # the balancer closes first, and keeps the TIME_WAIT
        assert await client.ended() == b""
        assert await first.exit_code() == 0
    async with running(UPSTREAMS=app.address, LISTEN=f"127.0.0.1:{first.port}") as second:
        assert (await get(second.port)).status == 200


async def test_a_start_up_error_of_a_worker_is_one_line_and_exit_1() -> None:
    async with launched("tests.runtime.unknown_policy") as balancer:
        assert await balancer.exit_code() == 1
    (line,) = balancer.stderr
    assert "cannot start" in line
    assert "nonesuch" in line
