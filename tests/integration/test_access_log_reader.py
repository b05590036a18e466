"""A slow reader of stdout costs lines, which are counted, but no request, in every format."""

import asyncio
import re

import pytest

from balancer.telemetry.access_log import FORMATS
from tests.fakes.instance import PATIENCE, running, until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

REQUEST = b"GET /a HTTP/1.1\r\nHost: test.localhost\r\n\r\n"
BATCH = 500
# More lines than the pipe and the queue of 20,000 hold.
BATCHES = 48


WHOLE = {
    "json": re.compile(r'\{"time":.*"status":204,.*"request_id":"\w+"\}'),
    "logfmt": re.compile(r"time=\S+ .* status=204 .* request_id=\w+"),
    "combined": re.compile(r'127\.0\.0\.1 - - \[\S+ \+0000\] "GET /a HTTP/1\.1" 204 0 "-" "-"'),
}


async def ask(port: int) -> None:
    """All requests on one connection; each is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE):
            for _ in range(BATCHES):
                writer.write(REQUEST * BATCH)
                for _ in range(BATCH):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
    finally:
        writer.close()


@pytest.mark.parametrize("format", FORMATS)
async def test_a_blocked_stdout_drops_and_counts_lines_and_no_request_waits(format: str) -> None:
    settings = {
        "ROUTES": '[{"match": {"path": "/a"}, "respond": {"status": 204}}, {"pool": "default"}]',
        "UPSTREAMS": "127.0.0.1:1",
        "HEALTH_CHECK__ENABLED": "false",
        "WORKERS": "1",
        "ACCESS_LOG__FORMAT": format,
    }
    expected = BATCHES * BATCH
    async with running(**settings) as balancer:

        async def dropped() -> float:
            return await balancer.metric("balancer_log_dropped_total")

        async def drops() -> bool:
            return await dropped() > 0

        async def all_are_accounted_for() -> bool:
            return len(balancer.stdout) + await dropped() >= expected

        with balancer.process.stdout_unread():
            await ask(balancer.port)
            await until(drops)
        await until(all_are_accounted_for)
        assert len(balancer.stdout) == expected - await dropped()
    assert all(WHOLE[format].fullmatch(line) for line in balancer.stdout)
