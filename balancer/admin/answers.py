"""The format of all answers of the admin API (L6): JSON that ends with a newline, errors as one sentence."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import orjson
from aiohttp import web

from balancer.admin.view import RefusedError

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
SERVER = "balancer"
ASSETS = "/assets/{name}"  # what pages load: no part of the API
EXPLAIN = "/explain"  # a page, no part of the API either
MOST_BODY = 1 << 20  # bytes; a settings file of thousands of upstreams
BODY_TIMEOUT = 10.0  # seconds


def answer(
    data: object, status: int = 200, headers: Mapping[str, str] | None = None, *, revision: int | None = None
) -> web.Response:
    """`data` as JSON; dataclasses become objects. `revision`, of what operators have set, goes into ETag: it
    must have been read before `data`, lest a change in between is overwritten later."""
    body = orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE)
    made = web.Response(body=body, status=status, headers=headers, content_type="application/json")
    if revision is not None:
        made.headers["ETag"] = f'"{revision}"'
    return made


class BadRequestError(Exception):
    """The request cannot be understood: one sentence that names the parameter, the value and the remedy."""


class NotFoundError(Exception):
    """The resource does not exist: one sentence that lists what does."""


class GoneError(NotFoundError):
    """What a client wants to remove is not there: for a client that tries again, that is done."""


class StaleError(Exception):
    """What operators have set is not what the client has seen: `revision` is the present one."""

    def __init__(self, sentence: str, revision: int) -> None:
        super().__init__(sentence)
        self.revision = revision


class LateBodyError(Exception):
    """The request body has not arrived within BODY_TIMEOUT."""


async def body_of(request: web.Request) -> bytes:
    """The whole body, MOST_BODY at most. Raises LateBodyError after BODY_TIMEOUT."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await request.read()
    except TimeoutError:
        raise LateBodyError from None


class Query:
    """The query parameters of a request: known names only, each at most once."""

    def __init__(self, request: web.Request, *known: str) -> None:
        self._given: dict[str, str] = {}
        for name, value in request.query.items():
            if name not in known:
                remedy = f"this path takes {' and '.join(known)}" if known else "this path takes none"
                raise BadRequestError(f"unknown parameter {name!r}; {remedy}")
            if name in self._given:
                raise BadRequestError(f"parameter {name} is given twice")
            self._given[name] = value

    def count(self, name: str, default: int) -> int:
        """A whole number, 0 or more."""
        text = self._given.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < _LONGEST_NUMBER):
            raise BadRequestError(f"{name}={text!r} is not a whole number of 0 or more; write {name}=42")
        return int(text)

    def seconds(self, name: str, most: float) -> float:
        """A number of seconds from 0, the default, to `most`."""
        text = self._given.get(name, "0")
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= most:
            raise BadRequestError(f"{name}={text!r} is not a number of seconds from 0 to {most:g}")
        return seconds

    def text(self, name: str) -> str | None:
        """As given; None if it is not."""
        return self._given.get(name)

    def choice(self, name: str, *choices: str) -> str:
        """One of `choices`; the first one is the default."""
        text = self._given.get(name, choices[0])
        if text not in choices:
            raise BadRequestError(f"{name}={text!r} is not known; write {' or '.join(choices)}")
        return text


_LONGEST_NUMBER = 16


def error(sentence: str, status: int, **more: Any) -> web.Response:
    """An error as JSON."""
    return answer({"error": sentence, **more}, status)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns the exceptions of handlers into answers, and aiohttp's own 404 and 405 pages too."""
    try:
        return await handler(request)
    except BadRequestError as problem:
        return error(str(problem), 400)
    except RefusedError as problem:
        return error(str(problem), 409)
    except StaleError as problem:
        stale = {"error": str(problem), "revision": problem.revision}
        return answer(stale, 412, revision=problem.revision)
    except GoneError as problem:
        return error(str(problem), 404, result="gone")
    except NotFoundError as problem:
        return error(str(problem), 404)
    except web.HTTPMethodNotAllowed as problem:
        allowed = ", ".join(sorted(problem.allowed_methods))
        refusal = error(f"{request.path} takes {allowed}, not {request.method}", 405)
        refusal.headers["Allow"] = allowed
        return refusal
    except web.HTTPNotFound:
        paths = sorted(
            {resource.canonical for resource in request.app.router.resources()} - {ASSETS, EXPLAIN}
        )
        return error(f"there is nothing at {request.path}", 404, paths=paths)
    except LateBodyError:
        late = error(f"the body did not arrive within {BODY_TIMEOUT:g}s", 408)
        late.force_close()
        return late
    except web.RequestPayloadError:
        return error(
            "the body could not be read: it is incomplete, or does not match its Content-Encoding", 400
        )
    except web.HTTPRequestEntityTooLarge:
        return error(f"the body is longer than {request.client_max_size} bytes", 413)


async def name_server(request: web.Request, response: web.StreamResponse) -> None:
    """Set Server, so that it does not reveal the library and its version."""
    response.headers["Server"] = SERVER
