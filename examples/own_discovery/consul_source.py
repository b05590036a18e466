"""Upstreams from Consul: `consul://web` or `consul://web?tag=v2`, those whose checks pass."""

import os
from urllib.parse import parse_qsl, urlsplit

import aiohttp

from balancer.discovery.base import MemberSource


class Consul(MemberSource):
    def __init__(self, url):
        super().__init__(url)
        parts = urlsplit(url)
        self.service = parts.netloc
        self.query = dict(parse_qsl(parts.query))
        if not self.service or parts.path:
            raise ValueError("does not name a service; write consul://web or consul://web?tag=v2")

    async def watch(self):
        agent = os.environ.get("CONSUL_HTTP_ADDR", "http://127.0.0.1:8500")
        headers = {"X-Consul-Token": os.environ.get("CONSUL_HTTP_TOKEN", "")}
        async with aiohttp.ClientSession(agent, headers=headers, raise_for_status=True) as session:
            index = 0  # Consul answers when there is something newer, or after a minute
            while True:
                query = {**self.query, "passing": "true", "wait": "60s", "index": str(index)}
                async with session.get(f"/v1/health/service/{self.service}", params=query) as answer:
                    yield [self.upstream(one) for one in await answer.json()]
                    newest = int(answer.headers["X-Consul-Index"])
                    index = newest if newest >= index else 0  # it has been restored

    def upstream(self, found):
        service = found["Service"]
        host = service["Address"] or found["Node"]["Address"]
        weight = service.get("Weights", {}).get("Passing", 1)
        return f"{f'[{host}]' if ':' in host else host}:{service['Port']}?weight={weight}"
