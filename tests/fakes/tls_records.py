"""Records of TLS 1.3 that no peer of Python's can be made to send, by the secret in its key log."""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_HANDSHAKE: Final = 22
_DATA: Final = 23
_SIZE: Final = 48  # bytes of a secret: SHA-384, of TLS_AES_256_GCM_SHA384


class ClientRecords:
    """What a client sends behind its handshake (RFC 8446 sections 5.2, 7.3 and 7.2)."""

    def __init__(self, key_log: Path) -> None:
        (line,) = [line for line in key_log.read_text().splitlines() if "CLIENT_TRAFFIC_SECRET_0" in line]
        self._use(bytes.fromhex(line.split()[2]))

    def data(self, data: bytes) -> bytes:
        """A record with some data, or with none."""
        return self._record(data, _DATA)

    def key_update(self) -> bytes:
        """A record that announces a new key, and asks for one of the peer."""
        record = self._record(b"\x18\0\0\1\1", _HANDSHAKE)
        self._use(_expanded(self._secret, b"traffic upd", _SIZE))
        return record

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = AESGCM(_expanded(secret, b"key", 32))
        self._nonce = int.from_bytes(_expanded(secret, b"iv", 12), "big")
        self._number = 0

    def _record(self, data: bytes, kind: int) -> bytes:
        header = b"\x17\3\3" + (len(data) + 17).to_bytes(2, "big")
        nonce = (self._nonce ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._cipher.encrypt(nonce, data + bytes([kind]), header)


def _expanded(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label, without a context, of up to one block."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return hmac.digest(secret, info + b"\1", hashlib.sha384)[:size]
