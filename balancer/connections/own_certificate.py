"""Gives a TLS context a certificate of ours, to clients as to upstreams (L3)."""

import os
import ssl


def load_own_certificate(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """`chain` and `key` are PEM, the leaf first. Raises ssl.SSLError.

    OpenSSL reads them from a file only: here one without a name, in memory.
    """
    fd = os.memfd_create("tls")
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(chain + b"\n" + key)
        path = f"/proc/self/fd/{fd}"
        context.load_cert_chain(path, path, "")  # a password: else it would ask for one on the terminal
    finally:
        os.close(fd)
