"""The addresses of this machine (L1), from the kernel by netlink (rtnetlink(7))."""

import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

# kube-proxy puts the address of every Service there; connections to them go to that Service's pods.
_NOT_OURS = frozenset(["kube-ipvs0"])
_PATIENCE = 1.0  # seconds; the kernel answers at once, or not at all

_HEADER = struct.Struct("=IHHII")  # of a message: length, type, flags, sequence, sender
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_NETLINK_ROUTE = 0
_GET, _NEW, _DUMP = 22, 20, 0x301  # RTM_GETADDR, RTM_NEWADDR, NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_PEER, _LOCAL = 1, 2  # IFA_ADDRESS is the other end's if there is an IFA_LOCAL


def own_addresses() -> frozenset[str]:
    """The IP addresses of all interfaces. Empty if netlink is not permitted."""
    try:
        return frozenset(_ask())
    except OSError:
        return frozenset()


def ipv6_takes_ipv4() -> bool:
    """Whether a socket that listens on `[::]` takes IPv4 connections too, as is usual."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            return not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return False


def _ask() -> Iterator[str]:
    question = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as sock:
        sock.settimeout(_PATIENCE)
        sock.send(_HEADER.pack(_HEADER.size + len(question), _GET, _DUMP, 1, 0) + question)
        while True:
            data = sock.recv(1 << 17)
            while len(data) >= _HEADER.size:
                size, kind, *_ = _HEADER.unpack_from(data)
                if kind in (_ERROR, _DONE) or size < _HEADER.size:
                    return
                if kind == _NEW:
                    yield from _address_in(data[_HEADER.size : size])
                data = data[_aligned(size) :]


def _address_in(message: bytes) -> Iterator[str]:
    interface = _ADDRESS.unpack_from(message)[-1]
    attributes, at = {}, _ADDRESS.size
    while at + _ATTRIBUTE.size <= len(message):
        size, kind = _ATTRIBUTE.unpack_from(message, at)
        if size < _ATTRIBUTE.size:
            break
        attributes[kind] = message[at + _ATTRIBUTE.size : at + size]
        at += _aligned(size)
    packed = attributes.get(_LOCAL) or attributes.get(_PEER)
    if packed and _name_of(interface) not in _NOT_OURS:
        yield str(ip_address(packed))


def _name_of(interface: int) -> str:
    try:
        return socket.if_indextoname(interface)
    except OSError:  # the interface was removed
        return ""


def _aligned(size: int) -> int:
    return (size + 3) & ~3
