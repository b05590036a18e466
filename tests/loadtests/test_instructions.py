"""`make instructions` plays whole exchanges of each kind; cachegrind counts their cost."""

import json
from pathlib import Path

import pytest

from loadtests import browsers
from loadtests.builds import Build
from loadtests.instructions import __main__ as instructions
from loadtests.instructions import bounds
from loadtests.instructions.bounds import Versions
from loadtests.instructions.count import total
from loadtests.instructions.play import play
from loadtests.instructions.traffic import KINDS

VERSIONS = Versions("3.11.7", {"httptools": "0.6.4"})


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_whole_exchange_every_time(kind: str) -> None:
    play(kind, 3)


def test_browsers_send_fifty_different_heads_in_the_same_order_each_time() -> None:
    heads = {KINDS["browsers"].request(number) for number in range(2_000)}
    assert len(heads) == browsers.BROWSERS
    assert browsers.order(10) == browsers.order(10)


def test_exchanges_of_the_kind_cookie_never_repeat_a_request_or_a_response() -> None:
    kind = KINDS["cookie"]
    assert len({kind.request(number) for number in range(500)}) == 500
    assert len({kind.response(number) for number in range(500)}) == 500


def test_cachegrinds_total_is_on_its_summary_line() -> None:
    assert total("events: Ir\nfn=f\n1 20\nsummary: 1234\n") == 1234


def test_an_unknown_kind_is_an_error_that_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        instructions.main(["small"])
    assert ended.value.code == 2
    assert "unknown kind: small; there are same, another" in capsys.readouterr().err


def test_without_valgrind_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert instructions.main(["same"]) == 1
    assert "apt-get install valgrind" in capsys.readouterr().err


def test_a_bound_is_the_count_and_one_percent_and_those_of_other_builds_stay(tmp_path: Path) -> None:
    file = tmp_path / "bounds.json"
    file.write_text("{}")
    bounds.write(VERSIONS, {"plain": {"same": 10_000.0, "another": 20_000.0}}, file)
    bounds.write(VERSIONS, {"compiled": {"same": 2_000.0}, "plain": {"same": 9_001.0}}, file)
    found = bounds.read(VERSIONS, file)
    assert found is not None
    assert found.most == {"plain": {"same": 9_100, "another": 20_200}, "compiled": {"same": 2_100}}
    assert found.versions == VERSIONS


def test_an_interpreter_is_known_by_its_minor_version_and_profile(tmp_path: Path) -> None:
    file = tmp_path / "bounds.json"
    file.write_text("{}")
    bounds.write(VERSIONS, {"plain": {"same": 1.0}}, file)
    assert bounds.read(Versions("3.11.9", {}), file) is not None
    assert bounds.read(Versions("3.11.7 PGO", {}), file) is None
    assert bounds.read(Versions("3.12.7", {}), file) is None


def test_what_has_no_bound_does_not_pass() -> None:
    most = {"same": 1_000}
    assert bounds.exceeded({"same": 1_000.0}, most) == []
    assert bounds.exceeded({"same": 1_001.0, "large": 1.0}, most) == [
        "same takes 1,001 instructions; the bound is 1,000",
        "large has no bound",
    ]


def test_the_committed_bounds_cover_every_kind_for_both_builds() -> None:
    entries = json.loads(bounds.FILE.read_text())
    assert "3.11" in entries
    for entry in entries.values():
        assert {build: set(most) for build, most in entry["most"].items()} == {
            build: set(KINDS) for build in ("plain", "compiled")
        }


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind takes 1,000 instructions; the bounds are of VERSIONS, and none."""
    monkeypatch.setattr("shutil.which", lambda _: "valgrind")
    monkeypatch.setattr(instructions, "count", lambda kinds, _: dict.fromkeys(kinds, 1_000.0))
    monkeypatch.setattr("loadtests.builds.plain", lambda: Build("plain", Path()))
    monkeypatch.setattr(bounds, "read", lambda _: None)


@pytest.mark.usefixtures("counted")
def test_a_count_above_the_bound_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert instructions.main(["same", "--builds=plain", "--most", "999"]) == 1
    assert "1,000 instructions for a repeated request; --most allows 999" in capsys.readouterr().err
    assert instructions.main(["same", "--builds=plain", "--most", "1000"]) == 0
    known = bounds.Bounds(VERSIONS, {"plain": {"same": 999}})
    monkeypatch.setattr(bounds, "read", lambda _: known)
    assert instructions.main(["same", "--builds=plain"]) == 1
    assert "plain: same takes 1,000 instructions; the bound is 999" in capsys.readouterr().err


@pytest.mark.usefixtures("counted")
def test_a_check_without_a_bound_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert instructions.main(["--check", "--builds=plain"]) == 1
    assert "there are no bounds for CPython" in capsys.readouterr().err


@pytest.mark.usefixtures("counted")
def test_a_build_that_was_asked_for_and_is_missing_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert instructions.main(["same", f"--compiled={tmp_path}"]) == 0
    assert "compiled is left out: no compiled package in" in capsys.readouterr().out
    assert instructions.main(["same", "--builds=compiled", f"--compiled={tmp_path}"]) == 1
    assert "run `make compiled`" in capsys.readouterr().err
