"""The chunked transfer coding (RFC 9112 section 7.1): decoding and re-encoding.

Chunk extensions are limited and dropped; trailers are checked in `trailers`. The body is always forwarded in
the plain form, so that no other parser can read it differently. Clients must follow the grammar exactly; apps
may deviate if their chunk sizes are unambiguous.
"""

import re
from typing import Final

from balancer.errors import BODY_TOO_LARGE, Failure, ProtocolError
from balancer.http.chunk_run import LONGEST, count_equal, payload_of
from balancer.http.trailers import TrailerSection

_SIZE_LINE_LIMIT: Final = 1024  # one chunk's size and extensions, CRLF not counted
_EXTENSIONS_LIMIT: Final = 16 * 1024  # bytes by which extensions may exceed the payload: they carry nothing

# Hex digits only (no sign, no 0x, no white space), at most 15: below 2**60. Leading zeros are cut off.
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_ZEROS_SIZE_LINE: Final = re.compile(b"0?" + _SIZE_LINE.pattern)
_PATIENT_SIZE_LINE: Final = re.compile(rb"0?([0-9A-Fa-f]{1,15})[ \t]*(;[\t\x20-\x7e\x80-\xff]*)?")
# The start of nearly all chunks.
_PLAIN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")

# The cost limit of one `feed`, in steps of about 1 µs: one per chunk, or per _EQUAL_IN_A_STEP equal chunks.
_MOST_STEPS: Final = 128
_EQUAL_IN_A_STEP: Final = 64

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4


