"""Durations, sizes, lists and numbers, as operators may write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.config.durations import format_duration, parse_duration
from balancer.config.types import format_size, parse_methods, parse_object, parse_size, split_list


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("2", 2.0, id="bare_seconds"),
        pytest.param("0.5", 0.5, id="fraction"),
        pytest.param("500ms", 0.5, id="milliseconds"),
        pytest.param("1.5ms", 0.0015, id="fraction_of_a_millisecond"),
        pytest.param("2s", 2.0, id="seconds"),
        pytest.param("1m", 60.0, id="minutes"),
        pytest.param("1h", 3600.0, id="hours"),
        pytest.param("30d", 2_592_000.0, id="days"),
        pytest.param(" 3 s ", 3.0, id="spaces"),
        pytest.param("0", 0.0, id="off"),
        pytest.param(2, 2.0, id="int_of_yaml"),
        pytest.param(0.25, 0.25, id="float_of_yaml"),
    ],
)
def test_a_duration_is_parsed(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "fast", "-1", "-1s", "1w", "1 m 30 s", "1e3", "nan", "inf", ".5", "5.", "1,5s", "٣s", True, None,
     [1], -2, float("nan"), float("inf"), "9" * 10],
    ids=repr,
)  # fmt: skip
def test_an_invalid_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@settings(deadline=None)
@given(st.floats(min_value=0, max_value=999_999_999, allow_nan=False).map(lambda each: round(each, 9)))
def test_duration_survives_a_round_trip(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.5, "500ms"),
        (2.0, "2s"),
        (90.0, "90s"),
        (60.0, "1m"),
        (7200.0, "2h"),
        (0.0001, "0.1ms"),
    ],
    ids=str,
)
def test_duration_is_shown_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("8192", 8192, id="bytes"),
        pytest.param("8k", 8192, id="k"),
        pytest.param("8K", 8192, id="upper_k"),
        pytest.param("64M", 64 << 20, id="m"),
        pytest.param("1G", 1 << 30, id="g"),
        pytest.param("0", 0, id="none"),
        pytest.param(512, 512, id="int_of_yaml"),
    ],
)
def test_a_size_is_parsed(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "big", "-1", "1.5k", "8kb", "8KiB", "1T", "0x10", True, None, 1.5], ids=repr
)
def test_an_invalid_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**12 - 1))
def test_size_survives_a_round_trip(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "items"),
    [
        pytest.param("a,b", ["a", "b"], id="commas"),
        pytest.param(" a , b ,", ["a", "b"], id="spaces_and_a_last_comma"),
        pytest.param("[::1]:8000", ["[::1]:8000"], id="an_ipv6_address"),
        pytest.param("[2001:db8::1]:80,b", ["[2001:db8::1]:80", "b"], id="an_ipv6_address_first"),
        pytest.param('["a", "b,c"]', ["a", "b,c"], id="json"),
        pytest.param("[]", [], id="empty_json"),
        pytest.param(["a"], ["a"], id="yaml_list"),
    ],
)
def test_a_list_is_split(text: object, items: list[str]) -> None:
    assert split_list(text) == items


@pytest.mark.parametrize("method", ["LIST", "VERSION-CONTROL", "RPC_IN_DATA", "M-SEARCH", "X" * 32])
def test_any_upper_case_method_may_be_named(method: str) -> None:
    assert parse_methods(f"GET,{method}") == ("GET", method)


@pytest.mark.parametrize("method", ["get", "Get", "GE T", "GET/", "X" * 33, "\u00c4", 5])
def test_an_impossible_method_is_refused(method: object) -> None:
    with pytest.raises(ValueError, match="methods are in capitals"):
        parse_methods(["GET", method])


@pytest.mark.parametrize("text", ["[a, b]", '["a"', "[" * 100_000], ids=["unquoted", "unclosed", "deep"])
def test_a_broken_json_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not valid JSON; write "):
        split_list(text)


def test_a_json_object_is_parsed() -> None:
    assert parse_object('{"choices": 2}') == {"choices": 2}
