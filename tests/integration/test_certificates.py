"""Changed certificate files are taken up by a running instance, or refused while the old ones serve on."""

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.certificates import authority, pair_in, text_of
from tests.fakes.instance import Balancer, event, get, launched, running

pytestmark = pytest.mark.integration


async def certificates(balancer: Balancer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await get(balancer.admin_port, "/api/certificates")).json()["certificates"]
    return found


async def names(balancer: Balancer) -> list[list[str]]:
    return [one["names"] for one in await certificates(balancer)]


async def reloads(balancer: Balancer, name: Path, result: str) -> float:
    return await balancer.metric(f'balancer_tls_certificate_reloads_total{{name="{name}",result="{result}"}}')


def site(folder: Path, host: str) -> Path:
    """A folder as certbot and Kubernetes have them, with a pair for `host`."""
    folder.mkdir()
    pair_in(folder, host=host)
    return folder


def settings(certificate: Path, key: Path, **more: str) -> dict[str, str]:
    return {
        "UPSTREAMS": "127.0.0.1:1",
        "HEALTH_CHECK__ENABLED": "false",
        "TLS__LISTEN": "127.0.0.1:0",
        "TLS__CERTIFICATES": f"{certificate}:{key}",
        **more,
    }


@pytest.fixture
async def rotating(tmp_path: Path) -> AsyncIterator[tuple[Balancer, Path, Path]]:
    """A balancer with a pair of plain files for one.example."""
    certificate, key = pair_in(tmp_path, host="one.example")
    async with running(**settings(certificate, key)) as balancer:
        yield balancer, certificate, key


def renamed_over(folder: Path, host: str, *files: Path) -> None:
    """Replace the pair by one for `host`, one file after the other; of both, or only the given ones."""
    for new, old in zip(
        pair_in(folder, "new", host), (folder / "site.pem", folder / "site.key"), strict=True
    ):
        if not files or old in files:
            new.rename(old)


async def test_files_that_are_renamed_over_are_taken_up(
    rotating: tuple[Balancer, Path, Path], tmp_path: Path
) -> None:
    balancer, certificate, _ = rotating
    assert balancer.tls_port not in (0, balancer.port)
    (before,) = await certificates(balancer)
    assert (before["name"], before["names"], before["problem"]) == (str(certificate), ["one.example"], "")
    workers = balancer.workers()
    renamed_over(tmp_path, "two.example")
    text = (await event(balancer, "certificate"))["text"]
    assert text.startswith(f"certificate {certificate} renewed: two.example, by ")
    assert await names(balancer) == [["two.example"]]
    assert await reloads(balancer, certificate, "renewed") == 1
    assert await balancer.metric(f'balancer_tls_certificate_not_after_seconds{{name="{certificate}"}}') > 0
    assert balancer.workers() == workers
    await balancer.says(text)


async def test_a_symbolic_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    first, second = site(tmp_path / "1", "one.example"), site(tmp_path / "2", "two.example")
    data, new = tmp_path / "..data", tmp_path / "..new"
    data.symlink_to(first)
    for name in ("site.pem", "site.key"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    async with running(**settings(tmp_path / "site.pem", tmp_path / "site.key")) as balancer:
        new.symlink_to(second)
        new.rename(data)
        await event(balancer, "certificate")
        assert await names(balancer) == [["two.example"]]
        (pid,) = balancer.workers()
        os.kill(pid, 9)
        await balancer.says("is ready again")
        assert await names(balancer) == [["two.example"]]


async def test_a_pair_that_does_not_fit_is_refused_until_it_does(
    rotating: tuple[Balancer, Path, Path], tmp_path: Path
) -> None:
    balancer, certificate, key = rotating
    fitting = tmp_path / "fitting.key"
    certificate_before = certificate.read_bytes()
    renamed_over(tmp_path, "two.example", certificate)
    (tmp_path / "new.key").rename(fitting)
    refused = await event(balancer, "certificate_refused")
    assert f"{key} is not the key of the certificate in {certificate}" in refused["text"]
    assert "The old one serves on" in refused["text"]
    (view,) = await certificates(balancer)
    assert (view["names"], "is not the key" in view["problem"]) == (["one.example"], True)
    assert await reloads(balancer, certificate, "refused") == 1
    fitting.rename(key)
    await event(balancer, "certificate", refused["revision"])
    (view,) = await certificates(balancer)
    assert (view["names"], view["problem"]) == (["two.example"], "")
    assert certificate.read_bytes() != certificate_before
    assert await reloads(balancer, certificate, "refused") == 1


async def test_a_file_that_is_deleted_changes_nothing(rotating: tuple[Balancer, Path, Path]) -> None:
    balancer, certificate, key = rotating
    content = key.read_bytes()
    key.unlink()
    refused = await event(balancer, "certificate_refused")
    assert f"{key} cannot be read (no such file or directory)" in refused["text"]
    assert await names(balancer) == [["one.example"]]
    key.write_bytes(content)
    await balancer.says(f"{certificate} can be used again")


async def test_authorities_of_clients_are_taken_up(tmp_path: Path) -> None:
    certificate, key = pair_in(tmp_path)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(text_of(authority().cert_pem))
    async with running(**settings(certificate, key, TLS__CLIENT_CA=str(ca))) as balancer:
        ca.write_bytes(text_of(authority().create_child_ca().cert_pem))
        assert (await event(balancer, "certificate"))["text"] == (
            f"authorities of client certificates {ca} replaced"
        )
        assert await reloads(balancer, ca, "renewed") == 1


async def test_a_plain_instance_has_no_certificates() -> None:
    async with running(UPSTREAMS="127.0.0.1:1", HEALTH_CHECK__ENABLED="false") as balancer:
        assert await certificates(balancer) == []
        assert balancer.tls_port == 0


async def test_a_tls_port_in_use_is_one_line_and_exit_1(tmp_path: Path) -> None:
    certificate, key = pair_in(tmp_path)
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with launched(**settings(certificate, key, TLS__LISTEN=address)) as balancer:
            assert await balancer.exit_code() == 1
    (line,) = balancer.stderr
    assert f"cannot listen on {address}: the port is in use" in line


async def test_a_pair_that_does_not_fit_is_one_line_at_the_start(tmp_path: Path) -> None:
    certificate, _ = pair_in(tmp_path)
    _, key = pair_in(tmp_path, "other")
    async with launched(**settings(certificate, key)) as balancer:
        assert await balancer.exit_code() == 1
    (line,) = balancer.stderr
    assert f'BALANCER_TLS__CERTIFICATES: "{key}" is not the key of the certificate in {certificate}' in line