class ChunkedDecoder:
    """Decodes the chunked coding of one message body, fed in pieces of any size.

    After each `feed`: `more` means that the data was too much for one turn of the loop, and `feed(b"")` must
    continue in the next turn; `done` means that the body has ended. Then `surplus` is what followed it, and
    `trailers` are the field lines to forward, each with its CRLF (empty if there are none).
    """

    __slots__ = ("_extensions", "_failure", "_left", "_patient", "_payload", "_payload_limit",
                 "_pending", "_section", "_state", "_steps", "_trailers_limit", "done", "more",
                 "surplus", "trailers")  # fmt: skip

    def __init__(
        self, failure: Failure, trailers_limit: int, payload_limit: int = 0, patient: bool = False
    ) -> None:
        """`failure` is the failure that a fault is reported as.

        The limits are in bytes: of the trailer section, and of the payload (0 = none); BODY_TOO_LARGE as soon
        as a chunk announces more. `patient` accepts white space after a chunk size, bare LF for CRLF, and
        trailers that can be repaired as `patience` repairs header fields.
        """
        self._failure = failure
        self._patient = patient
        self._section: TrailerSection | None = None  # if there are trailers
        self._trailers_limit = trailers_limit
        self._payload_limit = payload_limit
        self._payload = 0  # bytes announced so far
        self._state = _SIZE
        self._left = 0
        self._extensions = 0
        self._pending = b""
        self._steps = 0  # of the current `feed`
        self.done = False
        self.more = False
        self.surplus = b""
        self.trailers = b""

    @property
    def pending(self) -> int:
        """Bytes that have been fed and wait to be decoded."""
        return len(self._pending)

    def feed(self, data: bytes) -> bytes:
        """Returns the payload in `data`, joined. Raises ProtocolError at the first invalid byte."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        pieces: list[bytes] = []
        position, size = 0, len(data)
        self._steps = 0
        self.more = False
        while position < size:
            state = self._state
            if state == _DATA:
                end = min(position + self._left, size)
                pieces.append(data[position:end])
                self._left -= end - position
                position = end
                if self._left == 0:
                    self._state = _DATA_END
            elif state == _DATA_END:
                if data[position : position + 2] != b"\r\n":
                    if self._patient and data[position] == 0x0A:
                        position += 1
                        self._state = _SIZE
                        continue
                    if size - position == 1 and data[position] == 0x0D:
                        self._pending = data[position:]
                        break
                    raise self._fault("chunk data is not followed by CRLF")
                position += 2
                self._state = _SIZE
            elif state == _SIZE:
                if self._steps >= _MOST_STEPS:
                    self._pending = data[position:]
                    self.more = True
                    break
                self._steps += 1
                end = self._whole_chunks(data, position, pieces)
                if end:
                    position = end
                    continue
                end = data.find(b"\n", position, position + _SIZE_LINE_LIMIT + 2)
                if end < 0:
                    self._hold_line(data[position:], _SIZE_LINE_LIMIT, "the chunk size line is too long")
                    break
                self._begin_chunk(data[position:end])
                position = end + 1
            elif state == _TRAILERS:
                end = data.find(b"\n", position, position + self._trailers_limit + 2)
                if end < 0:
                    limit = self._trailers_limit - (0 if self._section is None else self._section.size)
                    self._hold_line(data[position:], limit, "the trailer section is too large")
                    break
                self._end_trailer(data[position : end + 1])
                position = end + 1
            else:
                break
        if self._state == _DONE:
            self.done = True
            self.surplus = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _whole_chunks(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        """Take the chunk at `position` and equal ones after it, if it is plain and complete. Returns where
        they end, or 0."""
        match = _PLAIN_SIZE.match(data, position)
        if match is None:
            return 0
        length = int(match[1], 16)
        start = match.end()
        end = start + length
        if not length or data[end : end + 2] != b"\r\n":
            return 0
        self._announced(length)
        pieces.append(data[start:end])
        end += 2
        size_line = match[0]
        if length > LONGEST or not data.startswith(size_line, end):
            return end
        count = count_equal(data, end, size_line, length)
        if self._payload_limit:  # the chunk that exceeds it is then reported on its own
            count = min(count, (self._payload_limit - self._payload) // length)
        if count:
            self._announced(count * length)
            self._steps += count // _EQUAL_IN_A_STEP
            pieces.append(payload_of(data, end, size_line, length, count))
            end += count * (len(size_line) + length + 2)
        return end

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line, 0, len(line) - 1) if line.endswith(b"\r") else None
        if match is None:
            match = self._unusual_size(line)
        if match[2]:
            self._extensions += len(match[2])
            if self._extensions > _EXTENSIONS_LIMIT:
                raise self._fault("the chunk extensions are too large")
        self._left = int(match[1], 16)
        self._announced(self._left)
        self._state = _DATA if self._left else _TRAILERS

    def _announced(self, size: int) -> None:
        """Count `size` bytes of payload that a chunk announces."""
        self._payload += size
        if self._payload_limit and self._payload > self._payload_limit:
            raise body_too_large(self._payload_limit)
        if self._extensions:
            self._extensions = max(0, self._extensions - size)

    def _unusual_size(self, line: bytes) -> re.Match[bytes]:
        """Match a size line with many leading zeros, or one that is accepted only if patient."""
        match = None
        if line.endswith(b"\r") or self._patient:
            line = line.removesuffix(b"\r")
            zeros = len(line) - len(line.lstrip(b"0"))
            match = (_PATIENT_SIZE_LINE if self._patient else _ZEROS_SIZE_LINE).fullmatch(
                line, max(zeros - 1, 0)
            )
        if match is None:
            raise self._fault("a chunk size line is malformed")
        return match

    def _end_trailer(self, line: bytes) -> None:
        section = self._section
        if section is None:
            if line == b"\r\n":
                self._state = _DONE
                return
            section = self._section = TrailerSection(self._failure, self._trailers_limit, self._patient)
        if section.take(line):
            self._state = _DONE
            self.trailers = section.kept

    def _hold_line(self, line: bytes, limit: int, detail: str) -> None:
        """Keep an unfinished line for the next `feed`; raise now if it is already invalid."""
        if len(line) > limit + 1:
            raise self._fault(detail)
        if b"\r" in line[:-1] and not (self._patient and self._state == _TRAILERS):
            raise self._fault("a bare CR")
        self._pending = line

    def _fault(self, detail: str) -> ProtocolError:
        return ProtocolError(self._failure, detail)


def body_too_large(limit: int) -> ProtocolError:
    """The error for a body of more than `limit` bytes."""
    return ProtocolError(BODY_TOO_LARGE, f"more than {limit} bytes of body")


def encode_chunk(data: bytes) -> bytes:
    """`data` as one chunk. It must not be empty: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_end(trailers: bytes) -> bytes:
    """The last chunk and the raw trailer lines, each of which ends in CRLF."""
    return b"0\r\n%b\r\n" % trailers


def encode_piece(data: bytes, last: bool, trailers: bytes) -> list[bytes]:
    """The next piece of a body, which may be empty, plus the end of the body if it is the `last`."""
    pieces = [encode_chunk(data)] if data else []
    if last:
        pieces.append(encode_end(trailers))
    return pieces
