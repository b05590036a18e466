"""The file that keeps what operators have changed: whole or not at all, and never lost silently."""

import os
from pathlib import Path

import pytest

from balancer.runtime.kept import Kept, KeptSplit, KeptUpstream, Learned, Registered
from balancer.runtime.state_file import read, write
from balancer.spec.part import encode

KEPT = Kept(
    upstreams=(
        KeptUpstream(pool="default", id="app1:8000", admin_state="draining", by="alice", at=784111777.5),
        KeptUpstream(pool="api", id="10.0.0.9:8000", added="10.0.0.9:8000?weight=2", weight=3),
    ),
    splits=(KeptSplit(route="web", weights={"stable": 90, "canary": 10}, by="bob", at=1.0),),
    registered=(Registered(pool="default", entry="10.0.0.7:8000", until=784111800.0, by_app=True),),
    learned=(Learned(pool="default", id="app1:8000", limit=12, service_ns=3_000_000),),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")
    write(path, KEPT)
    assert read(path) == (KEPT, "")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


def test_no_file_is_nothing_kept(tmp_path: Path) -> None:
    assert read(str(tmp_path / "state.json")) == (Kept(), "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "is damaged", id="empty"),
        pytest.param(encode(KEPT)[:100], "is damaged", id="half"),
        pytest.param(b'{"upstreams": [{"pool": 7}]}', "is damaged", id="wrong"),
        pytest.param(encode(KEPT).replace(b"draining", b"drained"), "is damaged", id="no such state"),
        pytest.param(encode(KEPT).replace(b'"weight":3', b'"weight":0'), "is damaged", id="a weight"),
        pytest.param(b'{"version": 2, "gates": []}', "a later version", id="later, of another form"),
        pytest.param(encode(KEPT).replace(b'"version":1', b'"version":2'), "a later version", id="later"),
    ],
)
def test_an_unusable_file_is_put_aside_and_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    kept, problem = read(str(path))
    assert kept == Kept()
    assert said in problem
    assert (tmp_path / "state.json.unusable").read_bytes() == content
    assert not path.exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")
    write(path, KEPT)
    with pytest.raises(OSError, match="No such file"):
        write(str(tmp_path / "gone" / "state.json"), Kept())
    assert read(path) == (KEPT, "")
