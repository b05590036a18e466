"""The WebSocket messages of the case `websocket`: RFC 6455, binary, 1 KiB, a mask of zeros."""

MESSAGE = 1024  # bytes
_PAYLOAD = b"x" * MESSAGE
QUESTION = b"\x82\xfe" + MESSAGE.to_bytes(2) + bytes(4) + _PAYLOAD
ECHO = b"\x82\x7e" + MESSAGE.to_bytes(2) + _PAYLOAD
FRAME = len(QUESTION)
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
