"""What failures of requests to an authority mean, in words."""

import ssl
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from acme import errors, messages
from acme.client import ClientNetwork
from josepy.errors import DeserializationError

from balancer.acme.account import new_account
from balancer.acme.network import Network, in_words, seconds_of
from balancer.acme.problem import Cause, OrderError

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        pytest.param("3600", 3600.0, id="seconds"),
        pytest.param(" 5 ", 5.0, id="white space"),
        pytest.param("Tue, 01 Jan 2030 01:00:00 GMT", 3600.0, id="a date"),
        pytest.param("Mon, 31 Dec 2029 23:00:00 GMT", 0.0, id="in the past"),
        pytest.param("9" * 400, 999999999.0, id="far too many"),
        pytest.param("", 0.0, id="none"),
        pytest.param("soon", 0.0, id="a word"),
        pytest.param("-5", 0.0, id="a negative number"),
        pytest.param("\u0665", 0.0, id="a digit of another script"),
    ],
)
def test_retry_after(field: str, seconds: float) -> None:
    assert seconds_of(field, NOW) == seconds


def problem(code: str, detail: str | None = None, **more: object) -> messages.Error:
    values: dict[str, Any] = {"typ": messages.ERROR_PREFIX + code, "detail": detail, **more}
    return messages.Error(**values)


def refused() -> requests.ConnectionError:
    error = requests.ConnectionError("HTTPSConnectionPool(host='ca.test', port=443): Max retries exceeded")
    error.__context__ = ConnectionRefusedError(111, "Connection refused")
    return error


def untrusted() -> requests.exceptions.SSLError:
    error = requests.exceptions.SSLError("...")
    inner = ssl.SSLCertVerificationError()
    inner.verify_message = "self-signed certificate"
    error.__cause__ = inner
    return error


def answered(status: int, reason: str) -> errors.ClientError:
    response = requests.Response()
    response.status_code, response.reason, response.url = status, reason, "https://ca.test/dir"
    return errors.ClientError(response)


@pytest.mark.parametrize(
    ("raised", "cause", "text"),
    [
        pytest.param(
            problem("caa", "CAA forbids it"),
            Cause.REFUSED,
            "ca.test says: CAA forbids it (caa)",
            id="a refusal",
        ),
        pytest.param(
            problem("rateLimited", "too many\n certificates"),
            Cause.LIMITED,
            "ca.test says: too many certificates (rateLimited)",
            id="a limit",
        ),
        pytest.param(
            problem("serverInternal", "try later"),
            Cause.UNREACHABLE,
            "ca.test says: try later (serverInternal)",
            id="its own failure",
        ),
        pytest.param(
            problem("malformed", subproblems=(problem("caa", "not a"), problem("dns", "not b"))),
            Cause.REFUSED,
            "ca.test says: The request message was malformed; not a; not b (malformed)",
            id="several problems",
        ),
        pytest.param(
            errors.TimeoutError(), Cause.UNREACHABLE, "ca.test has not finished in time", id="no end"
        ),
        pytest.param(
            refused(), Cause.UNREACHABLE, "ca.test cannot be reached: connection refused", id="refused"
        ),
        pytest.param(
            requests.ReadTimeout(), Cause.UNREACHABLE, "ca.test does not answer within 20 s", id="a timeout"
        ),
        pytest.param(
            untrusted(),
            Cause.UNREACHABLE,
            "ca.test cannot be trusted: self-signed certificate; if it is an authority of your own, name its "
            "file in TLS__ACME__CA",
            id="not trusted",
        ),
        pytest.param(
            answered(502, "Bad Gateway"),
            Cause.UNREACHABLE,
            "ca.test answers 502 Bad Gateway, not as an ACME server: https://ca.test/dir",
            id="no ACME",
        ),
        pytest.param(
            KeyError("newOrder"),
            Cause.UNREACHABLE,
            "ca.test does not answer as an ACME server: 'newOrder'",
            id="no directory",
        ),
        pytest.param(
            DeserializationError("x" * 999),
            Cause.UNREACHABLE,
            f"ca.test does not answer as an ACME server: Deserialization error: {'x' * 177}...",
            id="a long message",
        ),
    ],
)
def test_a_failure_in_words(raised: Exception, cause: Cause, text: str) -> None:
    network = Network(new_account().jwk, "", "balancer/test")
    network.retry_after = 7.0
    with pytest.raises(OrderError) as caught, in_words("ca.test", network):
        raise raised
    assert (caught.value.cause, str(caught.value)) == (cause, text)
    if isinstance(raised, messages.Error):
        assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(("refusals", "passes"), [(0, True), (5, True), (6, False)])
def test_another_nonce_is_taken_a_few_times(
    refusals: int, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library tries twice in each call; here it is asked that often."""
    calls = []

    def post(self: ClientNetwork, *_: object, **__: object) -> str:
        calls.append(self)
        if len(calls) <= refusals:
            raise problem("badNonce")
        return "done"

    monkeypatch.setattr(ClientNetwork, "post", post)
    network = Network(new_account().jwk, "", "balancer/test")
    if passes:
        assert str(network.post("https://ca.test/order")) == "done"
    else:
        with pytest.raises(messages.Error):
            network.post("https://ca.test/order")
    assert len(calls) == min(refusals, 5) + 1
