"""A small app replica whose health check tests what its pages need, and announces its end.

GET /healthz answers
    200 ready           the database can be read
    503 no database     it cannot: the balancer ejects this replica and the others serve
    410 leaving         TERM has arrived: send no new requests, running ones finish
"""

import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATABASE = os.environ.get("DATABASE", "orders.db")
# Longer than HEALTH_CHECK__INTERVAL + HEALTH_CHECK__TIMEOUT: the next check must find it still here.
LEAVE_SECONDS = float(os.environ.get("LEAVE_SECONDS", "3"))
leaving = threading.Event()


def orders():
    with closing(sqlite3.connect(f"file:{DATABASE}?mode=rw", uri=True, timeout=0.5)) as database:
        return database.execute("SELECT count(*) FROM orders").fetchone()[0]


def check():
    if leaving.is_set():
        return 410, "leaving"
    try:
        orders()
    except sqlite3.Error:
        return 503, "no database"
    return 200, "ready"


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    disable_nagle_algorithm = True  # head and body are two writes

    def do_GET(self):
        status, text = check() if self.path == "/healthz" else (200, f"{orders()} orders")
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    with closing(sqlite3.connect(DATABASE)) as database:
        database.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # before the first thread: it inherits this
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8000"))
    server = ThreadingHTTPServer(address, App)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"serves on port {server.server_port}", flush=True)
    signal.sigwait([signal.SIGTERM])
    leaving.set()
    time.sleep(LEAVE_SECONDS)
    server.shutdown()


if __name__ == "__main__":
    main()
