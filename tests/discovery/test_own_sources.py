"""Installed sources are found by their scheme, or refused with cause and remedy."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from balancer.config.loader import load_with_origins
from balancer.discovery import own_sources
from balancer.errors import SettingsError

Install = Callable[..., None]

GOOD = """
from balancer.discovery.base import MemberSource

class Rota(MemberSource):
    def __init__(self, url):
        super().__init__(url)
        if "@" in url:
            raise ValueError("has a user name; set ROTA_TOKEN instead")
        if "boom" in url:
            raise ZeroDivisionError("no luck")

    async def watch(self):
        yield ["10.0.0.2:8000"]

number = 7
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Writes an importable module, and distributions with entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "rota_source.py").write_text(GOOD)

    def write(value: str = "rota_source:Rota", package: str = "fine-rota", scheme: str = "rota") -> None:
        info = tmp_path / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[balancer.discovery]\n{scheme} = {value}\n")

    yield write
    sys.modules.pop("rota_source", None)


def _problems(upstreams: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load_with_origins({"BALANCER_UPSTREAMS": upstreams}, sources=own_sources)
    return list(raised.value.problems)


def test_an_installed_source_is_built_by_its_scheme(install: Install) -> None:
    install()
    assert own_sources.problem("rota://web") is None
    assert own_sources.build("rota://web?tag=v2").url == "rota://web?tag=v2"
    loaded = load_with_origins({"BALANCER_UPSTREAMS": "rota://web?tag=v2,app1:80"}, sources=own_sources)
    assert [str(one) for one in loaded.settings.upstreams] == ["rota://web?tag=v2", "app1:80"]


@pytest.mark.parametrize(
    ("value", "url", "problem"),
    [
        pytest.param(
            "rota_source:Rota", "rota://a@web", "has a user name; set ROTA_TOKEN instead", id="refused_by_it"
        ),
        pytest.param(
            "rota_source:number",
            "rota://web",
            "is for rota_source:number of fine-rota 1.2, which is no source; it must be a subclass of "
            "balancer.discovery.base.MemberSource",
            id="no_source",
        ),
        pytest.param(
            "absent:Rota",
            "rota://web",
            "is registered by fine-rota 1.2 as absent:Rota, which cannot be imported: there is no module "
            "absent; install it, or name its folder in PYTHONPATH",
            id="no_module",
        ),
        pytest.param(
            "rota_source:Rota",
            "rota://boom",
            "cannot be used: ZeroDivisionError: no luck (rota_source.py, line 10); fix rota_source:Rota",
            id="broken",
        ),
    ],
)
def test_what_is_wrong_is_said_when_the_settings_are_checked(
    install: Install, value: str, url: str, problem: str
) -> None:
    install(value)
    assert _problems(url) == [f'BALANCER_UPSTREAMS: "{url}" {problem}']


def test_two_packages_with_one_scheme_are_refused(install: Install) -> None:
    install()
    install(package="other-rota")
    assert own_sources.problem("rota://web") == (
        "has a scheme that fine-rota 1.2 and other-rota 1.2 provide; uninstall one of them"
    )


def test_a_scheme_that_nobody_provides_is_unknown(install: Install) -> None:
    install(scheme="other")
    (problem,) = _problems("rota://web")
    assert "has an unknown scheme (rota://)" in problem
    assert (
        own_sources.problem("rota://web")
        == "has the scheme rota://, which no installed package provides; install it again"
    )
