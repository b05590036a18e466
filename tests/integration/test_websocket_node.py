"""WebSockets by node's `ws`: both ends see the same through a balancer as directly."""

import pytest

from tests.fakes.instance import running
from tests.fakes.node_websockets import CODES, ends, line, node, seen

pytestmark = pytest.mark.integration


async def test_both_ends_see_the_same_as_directly() -> None:
    command = node()
    async with ends(command, "server") as server:
        port = await line(server)
        direct = await seen(command, server, port)
        for name, code in CODES.items():
            at_client, at_server = direct[name]
            assert at_client[0][:2] == ["open", "v1"]
            assert code in (at_client[-1][1], at_server[-1][1])
        async with running(UPSTREAMS=f"127.0.0.1:{port}", HEALTH_CHECK__ENABLED="false") as balancer:
            through = await seen(command, server, balancer.port)
    for name in CODES:
        assert through[name] == direct[name], name
