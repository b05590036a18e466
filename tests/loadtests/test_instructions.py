"""`make instructions` plays whole exchanges of each kind; cachegrind counts their cost."""

import pytest

from loadtests import instructions


@pytest.mark.parametrize("kind", instructions.KINDS)
def test_each_kind_is_a_whole_exchange_every_time(kind: str) -> None:
    instructions.play(kind, 3)


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


def test_a_count_above_the_bound_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "valgrind")
    monkeypatch.setattr(instructions, "count", lambda _: 1_000.0)
    assert instructions.main(["same", "--most", "999"]) == 1
    assert "1,000 instructions for a repeated request; --most allows 999" in capsys.readouterr().err
    assert instructions.main(["same", "--most", "1000"]) == 0
