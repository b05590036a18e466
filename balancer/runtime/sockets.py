"""Listening sockets (L7): opened by the supervisor, one per worker slot, and kept as long as it lives."""

import errno
import ipaddress
import os
import socket

from balancer.config.address import Address, join_host_port
from balancer.errors import StartupError

BACKLOG = 4096  # the kernel lowers it to net.core.somaxconn
ADMIN_BACKLOG = 4096  # a probe's SYN must not be dropped while thousands of others connect in a burst


class ListenError(StartupError):
    """Listening on an address failed; `number` is the errno."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


def open_listeners(address: Address, slots: int) -> list[socket.socket]:
    """One SO_REUSEPORT socket per worker slot, all on `address`, listening.

    They listen from now on, so that clients wait in the queue while workers start, and a second instance
    that starts at the same time is refused. Port 0 takes any free port, the same for all. Raises
    StartupError if the address is not available.
    """
    sockets = bind_listeners(address, slots)
    try:
        for sock in sockets:
            sock.listen(BACKLOG)
    except OSError as error:
        _close_all(sockets)
        raise _refused(address, error) from None
    return sockets


def bind_listeners(address: Address, slots: int, *, shared: bool = False) -> list[socket.socket]:
    """As `open_listeners`, but not listening yet. `shared`: some sockets of this instance listen there."""
    if address.port and not shared:
        # A socket with SO_REUSEPORT would silently share the port with another program. One with only
        # SO_REUSEADDR is refused while anyone listens, but not because of connections in TIME_WAIT.
        _bind(address, reuse_port=False).close()
    sockets: list[socket.socket] = []
    try:
        for _ in range(slots):
            sockets.append(_bind(address, reuse_port=True))
            address = bound_address(sockets[0])
    except StartupError:
        _close_all(sockets)
        raise
    return sockets


def open_admin(address: Address) -> socket.socket:
    """The admin listener, for the supervisor only. Raises StartupError if the address is not available."""
    sock = _bind(address, reuse_port=False)
    try:
        sock.listen(ADMIN_BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(address, error) from None
    return sock


def why_not_here(address: Address) -> str:
    """Why listening on the address is impossible on this machine; "" if it is not, once the port is free."""
    try:
        _bind(address, reuse_port=False).close()
    except ListenError as error:
        return "" if error.number == errno.EADDRINUSE else str(error)
    return ""


def bound_address(sock: socket.socket) -> Address:
    """The address on which a socket really listens, with the actual port if 0 was requested."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def _bind(address: Address, *, reuse_port: bool) -> socket.socket:
    version = ipaddress.ip_address(address.host).version
    sock = None
    try:
        sock = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        # Else connections that the listeners left in TIME_WAIT would make the next start's probe fail.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address.host, address.port))
    except OSError as error:
        if sock is not None:
            sock.close()
        raise _refused(address, error) from None
    return sock


def _refused(address: Address, error: OSError) -> ListenError:
    where = join_host_port(address.host, address.port)
    why = {
        errno.EADDRINUSE: "the port is in use; stop what listens there, or choose another port",
        errno.EACCES: "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE, choose a higher one",
        errno.EADDRNOTAVAIL: "this machine does not have that address; 0.0.0.0 listens on all",
        errno.EAFNOSUPPORT: "this machine has no IPv6; use an IPv4 address",
    }.get(error.errno or 0, os.strerror(error.errno or 0))
    return ListenError(f"cannot listen on {where}: {why}", error.errno or 0)


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
