"""Turns an app replica's switches from inside its container: `python -m loadtests.app control '{...}'`."""

import http.client
import os

from loadtests.app.switches import CONTROL_PATH


def control(changes: str | None) -> int:
    """Send the changes, a JSON object, to the local replica, or request its state; prints it."""
    port = int(os.environ.get("REPLICA_LISTEN", "0.0.0.0:8000").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET" if changes is None else "POST", CONTROL_PATH, changes)
        response = connection.getresponse()
        print(response.read().decode())
        return 0 if response.status == 200 else 1
    finally:
        connection.close()
