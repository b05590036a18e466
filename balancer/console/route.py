"""`balancer route` (L7): what would happen to a request, and why. Nothing is sent."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from balancer.config.address import ascii_name, is_ip
from balancer.errors import OperatorError, ProtocolError
from balancer.http.edits import Facts
from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.forwarding import Forwarding, Peer
from balancer.http.named_values import VALUES
from balancer.http.request_head import RequestHead, parse_request_head
from balancer.http.wire import render_request
from balancer.proxy.https_redirect import to_https, wants_https
from balancer.proxy.route_table import RouteTable
from balancer.proxy.router import edits_of
from balancer.proxy.side import RouteCounters, Side
from balancer.proxy.split import OWN_COOKIE, Split
from balancer.proxy.stages.answer import Answer
from balancer.spec.part import replaced
from balancer.spec.worker import AnswerSpec, MatchSpec, RouteSpec, SplitSpec, WorkerSpec
from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.telemetry.segment import CELL_BYTES

_REQUEST_ID = b"0000000000000000000000000000"
_SAYS_SCHEME = ("x-forwarded-proto:", "forwarded:")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def explain(
    spec: WorkerSpec, method: str, url: str, fields: Sequence[str], client: str, console: Console
) -> None:
    """Print which route a request takes, what is changed, and who answers it. Raises OperatorError for an
    argument that is no request."""
    if not is_ip(client):
        raise OperatorError(f"--client: {client} is no IP address; write, for example, 192.0.2.1")
    listener, tls = spec.listener, spec.tls
    is_https = url.lower().startswith("https:")
    raw = _raw(method, url, fields, tls is not None)
    table = FieldTable(REQUEST_KINDS, listener.forwarded.told, listener.forwarded.kept)
    scheme, port = (b"http", 0) if tls is None or not is_https else (b"https", tls.public_port)
    peer = Forwarding(listener.trusted_proxies, spec.via, scheme=scheme, port=port).peer(client)
    goes_by_scheme = any(route.match.without_tls for route in spec.routes)
    if goes_by_scheme and is_https and tls is None and not peer.trusted:
        why = f"{client} is not among TRUSTED_PROXIES, which say what clients speak"
        _row(console, "scheme", f"http to the balancer, which has no TLS: {why}")
    limits = listener.limits
    try:
        head = parse_request_head(raw, limits.uri_bytes, limits.header_count, None, table)
        asked = head.target
        number = RouteTable([route.match for route in spec.routes]).number_of(head, peer)
    except ProtocolError as error:
        _row(console, "answer", f"{error.failure.status}: {error.failure.text}")
        _row(console, "", f"{error.detail}. No app sees it.")
        return
    route = spec.routes[number]
    facts = Facts(head, peer, _REQUEST_ID, scheme)
    if head.target != asked:
        _row(console, "path", f"{_text(head.target)}, the normal form of {_text(asked)}")
    if not route.sides and route.answer is None:
        _row(console, "route", f"none of {number} matches")
        _row(console, "answer", "404. No app sees it.")
        return
    _row(console, "route", f"{route.name}, number {number + 1}: {_in_words(route.match)}")
    if tls is not None and tls.redirect and wants_https(head, peer):
        _print_answer(console, to_https(tls.public_port), facts)
    elif route.answer is not None:
        _print_answer(console, route.answer, facts)
    else:
        for number, side in enumerate(route.sides):
            pool = next(one for one in spec.pools if one.name == side.pool)
            _row(console, "pool" if not number else "or", f"{pool.name}, policy {pool.policy.name}")
        if route.split is not None:
            shares = zip(route.sides, route.split.weights, strict=True)
            weights = ", ".join(f"{side.pool} {weight}" for side, weight in shares)
            _row(console, "split", f"{weights} in the settings, by {route.split.key}")
            _row(console, "its side", _side_of(route, route.split, head, peer))
        _print_changes(console, route, head, facts)


def _side_of(route: RouteSpec, spec: SplitSpec, head: RequestHead, peer: Peer) -> str:
    """The side that serves the request as long as it has an eligible upstream."""
    cells = memoryview(bytearray(CELLS_PER_ROW * CELL_BYTES)).cast("q")
    sides = [Side(None, {}, RouteCounters(cells)) for _ in route.sides]
    for side, own in zip(sides, route.sides, strict=True):
        side.pool_name = own.pool
    drawn: list[bytes] = []

    def new_id() -> bytes:
        drawn.append(bytes(8))
        return drawn[-1]

    chosen, _ = Split(replaced(spec, fallback=False), sides, new_id).choose(head, peer)
    if drawn:
        new = [side.pool for side, weight in zip(route.sides, spec.weights, strict=True) if weight]
        return f"{' or '.join(new)}, by weight: a new user, without the cookie {spec.cookie.decode()}"
    return f"{chosen.pool_name}, {_named_by(spec, head, peer)}"


def _named_by(spec: SplitSpec, head: RequestHead, peer: Peer) -> str:
    """What names the user of a request."""
    if spec.key == OWN_COOKIE:
        return f"by the cookie {spec.cookie.decode()}"
    kind, _, name = spec.key.partition(":")
    if name and VALUES[kind](head, peer, name.encode()):
        return f"by {kind} {name}"
    address = f"the client's address, {peer.client_address(head)}"
    return f"as the request has no {kind} {name}: by {address}" if name else f"by {address}"


def _raw(method: str, url: str, fields: Sequence[str], has_tls: bool) -> bytes:
    """The request as it reaches the balancer. Without TLS, https ends at a proxy in front, which says so."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc:
        raise OperatorError(f"{url} is no URL; write https://shop.example/api/x")
    path = url.partition("://")[2] or url
    target = path[path.find("/") :].partition("#")[0] if "/" in path else "/"
    lines = [f"{method} {target} HTTP/1.1"]
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon or not name.strip():
            raise OperatorError(f"{field} is no header field; write 'Name: value'")
        lines.append(f"{name.strip()}: {value.strip()}")
    if not any(line.lower().startswith("host:") for line in lines[1:]):
        lines.insert(1, f"Host: {_host(parts.netloc)}")
    says_scheme = has_tls or any(line.lower().startswith(_SAYS_SCHEME) for line in lines[1:])
    if parts.scheme == "https" and not says_scheme:
        lines.append("X-Forwarded-Proto: https")
    return "\r\n".join([*lines, "", ""]).encode()


