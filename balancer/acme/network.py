"""Requests to an authority (L0), and what their failures mean."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from acme import errors, messages
from acme.client import ClientNetwork
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from balancer.acme.problem import Cause, OrderError

TIMEOUT = 20  # seconds for one request
_NONCES = 5  # times that a request is sent with another nonce
_LONGEST = 200  # characters of an answer that is not ACME
# What others than the authority's rules have caused, and what may work soon (RFC 8555 section 6.7).
_PASSING = ("serverInternal", "badNonce", "orderNotReady")


class Network(ClientNetwork):
    """Signs with the account's key; remembers what Retry-After said last."""

    def __init__(self, key: JWKEC, ca: str, agent: str) -> None:
        """`ca` is a file with authorities (PEM) that are trusted, "" for public ones."""
        super().__init__(key, alg=ES256, user_agent=agent, timeout=TIMEOUT)
        if ca:
            self.verify_ssl = ca  # type: ignore[assignment]  # requests takes either
        self.retry_after = 0.0  # seconds, of the last response
        self.session.hooks["response"].append(self._note)

    def _note(self, response: requests.Response, *_: object, **__: object) -> None:
        self.retry_after = seconds_of(response.headers.get("Retry-After", ""), datetime.now(UTC))

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """As that of the library, which takes another nonce once: an authority may refuse several."""
        for _ in range(_NONCES):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


def seconds_of(retry_after: str, now: datetime) -> float:
    """The seconds that the field means, 0 if it says none (RFC 9110 section 10.2.3)."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max((when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds(), 0.0)


@contextmanager
def in_words(host: str, network: Network) -> Iterator[None]:
    """Turn what is raised here by the library into an OrderError."""
    try:
        yield
    except errors.ValidationError as error:
        raise OrderError(Cause.CHALLENGE, _not_found(error)) from None
    except errors.IssuanceError as error:
        raise OrderError(Cause.REFUSED, _said(host, error.error)) from None
    except messages.Error as error:
        cause = Cause.UNREACHABLE if error.code in _PASSING else Cause.REFUSED
        if error.code == "rateLimited":
            cause = Cause.LIMITED
        raise OrderError(cause, _said(host, error), network.retry_after) from None
    except errors.TimeoutError:
        raise OrderError(Cause.UNREACHABLE, f"{host} has not finished in time") from None
    except (requests.RequestException, errors.Error, JoseError, LookupError, ValueError) as error:
        text = f"{host} {_without_acme(error)}"
        raise OrderError(Cause.UNREACHABLE, text, network.retry_after) from None


def _said(host: str, error: messages.Error) -> str:
    detail = error.detail or error.title or error.description or "no reason"
    code = f" ({error.code})" if error.code else ""
    more = "".join(f"; {each.detail}" for each in error.subproblems or () if each.detail)
    return f"{host} says: {_short(detail + more)}{code}"


def _not_found(error: errors.ValidationError) -> str:
    found = [
        _said(f"{challenge.chall.typ}: the authority", challenge.error)
        for authorization in error.failed_authzrs
        for challenge in authorization.body.challenges
        if challenge.error is not None
    ]
    return "; ".join(found) or "the authority did not find what it looked for, and says no more"


def _without_acme(error: Exception) -> str:
    """What happened instead of an answer."""
    if isinstance(error, requests.exceptions.SSLError):
        verification = _inner(error, ssl.SSLCertVerificationError)
        why = getattr(verification, "verify_message", "") or "TLS failed"
        return f"cannot be trusted: {why}; if it is an authority of your own, name its file in TLS__ACME__CA"
    if isinstance(error, requests.exceptions.ProxyError):
        return "cannot be reached by the proxy that HTTPS_PROXY names"
    if isinstance(error, requests.exceptions.Timeout):
        return f"does not answer within {TIMEOUT} s"
    if isinstance(error, requests.RequestException):
        inner = _inner(error, OSError)
        why = getattr(inner, "strerror", None) or type(error).__name__
        return f"cannot be reached: {str(why).lower()}"
    if isinstance(error, errors.ClientError) and error.args and isinstance(error.args[0], requests.Response):
        response = error.args[0]
        return f"answers {response.status_code} {response.reason}, not as an ACME server: {response.url}"
    return f"does not answer as an ACME server: {_short(str(error)) or type(error).__name__}"


def _inner(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The innermost of the errors that led to this one, of that kind."""
    found, seen = None, set[int]()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, kind) and not isinstance(one, requests.RequestException):
            found = one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
