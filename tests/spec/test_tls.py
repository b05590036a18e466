"""Whom an upstream must prove to be."""

import pytest

from balancer.spec.tls import UpstreamTlsSpec


@pytest.mark.parametrize(
    ("own", "host", "name"),
    [
        pytest.param("", "app.internal", "app.internal", id="the name in UPSTREAMS"),
        pytest.param("", "app.internal.", "app.internal", id="without its final dot"),
        pytest.param("", "10.0.0.1", "10.0.0.1", id="its address"),
        pytest.param("shop.internal", "app.internal", "shop.internal", id="the name in the settings"),
    ],
)
def test_the_name_of_an_upstream(own: str, host: str, name: str) -> None:
    assert UpstreamTlsSpec(verify=True, server_name=own).name_of(host) == name
