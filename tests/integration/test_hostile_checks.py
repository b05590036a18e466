"""Apps with endless responses to checks behind a whole balancer: the supervisor is not delayed."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import get, running, until
from tests.health.flood import CHUNKED, HINT, Flood

pytestmark = pytest.mark.integration

HOSTILE = 4
SECONDS = 3.0  # with the default settings of checks, three checks of each
# Of a core. It takes 2 to 5 %; unbounded reading took all of it.
MOST_CPU = 0.4
MOST_LATE = 1.0  # seconds until /readyz is answered


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("first", "unit", "said"),
    [
        pytest.param(
            b"", HINT, "more than 100 informational responses came without a final response", id="hints"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n",
            b"A: b\r\n",
            "came without a final response",
            id="fields",
            marks=pytest.mark.slow,
        ),
        pytest.param(CHUNKED, b"1\r\na\r\n2\r\nab\r\n", "", id="tiny chunks", marks=pytest.mark.slow),
    ],
)
async def test_endless_check_responses_delay_no_other_task_of_the_supervisor(
    first: bytes, unit: bytes, said: str
) -> None:
    with Flood.running(first, unit, count=HOSTILE) as flood:
        async with app_replica("well") as well:
            upstreams = ",".join([well.address, *(f"127.0.0.1:{port}" for port in flood.ports)])
            async with running(UPSTREAMS=upstreams) as balancer:
                await balancer.becomes_ready()
                if said:  # they are ejected, with the cause
                    for port in flood.ports:
                        assert said in await balancer.says(f"127.0.0.1:{port} of pool default ejected")
                before = _cpu_seconds(balancer.pid)
                loop = asyncio.get_running_loop()
                end = loop.time() + SECONDS
                while loop.time() < end:
                    async with asyncio.timeout(MOST_LATE):
                        assert (await get(balancer.admin_port, "/readyz")).status == 200
                    await asyncio.sleep(0.05)
                assert (_cpu_seconds(balancer.pid) - before) / SECONDS < MOST_CPU

                async def is_served() -> bool:
                    return (await get(balancer.port)).status == 200

                if said:
                    await until(is_served)
