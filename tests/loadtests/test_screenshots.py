"""The pictures of docs/dashboard.md: all are there, small, and shown."""

import struct

import pytest

from loadtests.screenshots import ILL, INTO, MOST, OVERLOADED

SHOTS = {shot.name: shot for shot in (*ILL, *OVERLOADED)}
PAGE = INTO.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SHOTS)
def test_a_picture_has_its_size_and_is_shown(name: str) -> None:
    shot, data = SHOTS[name], (INTO / f"{name}.png").read_bytes()
    assert len(data) <= MOST
    assert struct.unpack(">II", data[16:24]) == (shot.width, shot.height)
    assert f"](dashboard/{name}.png)" in PAGE


def test_there_are_no_others() -> None:
    assert {path.name for path in INTO.iterdir()} == {f"{name}.png" for name in SHOTS}
