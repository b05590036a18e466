"""What clients receive of malformed responses, through the balancer, nginx and HAProxy side by side.

    python -m loadtests.hostile.differential [NAME...]

One app, in threads of this process, plays the corpus of responses (`tests/corpus/responses.txt`) to each of
them. What a client reads by the rules of RFC 9112 is compared: statuses, body, and whether that is whole.
Rows that differ are shown. NAME: only these cases, whether they differ or not.
"""

import re
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtests import command
from loadtests.hostile.attacks import Attack
from loadtests.hostile.balancers import BALANCERS, balancer
from loadtests.processes import Processes, free_ports
from tests.corpus.cases import Case, read_cases
from tests.corpus.responses_driver import setup_of

PATIENCE = 1.0  # seconds without a byte after which a response counts as open
SHOWN = 40  # bytes of a body
WIDTH = 160  # columns, if the width of the output is unknown
_TAKEN = 0.05  # seconds for sent bytes to be read before a reset, which discards unread bytes
_PATH = "/case/"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_OWN = re.compile(r"(.* )?(50[0-9])")
_HEAD = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})[^\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")


def playable(case: Case) -> bool:
    """Without upgrades, which others need settings for, and limits, which differ by settings."""
    setup = setup_of(case)
    return not setup.upgrading and not any(line.startswith("limit") for line in case.setup)


class App:
    """Answers `/case/ID` with the bytes and the end of that case, anything else with "ok"."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = {case.id: case for case in cases}
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"

    def serve(self) -> None:
        """Accept for ever, a thread for each connection."""
        while True:
            peer, _ = self._listening.accept()
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        received = b""
        with peer, suppress(OSError):
            while True:
                while b"\r\n\r\n" not in received:
                    if not (data := peer.recv(65536)):
                        return
                    received += data
                head, _, received = received.partition(b"\r\n\r\n")
                case = self._cases.get(head.split(b" ")[1].decode().removeprefix(_PATH))
                peer.sendall(_OK if case is None else case.sent)
                if case is not None and _end(peer, setup_of(case).end):
                    return


def _end(peer: socket.socket, how: str) -> bool:
    """End the connection as the case requires; returns whether it has ended."""
    if how in ("reset", "broken pipe"):
        time.sleep(_TAKEN)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return bool(how)


def ask(port: int, case: Case) -> str:
    """What a client receives of a case: statuses, the body, and how it ended if it is not whole."""
    setup = setup_of(case)
    received, ended = b"", "open"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(PATIENCE)
        line = b"%b %b HTTP/1.%d" % (setup.method, f"{_PATH}{case.id}".encode(), setup.client_minor)
        client.sendall(line + b"\r\nHost: test\r\n\r\n")
        try:
            while not (seen := read(received, setup.method))[1]:
                if not (data := client.recv(65536)):
                    ended = "closed"
                    break
                received += data
        except TimeoutError:
            pass
        except OSError:
            ended = "reset"
    said, whole, until_close = seen
    if own := _OWN.match(said):
        return said if own[2].encode() in case.sent else own[0]
    return said if whole or (until_close and ended == "closed") else f"{said or 'nothing'}, {ended}"


def read(received: bytes, method: bytes) -> tuple[str, bool, bool]:
    """The received part of a response, whether it is whole, and whether it lasts until the connection
    ends."""
    statuses: list[str] = []
    while match := _HEAD.match(received):
        received = received[match.end() :]
        if match[2] >= b"200" or match[2] == b"101":
            break
        statuses.append(match[2].decode())
    else:
        return _counted(statuses) + (f"no head: {_short(received)}" if received else ""), False, False
    head, said = match[0], f"{_counted(statuses)}{match[2].decode()}"
    if method == b"HEAD" or match[2] in (b"204", b"304"):
        return said, True, False
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked\r\n", head):
        body, whole = _dechunk(received)
        return f"{said} {_short(body)}", whole, False
    if length := re.search(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n", head):
        size = int(length[1])
        return f"{said} {_short(received[:size])}", len(received) >= size, False
    return f"{said} {_short(received)}", False, True


def _counted(statuses: Sequence[str]) -> str:
    """Of 1xx responses, and a blank."""
    runs = [(status, len(list(run))) for status, run in groupby(statuses)]
    return "".join(f"{status} " if count == 1 else f"{count} x {status} " for status, count in runs)


def _dechunk(received: bytes) -> tuple[bytes, bool]:
    body = b""
    while match := re.match(rb"([0-9a-fA-F]+)[^\n]*\r\n", received):
        size = int(match[1], 16)
        if not size:
            return body, re.search(rb"\r\n\r\n", received) is not None
        body += received[match.end() : match.end() + size]
        received = received[match.end() + size + 2 :]
    return body, False


def _short(body: bytes) -> str:
    return repr(body[:SHOWN])[1:] + (f"... {len(body)} bytes" if len(body) > SHOWN else "")


def main(argv: Sequence[str]) -> int:
    """Play all, and print the table."""
    cases = [case for case in read_cases("responses.txt") if playable(case)]
    chosen = [case for case in cases if case.id in argv] if argv else cases
    table = Table("case", *BALANCERS, title="responses seen differently", show_lines=True)
    with tempfile.TemporaryDirectory(prefix="balancer-differential-") as directory:
        for case, seen in zip(chosen, _play(chosen, Path(directory)), strict=True):
            if argv or len(set(seen)) > 1:
                table.add_row(case.id, *map(escape, seen))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    print(f"{len(chosen)} cases, {table.row_count} shown")
    return 0


def _play(cases: Sequence[Case], directory: Path) -> list[tuple[str, ...]]:
    app = App(cases)
    threading.Thread(target=app.serve, daemon=True).start()
    columns: list[list[str]] = []
    with Processes(directory) as processes:
        for name in BALANCERS:
            port, spare = free_ports(2)
            one = balancer(name, Attack(name, "", 0, b""))
            one.require()
            launch = one.prepare(directory, port, spare, [app.address])
            pid = processes.start(name, launch.argv, None, launch.environment)
            processes.wait_for_body(name, pid, port, len(b"ok"))
            columns.append([ask(port, case) for case in cases])
    return list(zip(*columns, strict=True))


if __name__ == "__main__":
    sys.exit(command.run("differential", partial(main, sys.argv[1:])))
