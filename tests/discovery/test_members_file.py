"""file:// entries: each change of the file is used, and what cannot be read changes nothing."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from balancer.config.file_watch import PATIENCE
from balancer.discovery.members_file import LOOK, MOST_BYTES, read
from balancer.spec.instance import MembersFileSpec
from tests.discovery.harness import Harness

Write = Callable[[str], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "members.yaml"


@pytest.fixture
def source(path: Path) -> str:
    return f"file://{path}"


@pytest.fixture
def write(path: Path) -> Write:
    """Replaces the file in one step."""

    def write(text: str) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)

    return write


@pytest.fixture
def watched(harness: Harness, path: Path, source: str) -> Harness:
    harness.discovery.watch_entry("default", MembersFileSpec(id=source, path=str(path)))
    return harness


def _ids(path: Path) -> list[str]:
    return [member.id for member in read(str(path), "")]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        pytest.param("- 10.0.0.2:8000\n- '[fd00::2]:80'\n", ["10.0.0.2:8000", "[fd00::2]:80"], id="yaml"),
        pytest.param(
            '["10.0.0.2:8000", "unix:/run/a.sock"]', ["10.0.0.2:8000", "unix:/run/a.sock"], id="json"
        ),
        pytest.param('\t["10.0.0.2:8000"]', ["10.0.0.2:8000"], id="json_with_tabs"),
        pytest.param(
            "# rack 2\n[10.0.0.2:8000, 10.0.0.3:8000]", ["10.0.0.2:8000", "10.0.0.3:8000"], id="flow"
        ),
        pytest.param("[]", [], id="none"),
    ],
)
def test_a_list_in_yaml_or_json_is_read_in_its_order(path: Path, text: str, ids: list[str]) -> None:
    path.write_text(text)
    assert _ids(path) == ids


def test_options_and_tls_of_an_entry_count(path: Path) -> None:
    path.write_text("- 10.0.0.2:8000?weight=3&backup=true\n- https://10.0.0.3:8443\n")
    first, second = read(str(path), "")
    assert (first.weight, first.backup, first.server_name) == (3, True, "")
    assert (second.weight, second.backup, second.server_name) == (1, False, "10.0.0.3")
    assert read(str(path), "app.example")[1].server_name == "app.example"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "is empty; write [] for no upstream, or a list", id="empty"),
        pytest.param("# nothing", "is empty; write [] for no upstream, or a list", id="comment"),
        pytest.param("upstreams: [10.0.0.2:8000]", "is no list; write one such as", id="mapping"),
        pytest.param("- 10.0.0.2:8000\n- [", "line 2: is not valid YAML", id="broken_yaml"),
        pytest.param("- app1:8000", "entry 1: app1:8000 has no IP address; names can be", id="name"),
        pytest.param("- dns://app:80", "entry 1: dns://app:80 has no IP address; names", id="dns"),
        pytest.param("- 10.0.0.2:1\n- 8000", "entry 2: 8000 is a port without a name", id="number"),
        pytest.param(
            "- 10.0.0.2:1\n- 10.0.0.2:1?weight=2", "entry 2: 10.0.0.2:1 is listed twice", id="twice"
        ),
        pytest.param("- 10.0.0.2: 8000", "is a mapping; write each upstream as one string", id="space"),
        pytest.param("- 10.0.0.2:8000?weight=0", "has the weight 0; leave it out", id="weight"),
        pytest.param(f"- {'x' * 500}", f"entry 1: {'x' * 100}... has no valid host name", id="long"),
        pytest.param(" " * (MOST_BYTES + 1), "is longer than 1 MiB; list fewer upstreams", id="too_long"),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(path: Path, text: str, problem: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(problem)):
        read(str(path), "")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "fifo"])
def test_what_is_no_file_is_refused_at_once(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises((ValueError, OSError), match=r"regular file|Is a directory"):
        read(str(path), "")


def test_each_change_is_reported_at_the_next_look(watched: Harness, source: str, write: Write) -> None:
    for text, ids in (
        ("[10.0.0.2:8000, 10.0.0.3:8000]", ["10.0.0.2", "10.0.0.3"]),
        ("[10.0.0.3:8000]", ["10.0.0.3"]),
        ("[]", []),
        ("- 10.0.0.4:8000", ["10.0.0.4"]),
    ):
        write(text)
        if watched.fleet.told:
            watched.advance(LOOK)
        else:
            watched.start()
        assert watched.addresses(source) == ids


def test_a_swapped_link_is_a_change(harness: Harness, tmp_path: Path) -> None:
    """As Kubernetes does it: the file is a link through `..data`, a link to a folder, which is replaced."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "members.yaml").write_text(f"- 10.0.0.{number}:8000")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "members.yaml").symlink_to("..data/members.yaml")
    source = f"file://{tmp_path}/members.yaml"
    harness.discovery.watch_entry("default", MembersFileSpec(id=source, path=f"{tmp_path}/members.yaml"))
    harness.start()
    assert harness.addresses(source) == ["10.0.0.1"]
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    harness.advance(LOOK)
    assert harness.addresses(source) == ["10.0.0.2"]


