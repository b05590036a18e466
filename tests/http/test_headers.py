"""Lists in field values, and which fields Connection can remove."""

import pytest

from balancer.http.headers import find_value, list_members, values_in, without_nominated


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"", []),
        (b" , ,\t,", []),
        (b"close", [b"close"]),
        (b" Keep-Alive ,\tUpgrade\t", [b"keep-alive", b"upgrade"]),
        (b"a b,c", [b"a b", b"c"]),
        (b"\x0bclose", [b"\x0bclose"]),
    ],
)
def test_list_members(value: bytes, members: list[bytes]) -> None:
    assert list_members(value) == members


@pytest.mark.parametrize(
    ("nominated", "left"),
    [
        pytest.param([b"x-a"], [b"Host: h", b"X-Ab: 2"], id="ordinary"),
        pytest.param([b"x-a", b"x-ab"], [b"Host: h"], id="two"),
        pytest.param([b"host"], [b"Host: h", b"x-A: 1", b"X-a:3", b"X-Ab: 2"], id="protected"),
        pytest.param([b"close", b"te"], [b"Host: h", b"x-A: 1", b"X-a:3", b"X-Ab: 2"], id="options"),
        pytest.param([b"x-.*", b"x-a "], [b"Host: h", b"x-A: 1", b"X-a:3", b"X-Ab: 2"], id="no-names"),
    ],
)
def test_nominated_fields_are_removed(nominated: list[bytes], left: list[bytes]) -> None:
    assert without_nominated([b"Host: h", b"x-A: 1", b"X-a:3", b"X-Ab: 2"], nominated) == left


@pytest.mark.parametrize(
    "name",
    [b"host", b"content-length", b"transfer-encoding", b"x-forwarded-for", b"x-forwarded-proto",
     b"x-forwarded-host", b"forwarded", b"via", b"x-request-id"],
)  # fmt: skip
def test_nominating_a_protected_field_has_no_effect(name: bytes) -> None:
    lines = [name + b": x"]
    assert without_nominated(lines, [name]) == lines


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"Accept: yes"],
        [b"accept:yes", b"Accept: no"],
        [b"X: 1", b"X-Accept: accept: no", b"ACCEPT: \t yes \t", b"Host:"],
        [b"X: accept:", b"Accept-Language: en", b"Accept:"],
        [b"Host: accept", b"Accept:a:b\xff"],
    ],
    ids=repr,
)
def test_values_in_a_block_are_those_of_its_lines(lines: list[bytes]) -> None:
    names = (b"accept", b"host", b"none")
    assert values_in(b"\r\n".join(lines), names) == [find_value(lines, name) for name in names]


def test_find_value() -> None:
    lines = [b"Accepted: no", b"ACCEPT:\t yes ", b"Accept: second"]
    assert find_value(lines, b"accept") == b"yes"
    assert find_value(lines, b"host") is None
