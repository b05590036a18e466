"""A whole balancer with its admin listener on loopback: accepted host names, and warnings at the start."""

import aiohttp
import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.forkserver import run
from tests.fakes.instance import running

pytestmark = pytest.mark.integration


async def test_a_rebound_name_is_refused_until_it_is_in_admin_hosts() -> None:
    async with app_replica() as app, running(UPSTREAMS=app.address, ADMIN_HOSTS="lb.example\n") as balancer:
        answers = {}
        async with aiohttp.ClientSession() as session:
            for host in ("evil.example", "lb.example", "localhost:1", "evil@127.0.0.1"):
                url = f"http://127.0.0.1:{balancer.admin_port}/api/pools"
                async with session.get(url, headers={"Host": host}) as response:
                    answers[host] = response.status
        assert answers == {"evil.example": 403, "lb.example": 200, "localhost:1": 200, "evil@127.0.0.1": 403}
        done = run("balancer", "status", "--admin", f"127.0.0.1:{balancer.admin_port}", environ={})
        assert (done.returncode, app.address in done.stdout) == (0, True)


async def test_settings_without_effect_are_warned_of_at_the_start() -> None:
    async with (
        app_replica() as app,
        running(UPSTREAMS=app.address, TIMEOUTS__TOTAL="5s", TIMEOUTS__CONNECT="9s") as balancer,
    ):
        line = await balancer.says("has no effect")
        assert line.partition(" WARNING ")[2] == (
            'BALANCER_TIMEOUTS__CONNECT: "9s" has no effect because TIMEOUTS__TOTAL (5s) is not '
            "longer; raise TIMEOUTS__TOTAL, or lower this"
        )
