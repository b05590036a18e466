"""The attacker: one attack for some seconds, on raw sockets and one epoll, as fast as possible.

    python -m loadtests.hostile.attacker ATTACK PORT SECONDS CONNECTIONS

It prints when it begins, and at the end how many connections it opened and how many bytes were accepted.
"""

import errno
import resource
import select
import socket
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from random import uniform

from loadtests.hostile.attacks import ATTACKS, Attack, Ends
from loadtests.open_loop.order import BEGINS

HOST = "127.0.0.1"
_READ = 1 << 18
_OPENED_AT_ONCE = 64  # connections opened between two looks at the open ones
_OPENED_AGAIN = 500  # new connections per second at most, unless they are opened to be closed
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST
_UNDER_WAY = (0, errno.EINPROGRESS)
_SOURCE = "127.2.0.{}"  # one address has too few ports for all the connections closed here


class Peer:
    """One connection of the attacker."""

    __slots__ = ("_attack", "_opening", "_unsent", "due", "fd", "sent", "socket")

    def __init__(self, attack: Attack, port: int, source: str, now: float) -> None:
        self._attack = attack
        self._unsent = memoryview(attack.opening)
        self._opening = True
        self.sent = 0
        self.due = now + uniform(0, attack.every)
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        self.socket.bind((source, 0))
        self.fd = self.socket.fileno()
        error = self.socket.connect_ex((HOST, port))
        if error not in _UNDER_WAY:
            self.socket.close()
            raise OSError(error, errno.errorcode[error])

    def send(self) -> bool:
        """Send what is next; returns whether more is to be sent. OSError when the connection has ended."""
        if not self._unsent:
            self._unsent = memoryview(self._attack.endless)
            self._opening = False
        if self._unsent:
            with suppress(BlockingIOError):
                taken = self.socket.send(
                    self._unsent if self._opening else self._unsent[: self._attack.piece]
                )
                self.sent += taken
                self._unsent = self._unsent[taken:]
        return bool(self._unsent or self._attack.endless)

    def read(self) -> bool:
        """Read; returns whether the opening is to be sent again. OSError when the connection has ended."""
        data = self.socket.recv(_READ)
        if not data:
            raise OSError(errno.ECONNRESET, "closed")
        if self._attack.again and b"HTTP/1.1 " in data:
            self.ask()
            return True
        return False

    def ask(self) -> None:
        """Send the opening next."""
        self._unsent = memoryview(self._attack.opening)
        self.due += self._attack.every

    def end(self) -> None:
        """End the connection as the attack requires."""
        if self._attack.ends is Ends.RESET:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()


class Attacker:
    """All connections of one attack."""

    def __init__(self, attack: Attack, port: int) -> None:
        self._attack = attack
        self._port = port
        self._peers: dict[int, Peer] = {}
        self._sources = cycle([_SOURCE.format(number) for number in range(1, attack.addresses + 1)])
        self._missing = attack.connections
        self._opened_lately: deque[float] = deque()
        self._epoll = select.epoll()
        self.opened = 0
        self.taken = 0

    def run(self, seconds: float) -> None:
        """Attack until the time is over."""
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            if not self._attack.together or now < begin + seconds / 2:
                self._open(now)
            elif self._peers:
                self._end_all()
            self._ask_again(now)
            for fd, events in self._epoll.poll(0.01):
                peer = self._peers.get(fd)
                if peer is not None:
                    self._serve(peer, events)
        self._end_all()

    def _end_all(self) -> None:
        for peer in list(self._peers.values()):
            self._forget(peer)

    def _ask_again(self, now: float) -> None:
        if self._attack.every:
            for peer in self._peers.values():
                if peer.due < now:
                    peer.ask()
                    self._epoll.modify(peer.fd, select.EPOLLOUT | self._reading)

    def _open(self, now: float) -> None:
        most = _OPENED_AT_ONCE
        if self._attack.ends is Ends.NEVER and self.opened >= self._attack.connections:
            while self._opened_lately and self._opened_lately[0] < now - 1.0:
                self._opened_lately.popleft()
            most = min(most, _OPENED_AGAIN - len(self._opened_lately))
        for _ in range(min(most, self._missing)):
            try:
                peer = Peer(self._attack, self._port, next(self._sources), now)
            except OSError:
                return  # refused, or no ports: the next turn
            self._missing -= 1
            self.opened += 1
            self._opened_lately.append(now)
            self._peers[peer.fd] = peer
            self._epoll.register(peer.fd, select.EPOLLOUT | self._reading)

    @property
    def _reading(self) -> int:
        return select.EPOLLIN if self._attack.reads else 0

    def _serve(self, peer: Peer, events: int) -> None:
        try:
            if events & (select.EPOLLERR | select.EPOLLHUP):
                raise OSError(errno.ECONNRESET, "reset")
            more = events & select.EPOLLIN and peer.read()
            if (more or events & select.EPOLLOUT) and not peer.send():
                if self._attack.ends is not Ends.NEVER and not self._attack.together:
                    self._forget(peer)
                    return
                self._epoll.modify(peer.fd, self._reading)
        except BlockingIOError:
            return
        except OSError:
            self._forget(peer)

    def _forget(self, peer: Peer) -> None:
        self.taken += peer.sent
        self._missing += 1
        del self._peers[peer.fd]
        peer.end()


def main() -> None:
    """The process."""
    name, port, seconds, connections = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attacker = Attacker(replace(ATTACKS[name], connections=int(connections)), int(port))
    print(f"{BEGINS}{time.monotonic()}", flush=True)
    attacker.run(float(seconds))
    print(f"opened {attacker.opened} taken {attacker.taken}")


if __name__ == "__main__":
    main()