def test_an_unchanged_file_is_not_read_again(
    watched: Harness, source: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("[10.0.0.2:8000]")
    watched.start()
    first = watched.fleet.members["default", source]
    watched.advance(LOOK)
    assert watched.fleet.told == [first, first]
    assert watched.fleet.told[1] is first


def test_a_broken_file_keeps_the_last_members_and_is_reported(
    watched: Harness, source: str, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write("[10.0.0.2:8000]")
    watched.start()
    write("[app1:8000]")
    watched.advance(LOOK)
    assert caplog.messages == []  # it may be half written
    for _ in range(4):
        watched.advance(LOOK)
    why = "entry 1: app1:8000 has no IP address; names can be used only in UPSTREAMS"
    assert watched.addresses(source) == ["10.0.0.2"]
    assert watched.fleet.problems == {("default", source): why}
    write("[10.0.0.3:8000]")
    watched.advance(LOOK)
    assert watched.addresses(source) == ["10.0.0.3"]
    assert watched.fleet.problems == {("default", source): ""}
    assert caplog.messages == [
        f"{source} cannot be used ({why}); keeping its 1 upstream",
        f"{source} can be used again",
    ]


def test_a_file_that_is_good_again_soon_causes_no_line(
    watched: Harness, source: str, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write("[10.0.0.2:8000]")
    watched.start()
    write("")
    watched.advance(PATIENCE - 0.5)
    write("[10.0.0.3:8000]")
    watched.advance(LOOK)
    assert watched.addresses(source) == ["10.0.0.3"]
    assert caplog.messages == []


def test_a_file_that_is_missing_at_the_start_delays_nothing(
    watched: Harness, source: str, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    watched.start()
    assert watched.asked.done()
    assert caplog.messages == [
        f"{source} cannot be used (no such file or directory; correct the path or mount the file); it has "
        "no upstream"
    ]
    write("[10.0.0.2:8000]")
    watched.advance(LOOK)
    assert watched.addresses(source) == ["10.0.0.2"]


def test_a_file_that_is_removed_keeps_its_members(
    watched: Harness, path: Path, source: str, write: Write
) -> None:
    write("[10.0.0.2:8000]")
    watched.start()
    path.unlink()
    for _ in range(5):
        watched.advance(LOOK)
    assert watched.addresses(source) == ["10.0.0.2"]
    assert watched.fleet.problems["default", source].startswith("no such file or directory")


def test_a_disk_that_hangs_delays_the_start_for_the_timeout_at_most(
    watched: Harness, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    watched.thread.hangs = True
    watched.start()
    assert not watched.asked.done()
    watched.advance(2.0)
    assert watched.asked.done()
    assert caplog.messages == [f"{source} cannot be used (no answer within 2 s); it has no upstream"]


def test_without_a_thread_it_is_read_later(watched: Harness, source: str, write: Write) -> None:
    write("[10.0.0.2:8000]")
    watched.thread.broken = True
    watched.start()
    assert watched.fleet.problems == {("default", source): "can't start new thread"}
    watched.thread.broken = False
    watched.advance(LOOK)
    assert watched.addresses(source) == ["10.0.0.2"]
    assert watched.fleet.problems == {("default", source): ""}


def test_an_error_of_the_fleet_is_not_swallowed(write: Write, path: Path, source: str) -> None:
    harness = Harness()
    harness.discovery.watch_entry("default", MembersFileSpec(id=source, path=str(path)))
    harness.fleet.broken = True
    write("[10.0.0.2:8000]")
    harness.start()
    assert isinstance(harness.task.exception(), ExceptionGroup)
    harness.asked.cancel()
    harness.loop.settle()
