"""The kinds of challenges that are answered here (L0), in the order in which they are tried."""

from typing import Final

HTTP: Final = "http-01"  # RFC 8555 section 8.3
TLS_ALPN: Final = "tls-alpn-01"  # RFC 8737
KINDS: Final = (HTTP, TLS_ALPN)
