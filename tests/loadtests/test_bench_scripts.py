"""The Lua scripts that make wrk's requests, and how a case becomes the proxies' settings."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.bench import contenders, scripts
from loadtests.bench.cases import CASES
from loadtests.bench.memory import parse_rollup
from loadtests.bench.origins import origin
from loadtests.bench.setup import Origin, Place, Setup
from loadtests.builds import Build


@pytest.mark.parametrize("script", [scripts.another, scripts.cookie], ids=["another", "cookie"])
def test_a_script_has_a_number_for_each_place_of_its_template(script: Callable[[int], str]) -> None:
    found = re.search(r'string\.format\("(.*)", (.*)\) end', script(1))
    assert found is not None
    template, arguments = found.groups()
    assert len(re.findall(r"%\d*[dx]", template)) == len(arguments.split(", "))
    assert template.endswith(r"\r\n\r\n")


def test_the_browsers_requests_are_fifty_whole_heads() -> None:
    heads = re.findall(r'"(GET .*\\r\\n\\r\\n)"', scripts.of_browsers(1))
    assert len(set(heads)) == 50


def test_a_pause_has_the_mean_that_makes_the_rate() -> None:
    assert "math.random(0, 64)" in scripts.paced(2_000.0, 64)  # milliseconds: 32 on average


def place(directory: Path) -> Place:
    return Place(directory, 8000, 8001, (8002, 8003))


def test_what_a_case_asks_is_in_every_proxys_settings(tmp_path: Path) -> None:
    setup = Setup(policy="round_robin", log=True, sticky=True, unbuffered=True, upstreams=1_000)
    contenders.nginx(place(tmp_path), setup, {})
    nginx = (tmp_path / "nginx.conf").read_text()
    assert "least_conn" not in nginx
    assert "proxy_request_buffering off;" in nginx
    assert "keepalive 2000;" in nginx
    assert f"access_log {tmp_path}/access.log;" in nginx
    contenders.haproxy(place(tmp_path), setup, {})
    haproxy = (tmp_path / "haproxy.cfg").read_text()
    assert "balance roundrobin" in haproxy
    assert "cookie SERVER insert" in haproxy
    assert "check inter 2s cookie s2" in haproxy
    contenders.caddy(place(tmp_path), setup, {})
    assert "output file" in (tmp_path / "caddyfile").read_text()


def test_ours_runs_the_build_with_the_cases_settings(tmp_path: Path) -> None:
    prepare = contenders.ours(Build("compiled", tmp_path))
    environment = prepare(place(tmp_path), Setup(log=True), {"WORKERS": "2"}).environment
    assert environment["PYTHONPATH"].startswith(f"{tmp_path}:")
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["BALANCER_ACCESS_LOG__ENABLED"] == "true"
    assert environment["BALANCER_WORKERS"] == "2"
    assert environment["BALANCER_UPSTREAMS"] == "127.0.0.1:8002,127.0.0.1:8003"


@pytest.mark.parametrize("kind", Origin, ids=lambda kind: kind.name.lower())
def test_every_origin_has_its_settings(kind: Origin, tmp_path: Path) -> None:
    origin(tmp_path, [8000], Setup(origin=kind))
    if kind is Origin.DIFFERING:
        assert """add_header ETag '"$request_id"'; return 200 "xx""" in (tmp_path / "origin.conf").read_text()


def test_only_installed_proxies_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None if program == "caddy" else program)
    found, left_out = contenders.available(("nginx", "caddy", "ours", "plain"), tmp_path)
    assert list(found) == ["nginx", "plain"]
    assert left_out[0] == "caddy is not installed; left out (on Debian: apt-get install caddy)"
    assert left_out[1].startswith("ours is left out: no compiled package in")


def test_every_case_is_named_once_and_says_what_it_is() -> None:
    assert all(case.name == name and case.text for name, case in CASES.items())
    assert [name for name in CASES if name.startswith("1000-")] == [
        f"1000-{policy}" for policy in contenders.NGINX_POLICIES
    ]


def test_memory_is_the_proportional_set_size() -> None:
    assert parse_rollup("00-ff ---p 0 0 [rollup]\nRss:  200 kB\nPss:  72 kB\nPss_Dirty: 3 kB\n") == 72 * 1024
