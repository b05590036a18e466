"""Requests for tests that play an attempt on its own connection."""

from balancer.connections.roles import OutgoingRequest, ResponseReader, UpstreamSide
from balancer.http.edits import Facts
from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.forwarding import Forwarding
from balancer.http.request_head import RequestHead, parse_request_head
from tests.fakes.transport import CLIENT_ADDRESS

_FIELDS = FieldTable(REQUEST_KINDS, [], [], passes_trailers=False)
_PEER = Forwarding([], "", lambda address, fields: None).peer(CLIENT_ADDRESS)
_UPGRADE = b"Connection: upgrade\r\nUpgrade: websocket\r\n"


def request_head(method: bytes = b"GET", upgrading: bool = False) -> RequestHead:
    """The head of a request without a body."""
    fields = _UPGRADE if upgrading else b""
    head = b"%b / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, fields)
    return parse_request_head(head, 8192, 100, None, _FIELDS)


class PlainRequest(OutgoingRequest):
    """A request without a body."""

    def __init__(self, method: bytes, upgrading: bool) -> None:
        self.head = request_head(method, upgrading)
        self.peer = _PEER
        self.request_id = b"id"
        self.head_tail = b"\r\n\r\n"
        self.unsent = ()
        self.request_whole = True
        self.request_trailers = b""
        self.edits = None

    def facts(self) -> Facts:
        return Facts(self.head, self.peer, self.request_id, b"http")


def send_request(
    connection: UpstreamSide, reader: ResponseReader, method: bytes = b"GET", upgrading: bool = False
) -> None:
    """`reader` takes the connection and sends a request."""
    connection.send(reader, PlainRequest(method, upgrading), False)
