"""The normal form of a path: what is respelled, what is refused, and what other readings it has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.errors import ProtocolError
from balancer.http.normal_path import matched_form, normal_path, other_readings, usual_path

_PIECES = st.sampled_from(
    [
        b"a",
        b"b",
        b"api",
        b"/",
        b"//",
        b".",
        b"..",
        b"%2e",
        b"%2F",
        b"%2f",
        b"%61",
        b"%41",
        b"%40",
        b"%25",
        b"%3b",
        b";",
        b"%C3%A9",
    ]
)
PATHS = st.lists(_PIECES, max_size=12).map(lambda pieces: b"/" + b"".join(pieces))


@pytest.mark.parametrize("path", [b"/", b"/a/b", b"/a/b/", b"/api.v1/x-y_z~", b"/a:b@c", b"*", b"/a,b"])
def test_a_usual_path_is_its_own_normal_form(path: bytes) -> None:
    assert usual_path(path) == usual_path(path + b"?//x/..;%2e") == path
    assert normal_path(path) == path == matched_form(path)
    assert other_readings(path) == []


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        (b"/a/../b", b"/b"),
        (b"/a/./b", b"/a/b"),
        (b"/a/b/..", b"/a/"),
        (b"/a/b/.", b"/a/b/"),
        (b"/a/%2E%2e/b", b"/b"),
        (b"/%61pi/%7euser", b"/api/~user"),
        (b"/a%2fb", b"/a%2fb"),
        (b"/caf%c3%a9", b"/caf%c3%a9"),
        (b"/%252e%252e/x", b"/%252e%252e/x"),
        (b"//a//b", b"/a//b"),
        (b"///a", b"/a"),
        (b"/.//a", b"/a"),
        (b"/a/..//b//c", b"/b//c"),
        (b"/a//b/../c", b"/a//c"),
        (b"/.well-known/x", b"/.well-known/x"),
        (b"/.../x", b"/.../x"),
    ],
)
def test_another_spelling_of_the_same_path_is_respelled(path: bytes, normal: bytes) -> None:
    assert not usual_path(path)
    assert normal_path(path) == normal
    assert normal_path(normal) == normal


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (b"/../etc", "leads above the root"),
        (b"/%2e%2e/etc", "leads above the root"),
        (b"/a/../../etc", "leads above the root"),
        (b"/a\\b", "a backslash"),
        (b"/a%5Cb", "an encoded backslash"),
        (b"/a%00b", "an encoded NUL"),
        (b"/a%", "without two hexadecimal digits"),
        (b"/a%zz", "without two hexadecimal digits"),
        (b"/a%2", "without two hexadecimal digits"),
        (b"/a/..;/b", "hidden by an encoded slash or a parameter"),
        (b"/a/.;x=1/b", "hidden by an encoded slash or a parameter"),
        (b"/a/..%3bx/b", "hidden by an encoded slash or a parameter"),
        (b"/a%2f..%2fb", "hidden by an encoded slash or a parameter"),
        (b"/a%2f%2e%2e/b", "hidden by an encoded slash or a parameter"),
        (b"/a//../b", "behind an empty one"),
    ],
)
def test_what_only_hides_another_path_is_refused(path: bytes, why: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        normal_path(path)
    assert caught.value.failure.status == 400
    assert why in caught.value.detail


def test_routes_compare_decoded_paths_without_empty_segments() -> None:
    assert matched_form(b"//caf%c3%a9//%40me") == "/café/@me".encode()
    assert matched_form(b"/a%2fb%25") == b"/a%2Fb%25"


def test_other_readings_are_those_of_apps_that_decode_slashes_or_drop_parameters() -> None:
    assert other_readings(b"/a%2fb") == [b"/a/b"]
    assert other_readings(b"/a;v=1/b") == [b"/a/b"]
    assert set(other_readings(b"/a;v=1/b%2Fc")) == {b"/a/b%2Fc", b"/a;v=1/b/c", b"/a/b/c"}
    assert set(other_readings(b"/a;b%2Fc")) == {b"/a", b"/a;b/c", b"/a/c"}


@given(PATHS)
def test_a_normal_path_is_stable_and_has_no_dot_segment_in_any_reading(path: bytes) -> None:
    try:
        normal = normal_path(path)
    except ProtocolError:
        return
    assert normal_path(normal) == normal
    assert normal.startswith(b"/")
    for reading in (matched_form(normal), *other_readings(normal)):
        assert not {b".", b".."} & set(reading.split(b"/"))
        assert b"//" not in reading
        assert b"\\" not in reading


@given(PATHS)
def test_a_usual_path_is_never_refused_or_changed(path: bytes) -> None:
    if usual_path(path):
        assert normal_path(path) == path == matched_form(path)
