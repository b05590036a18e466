"""The access log of a worker: a line per exchange; every lost line is counted."""

import json
from random import Random

import pytest

from balancer.http.forwarding import Forwarding
from balancer.telemetry.access_log import MAX_BATCH, AccessLog

PEER = Forwarding([]).peer("192.0.2.7")


def log_one(log: AccessLog, status: int = 200) -> None:
    """As the journal does."""
    if (entry := log.begin(status >= 500)) is not None:
        entry.peer, entry.status = PEER, status
        log.add(entry)


def test_each_exchange_has_its_own_line_in_order() -> None:
    log = AccessLog(True, 1.0, Random(1))
    for status in (200, 404, 200):
        log_one(log, status)
    assert [json.loads(line)["status"] for line in log.take()] == [200, 404, 200]
    assert log.take() == []
    log_one(log, 500)
    assert [json.loads(line)["status"] for line in log.take()] == [500]


def test_only_the_chosen_fields_are_written() -> None:
    log = AccessLog(True, 1.0, Random(1), ("status", "attempts"))
    log_one(log)
    assert log.take() == ['{"status":200,"attempts":0}']


def test_a_batch_beyond_the_cap_is_dropped_and_counted() -> None:
    log = AccessLog(True, 1.0, Random(1))
    for _ in range(MAX_BATCH + 3):
        log_one(log)
    assert (len(log.take()), log.dropped) == (MAX_BATCH, 3)
    log_one(log)
    assert (len(log.take()), log.dropped) == (1, 3)


@pytest.mark.parametrize(("sample", "least", "most"), [(0.0, 0, 0), (0.25, 200, 300), (1.0, 1000, 1000)])
def test_a_sample_keeps_its_share(sample: float, least: int, most: int) -> None:
    log = AccessLog(True, sample, Random(1))
    for _ in range(1000):
        log_one(log)
    assert least <= len(log.take()) <= most
    assert log.dropped == 0


@pytest.mark.parametrize("sample", [0.0, 0.01])
def test_whatever_the_sample_trouble_is_logged(sample: float) -> None:
    log = AccessLog(True, sample, Random(1))
    for _ in range(100):
        log_one(log, 502)
    assert len(log.take()) == 100


def test_but_not_beyond_the_cap() -> None:
    log = AccessLog(True, 0.0, Random(1))
    for _ in range(MAX_BATCH + 3):
        log_one(log, 503)
    assert (len(log.take()), log.dropped) == (MAX_BATCH, 3)


@pytest.mark.parametrize(
    ("format", "begins"), [("json", '{"time":'), ("logfmt", "time="), ("combined", "192.0.2.7 - - [")]
)
def test_formats(format: str, begins: str) -> None:
    log = AccessLog(True, 1.0, Random(1), format=format)
    log_one(log)
    (line,) = log.take()
    assert line.startswith(begins)
