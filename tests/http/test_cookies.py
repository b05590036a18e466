"""Cookies in header lines are found and removed, and the rest keeps every byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.caching import shared_caching
from balancer.http.cookies import (
    change_cookie,
    cookie_attributes,
    is_cookie_line,
    set_cookie_value,
    take_cookie,
)

# A Cookie line -> the values of `pin` in it, and the line without them.
LINES = {
    "alone": (b"Cookie: pin=abc", [b"abc"], b""),
    "first": (b"Cookie: pin=abc; b=2", [b"abc"], b"Cookie: b=2"),
    "last": (b"Cookie: a=1; pin=abc", [b"abc"], b"Cookie: a=1"),
    "in the middle": (b"Cookie: a=1; pin=abc; b=2", [b"abc"], b"Cookie: a=1; b=2"),
    "twice": (b"Cookie: pin=abc; a=1; pin=def", [b"abc", b"def"], b"Cookie: a=1"),
    "in lower case": (b"cookie: pin=abc; b=2", [b"abc"], b"cookie: b=2"),
    "without spaces": (b"Cookie:pin=abc;b=2", [b"abc"], b"Cookie:b=2"),
    "with a tab": (b"Cookie:\tpin=abc\t;\tb=2 ", [b"abc"], b"Cookie:\tb=2 "),
    "empty": (b"Cookie: pin=; b=2", [b""], b"Cookie: b=2"),
    "with = in it": (b"Cookie: pin=a=b==; b=2", [b"a=b=="], b"Cookie: b=2"),
    "quoted": (b'Cookie: pin="abc"; b=2', [b'"abc"'], b"Cookie: b=2"),
    "nothing but semicolons beside it": (b"Cookie: ; pin=abc;; ", [b"abc"], b""),
    "only its end": (b"Cookie: xpin=abc", [], b"Cookie: xpin=abc"),
    "only its beginning": (b"Cookie: pinx=abc; pin.x=1", [], b"Cookie: pinx=abc; pin.x=1"),
    "in another's value": (b"Cookie: a=pin=abc", [], b"Cookie: a=pin=abc"),
    "in other case": (b"Cookie: Pin=abc", [], b"Cookie: Pin=abc"),
    "without =": (b"Cookie: pin; b=2", [], b"Cookie: pin; b=2"),
    "odd bytes beside it": (b'Cookie: a=\xff, "x; pin=1', [b"1"], b'Cookie: a=\xff, "x'),
}


@pytest.mark.parametrize("case", LINES)
def test_cookie_values_are_found_and_removed(case: str) -> None:
    line, values, rest = LINES[case]
    assert take_cookie(line, b"pin") == (values, rest)


_PAIRS = st.lists(
    st.tuples(
        st.sampled_from([b"pin", b"a", b"PIN", b"xpin", b"", b"pi"]),
        st.sampled_from([b"=", b""]),
        st.binary(max_size=6).map(lambda raw: raw.replace(b";", b"").replace(b"\r", b"").replace(b"\n", b"")),
    ).map(b"".join),
    max_size=6,
)


@given(_PAIRS, st.sampled_from([b"; ", b";", b" ; "]))
def test_other_cookies_keep_every_byte(pairs: list[bytes], between: bytes) -> None:
    line = b"Cookie: " + between.join(pairs)
    values, rest = take_cookie(line, b"pin")
    others = [
        each for each in line[7:].split(b";") if each.strip(b" \t").partition(b"=")[:2] != (b"pin", b"=")
    ]
    assert len(values) == len(line.split(b";")) - len(others)
    assert rest in (b"Cookie:" + b";".join(others), b"")
    assert rest or not any(each.strip(b" \t") for each in others)
    changed = change_cookie(line, b"pin", lambda value: b"new")
    assert take_cookie(changed, b"pin")[0] == [b"new"] * len(values)
    if values:
        assert take_cookie(changed, b"pin")[1] == rest
    given = iter(values)
    assert change_cookie(changed, b"pin", lambda value: next(given)) == line


CHANGED = {
    "one": (b"Cookie: a=1; pin=T~v ; b=2", b"Cookie: a=1; pin=v ; b=2"),
    "twice": (b"Cookie: pin=T~v;pin=other", b"Cookie: pin=v;pin=other"),
    "not another's": (b"Cookie: a=T~v; pin=T~v", b"Cookie: a=T~v; pin=v"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_value_is_replaced_in_place(case: str) -> None:
    line, changed = CHANGED[case]
    assert change_cookie(line, b"pin", lambda value: value.removeprefix(b"T~")) == changed


COOKIE_LINES = {b"Cookie: a": True, b"cOOKIE:": True, b"Cookies: a": False, b"X-Cookie: a": False}


@pytest.mark.parametrize("line", COOKIE_LINES)
def test_which_lines_are_cookie_lines(line: bytes) -> None:
    assert is_cookie_line(line) is COOKIE_LINES[line]


SET = {
    "alone": (b"Set-Cookie: SID=abc", b"abc"),
    "with attributes": (b"set-cookie: SID=abc; Path=/; HttpOnly", b"abc"),
    "with spaces": (b"Set-Cookie:  SID = abc ; Path=/", b"abc"),
    "without spaces": (b"Set-Cookie:SID=abc;Path=/", b"abc"),
    "empty": (b"Set-Cookie: SID=; Max-Age=0", b""),
    "quoted": (b'Set-Cookie: SID="abc"', b'"abc"'),
    "with = in it": (b"Set-Cookie: SID=a=b", b"a=b"),
    "another's": (b"Set-Cookie: OSID=abc", None),
    "in an attribute": (b"Set-Cookie: a=1; SID=abc", None),
    "another field": (b"X-Set-Cookie: SID=abc", None),
    "no cookie at all": (b"Set-Cookie: SID", None),
}


@pytest.mark.parametrize("case", SET)
def test_the_position_of_the_value_in_a_set_cookie_line(case: str) -> None:
    line, value = SET[case]
    place = set_cookie_value(line, b"SID")
    assert (None if place is None else line[place[0] : place[1]]) == value


def test_attributes_complete_and_minimal() -> None:
    full = cookie_attributes(
        path="/shop", domain="a.example", max_age=60, secure=True, http_only=True, same_site="none"
    )
    assert full == b"; Path=/shop; Domain=a.example; Max-Age=60; Secure; HttpOnly; SameSite=None"
    least = cookie_attributes(
        path="/", domain="", max_age=0, secure=False, http_only=False, same_site="strict"
    )
    assert least == b"; Path=/; SameSite=Strict"


CACHING: dict[str, tuple[list[bytes], bool | None]] = {
    "nothing said": ([b"Date: x", b"Expires: y"], None),
    "public": ([b"Cache-Control: public"], True),
    "an age": ([b"cache-control: max-age=60"], True),
    "an age for shared ones": ([b"Cache-Control: s-maxage=60, must-revalidate"], True),
    "private": ([b"Cache-Control: max-age=60, Private"], False),
    "private in part": ([b'Cache-Control: public, private="x-user"'], False),
    "no-store": ([b"Cache-Control: no-store"], False),
    "no-cache": ([b"Cache-Control: no-cache, max-age=60"], False),
    "an age of nothing": ([b"Cache-Control: max-age=0, must-revalidate"], False),
    "in a second line": ([b"Cache-Control: public", b"Cache-Control: no-store"], False),
    "neither": ([b"Cache-Control: must-revalidate"], False),
}


@pytest.mark.parametrize("case", CACHING)
def test_whether_shared_caches_may_store_a_response(case: str) -> None:
    lines, expected = CACHING[case]
    assert shared_caching(lines) is expected
