"""The process that orders a certificate: what it says, and what happens if it says nothing."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from balancer.acme.account import Account, new_account
from balancer.acme.order import Issued, Wanted
from balancer.acme.problem import Cause, OrderError
from balancer.runtime import acme_files, acme_ordering, acme_process
from balancer.runtime.acme_ordering import answer_to
from balancer.runtime.acme_parts import (
    AccountRecord,
    Failed,
    Note,
    Ordered,
    OrderRequest,
    Publish,
    Said,
    decode_request,
    decode_said,
)
from balancer.runtime.acme_process import order_in_process
from balancer.spec.part import encode
from balancer.spec.tls import ChallengeSpec
from tests.fakes.certificates import key_pem, made

SHOWN = ChallengeSpec(domain="shop.example", token="t0ken", answer="t0ken.thumbprint")


def request(folder: Path, url: str = "https://127.0.0.1:1/dir") -> OrderRequest:
    return OrderRequest(
        domain="shop.example",
        directory_url=url,
        folder=str(folder),
        email="",
        ca="",
        challenge="http-01",
    )


async def refuse(challenges: tuple[ChallengeSpec, ...]) -> None:
    raise AssertionError("nothing is to be published")


@pytest.mark.parametrize(
    "said",
    [
        Publish(challenges=(SHOWN,)),
        Note(text="a\nb"),
        Ordered(challenge="", not_before=1.5, not_after=2.5),
        Failed(cause=Cause.LIMITED, why="ä", retry_after=7.0),
    ],
    ids=lambda said: type(said).__name__,
)
def test_what_is_said_survives_the_pipe_on_one_line(said: Said) -> None:
    line = encode(said)
    assert decode_said(line) == said
    assert b"\n" not in line


def test_a_request_survives_the_pipe(tmp_path: Path) -> None:
    assert decode_request(encode(request(tmp_path))) == request(tmp_path)


class Authority:
    """In place of `order`: what the process is to do with what an authority gives, or does not."""

    def __init__(self, answer: Issued | OrderError | OSError, gives: Account | None = None) -> None:
        self.answer = answer
        self.gives = gives
        self.accounts: list[Account] = []

    def __call__(self, wanted: Wanted, account: Account, keep: object, publish: object) -> Issued:
        self.accounts.append(account)
        if self.gives is not None:
            assert callable(keep)
            keep(self.gives)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def issued(name: str = "shop.example") -> Issued:
    one = made("leaf", names=(name,))
    return Issued(chain=one.pem, key=one.key, challenge="http-01")


def test_what_is_issued_is_in_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Account(new_account().key, "https://ca.test/1", "")
    monkeypatch.setattr(acme_ordering, "order", Authority(issued(), given))
    answer = answer_to(request(tmp_path))
    assert isinstance(answer, Ordered)
    assert answer.not_after - answer.not_before == 91 * 86400
    text = (tmp_path / "certificates/shop.example.pem").read_text()
    assert text.count("-----BEGIN CERTIFICATE-----") == text.count("PRIVATE KEY-----") // 2 == 1
    again = Authority(issued())
    monkeypatch.setattr(acme_ordering, "order", again)
    answer_to(request(tmp_path))
    assert again.accounts == [given]


def test_an_account_is_kept_even_if_the_order_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Account(new_account().key, "https://ca.test/1", "")
    error = OrderError(Cause.REFUSED, "no", 7.0)
    monkeypatch.setattr(acme_ordering, "order", Authority(error, given))
    assert answer_to(request(tmp_path)) == Failed(cause=Cause.REFUSED, why="no", retry_after=7.0)
    kept = acme_files.read(acme_files.account_file(str(tmp_path)), AccountRecord)
    assert kept is not None
    assert kept.url == given.url


@pytest.mark.parametrize(
    ("content", "is_used"),
    [
        pytest.param(b"{", False, id="not JSON"),
        pytest.param(encode(AccountRecord(key=b"x", url="", email="")), False, id="a key that is none"),
        pytest.param(
            encode(AccountRecord(key=key_pem(made("a").private), url="", email="")), True, id="a good one"
        ),
    ],
)
def test_a_damaged_account_is_put_aside(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    content: bytes,
    is_used: bool,
) -> None:
    file = tmp_path / "account.json"
    file.write_bytes(content)
    monkeypatch.setattr(acme_ordering, "order", Authority(issued()))
    monkeypatch.setattr(sys, "stdout", os.fdopen(os.dup(1), "w"))
    assert isinstance(answer_to(request(tmp_path)), Ordered)
    sys.stdout.close()
    said = capfdbinary.readouterr().out
    damaged = tmp_path / "account.json.damaged"
    assert damaged.exists() is not is_used
    assert (b"is damaged, so a new account is made" in said) is not is_used


def test_an_answer_that_is_no_certificate_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Issued(chain=issued().chain, key=issued().key, challenge="http-01")
    monkeypatch.setattr(acme_ordering, "order", Authority(other))
    answer = answer_to(request(tmp_path))
    assert isinstance(answer, Failed)
    assert answer.why.startswith("the authority's answer cannot be used: ")
    assert not (tmp_path / "certificates").exists()


def test_a_storage_that_is_full_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme_ordering, "order", Authority(OSError(28, "No space left on device")))
    answer = answer_to(request(tmp_path))
    assert answer == Failed(cause=Cause.REFUSED, why=f"{tmp_path} cannot be used: no space left on device")


@pytest.mark.integration
async def test_an_authority_that_does_not_listen_is_a_failure(tmp_path: Path) -> None:
    answer = await order_in_process(request(tmp_path), refuse, print)
    why = "127.0.0.1:1 cannot be reached: connection refused"
    assert answer == Failed(cause=Cause.UNREACHABLE, why=why)
    assert os.listdir(tmp_path) == []


@pytest.mark.integration
async def test_a_process_that_fails_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def why() -> str:
        answer = await order_in_process(request(tmp_path), refuse, print)
        assert isinstance(answer, Failed)
        assert answer.cause is Cause.UNREACHABLE
        return answer.why

    monkeypatch.setattr(acme_process, "_MODULE", "this")  # it prints text
    assert await why() == "ordering failed, for a reason that is on stderr"
    monkeypatch.setattr(acme_process, "_MODULE", "this_is_no_module")
    assert await why() == "ordering ended with the exit code 1"
    monkeypatch.setattr(acme_process, "PATIENCE", 0.0)
    assert await why() == "ordering takes more than 0 s"
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await why() == "no process can be started (no such file or directory)"


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, Callable[[], Awaitable[socket.socket]]]]:
    """The directory of an authority that never answers, and what returns its next connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        async def accept() -> socket.socket:
            connection, _ = await asyncio.get_running_loop().sock_accept(listening)
            return connection

        yield f"https://127.0.0.1:{listening.getsockname()[1]}/dir", accept


@pytest.mark.integration
async def test_an_order_that_is_cancelled_ends_its_process(tmp_path: Path) -> None:
    async with asyncio.timeout(20), silent() as (directory, accept):
        order = asyncio.create_task(order_in_process(request(tmp_path, directory), refuse, print))
        with await accept() as connection:
            order.cancel()
            with pytest.raises(asyncio.CancelledError):
                await order
            await ended(connection)


@pytest.mark.integration
async def test_an_order_ends_with_its_supervisor(tmp_path: Path) -> None:
    async with asyncio.timeout(20), silent() as (directory, accept):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "balancer.runtime.acme_ordering"), stdin=PIPE, stdout=PIPE
        )
        assert process.stdin is not None
        process.stdin.write(encode(request(tmp_path, directory)) + b"\n")
        with await accept():
            process.stdin.close()
            assert await process.wait() == 0


async def ended(connection: socket.socket) -> None:
    """Its peer is gone."""
    connection.setblocking(False)
    with suppress(ConnectionResetError):
        while await asyncio.get_running_loop().sock_recv(connection, 4096):
            pass
