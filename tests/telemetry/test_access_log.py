"""The access log: a tuple in, a JSON line out; every lost line is counted."""

import json
from random import Random

import pytest

from balancer.telemetry.access_log import FIELDS, MAX_BATCH, MAX_VALUE, AccessLog, Record, Renderer

RECORD: Record = (
    1_700_000_000.1239, "192.0.2.7", b"GET", b"/a?b=\xe9", 1, b"example.com", 200, None, "default", "default",
    "app1:8000", None, 1, True, 12, 3456, 1_500_000, 900_000, b"id-1", b"curl/8", None,
)  # fmt: skip
UNPARSED: Record = (
    1_700_000_000.0, "192.0.2.7", None, None, 1, None, 400, "malformed_request", None, None,
    None, None, 0, False, 0, 97, 0, -1, None, None, None,
)  # fmt: skip


def lines(records: list[Record], fields: tuple[str, ...] = FIELDS) -> list[dict[str, object]]:
    log = AccessLog(True, 1.0, Random(1))
    for record in records:
        log.append(record)
    return [json.loads(line) for line in Renderer(fields).render(log.take()).splitlines()]


def test_a_record_becomes_a_json_line() -> None:
    assert lines([RECORD]) == [
        {
            "time": "2023-11-14T22:13:20.124Z",
            "client": "192.0.2.7",
            "method": "GET",
            "target": "/a?b=\u00e9",
            "protocol": "HTTP/1.1",
            "host": "example.com",
            "status": 200,
            "route": "default",
            "pool": "default",
            "upstream": "app1:8000",
            "attempts": 1,
            "reused": True,
            "request_bytes": 12,
            "response_bytes": 3456,
            "duration": 0.0015,
            "first_byte": 0.0009,
            "request_id": "id-1",
            "user_agent": "curl/8",
        }
    ]


def test_unknown_fields_are_omitted() -> None:
    (line,) = lines([UNPARSED])
    assert line.keys() == {
        *("time", "client", "protocol", "status", "reason", "attempts", "reused"),
        *("request_bytes", "response_bytes", "duration"),
    }


def test_only_the_chosen_fields_are_written_in_order() -> None:
    (line,) = lines([RECORD], ("status", "client"))
    assert list(line.items()) == [("status", 200), ("client", "192.0.2.7")]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_every_record_has_its_own_line(count: int) -> None:
    records: list[Record] = [(RECORD[0] + number, *RECORD[1:]) for number in range(count)]
    assert [line["time"] for line in lines(records)] == [
        f"2023-11-14T22:13:2{number}.124Z" for number in range(count)
    ]


@pytest.mark.parametrize("target", [b"},\n,{", b'/"\\', b"/\n{}", b"/\x00\x1f", bytes(range(128, 256))])
def test_no_bytes_of_a_client_break_the_line(target: bytes) -> None:
    (line,) = lines([(*RECORD[:3], target, *RECORD[4:])])
    assert line["target"] == target.decode("latin-1")


def test_append_may_be_kept_across_batches() -> None:
    log = AccessLog(True, 1.0, Random(1))
    append = log.append
    append(RECORD)
    assert len(log.take()) == 1
    append(RECORD)
    append(RECORD)
    assert len(log.take()) == 2
    assert log.take() == []


def test_a_batch_beyond_the_cap_is_dropped_and_counted() -> None:
    log = AccessLog(True, 1.0, Random(1))
    for _ in range(MAX_BATCH + 3):
        log.append(RECORD)
    assert (len(log.take()), log.dropped) == (MAX_BATCH, 3)
    log.append(RECORD)
    assert (len(log.take()), log.dropped) == (1, 3)


@pytest.mark.parametrize(("sample", "least", "most"), [(0.0, 0, 0), (0.25, 200, 300), (1.0, 1000, 1000)])
def test_a_sample_keeps_its_share(sample: float, least: int, most: int) -> None:
    log = AccessLog(True, sample, Random(1))
    for _ in range(1000):
        log.append(RECORD)
    assert least <= len(log.take()) <= most
    assert log.dropped == 0


def test_long_values_are_cut() -> None:
    """Otherwise a client with a large User-Agent could fill the memory while stdout is blocked."""
    record = (*RECORD[:19], b"x" * (MAX_VALUE + 1), b"y" * MAX_VALUE)
    (line,) = lines([record])
    assert line["user_agent"] == "x" * MAX_VALUE + "..."
    assert line["referer"] == "y" * MAX_VALUE
