"""The process that reads changed certificates: what it answers, and what happens if it does not."""

import sys
from pathlib import Path

import pytest

from balancer.config.pair_files import PairFiles
from balancer.runtime import certificate_process
from balancer.runtime.certificate_process import ReadingError, read_in_process
from balancer.runtime.certificate_reading import answer_to
from balancer.runtime.certificate_sources import (
    ReadAuthorities,
    ReadPair,
    ReadRequest,
    Unusable,
    decode_answer,
    decode_request,
)
from balancer.spec.part import encode
from tests.fakes.certificates import authority, pair_in, text_of


@pytest.fixture
def request_(tmp_path: Path) -> ReadRequest:
    certificate, key = pair_in(tmp_path)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(text_of(authority().cert_pem))
    pairs = (PairFiles(str(certificate), str(key)), PairFiles(str(certificate)))
    return ReadRequest(pairs=pairs, password_file="", authorities=str(ca))


def test_each_pair_has_its_own_answer(request_: ReadRequest) -> None:
    answer = answer_to(request_, 0.0)
    good, bad = answer.pairs
    assert isinstance(good, ReadPair)
    assert good.spec.names == ("shop.example",)
    assert good.spec.label == request_.pairs[0].certificate
    assert good.spec.chain.startswith(b"-----BEGIN CERTIFICATE-----")
    assert isinstance(bad, Unusable)
    assert bad.why.startswith(f"{good.spec.label} holds a certificate, but no private key")
    assert answer.authorities == ReadAuthorities(pem=text_of(authority().cert_pem), warnings=())


def test_authorities_that_are_unusable_are_an_answer(tmp_path: Path) -> None:
    answer = answer_to(ReadRequest(pairs=(), password_file="", authorities=str(tmp_path)), 0.0)
    assert answer.authorities == Unusable(why=f"{tmp_path} is not a file; correct the path")
    assert answer_to(ReadRequest(pairs=(), password_file="", authorities=""), 0.0).authorities is None


def test_both_survive_the_pipe(request_: ReadRequest) -> None:
    assert decode_request(encode(request_)) == request_
    answer = answer_to(request_, 0.0)
    assert decode_answer(encode(answer)) == answer


@pytest.mark.integration
async def test_a_process_of_its_own_answers(request_: ReadRequest) -> None:
    answer = await read_in_process(request_)
    good, bad = answer.pairs
    assert isinstance(good, ReadPair)
    assert isinstance(bad, Unusable)


@pytest.mark.integration
@pytest.mark.plain
async def test_a_process_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ReadRequest(pairs=(), password_file="", authorities="")
    monkeypatch.setattr(certificate_process, "_MODULE", "this")
    with pytest.raises(ReadingError, match=r"reading the files failed \(exit code 0\)"):
        await read_in_process(nothing)
    monkeypatch.setattr(certificate_process, "PATIENCE", 0.0)
    with pytest.raises(ReadingError, match="takes more than 0 s; is the disk there"):
        await read_in_process(nothing)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ReadingError, match=r"no process can be started \(no such file or directory\)"):
        await read_in_process(nothing)
