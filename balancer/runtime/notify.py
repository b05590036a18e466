"""Tells the service manager what this instance does (L7): the datagrams of sd_notify(3), if it wants them."""

import os
import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def main_process(pid: int) -> str:
    """This process is the service's main one from now on."""
    return f"MAINPID={pid}"


def notify(text: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send it. Nothing happens where no service manager listens."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto(text.encode(), address)
    except OSError:
        return  # it does not listen any more