def _host(authority: str) -> str:
    """As clients send it: a name in the form of DNS."""
    if authority.isascii():
        return authority
    name, colon, port = authority.partition(":")
    if (found := ascii_name(name)) is None:
        raise OperatorError(f"{name} is not ASCII, as Host is; write the form that DNS has, xn--...")
    return f"{found}{colon}{port}"


def _print_answer(console: Console, answer: AnswerSpec, facts: Facts) -> None:
    head = Answer(answer).head(facts)
    size = len(answer.body)
    _row(console, "answer", f"{_text(head.status_line)[9:]}, made here, with a body of {size} bytes")
    for line in head.lines:
        _row(console, "", _text(line))


def _print_changes(console: Console, route: RouteSpec, head: RequestHead, facts: Facts) -> None:
    edits = edits_of(route)
    data = render_request(head, facts.peer, facts.request_id, b"app.example")
    if edits is not None and edits.request is not None:
        data = edits.request.apply(data, facts)
    title = "the app gets"
    for line in data[:-4].split(b"\r\n"):
        _row(console, title, _text(line))
        title = ""
    if edits is not None and edits.response is not None and route.response is not None:
        response = route.response
        changes = [f"set {name}" for name, _ in response.set] + [f"add {name}" for name, _ in response.add]
        _row(console, "its response", ", ".join([*changes, *(f"remove {name}" for name in response.remove)]))


def _in_words(match: MatchSpec) -> str:
    """What a route asks of requests."""
    wanted = []
    if match.hosts:
        wanted.append(f"host {' or '.join(match.hosts)}")
    if match.path:
        wanted.append(f"path {match.path}")
    if match.path_prefixes:
        wanted.append(f"path below {' or '.join(match.path_prefixes)}")
    if match.methods:
        wanted.append(f"method {' or '.join(match.methods)}")
    for kind, values in (("header", match.headers), ("query", match.query), ("cookie", match.cookies)):
        wanted += [f"{kind} {name} {'present' if value == '*' else f'= {value}'}" for name, value in values]
    if match.without_tls:
        wanted.append("scheme not https")
    return ", ".join(wanted) or "every request"


def _row(console: Console, title: str, text: str) -> None:
    console.print(Text.assemble((f"{title:<14}", "bold"), text), soft_wrap=True)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
