"""The chunked coding: the decoder is strict, bounded, and indifferent to how bytes arrive."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.errors import MALFORMED_REQUEST, MALFORMED_RESPONSE, ProtocolError
from balancer.http.chunked import ChunkedDecoder, encode_chunk, encode_end


def feed_all(chunks: ChunkedDecoder, pieces: Iterable[bytes]) -> bytes:
    return b"".join([chunks.feed(piece) for piece in pieces])


def decoder(trailers_limit: int = 1000) -> ChunkedDecoder:
    return ChunkedDecoder(MALFORMED_REQUEST, trailers_limit)


@pytest.mark.parametrize(
    ("sent", "payload", "trailers", "surplus"),
    [
        pytest.param(b"0\r\n\r\n", b"", b"", b"", id="empty"),
        pytest.param(b"3\r\nabc\r\n0\r\n\r\n", b"abc", b"", b"", id="one"),
        pytest.param(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc", b"", b"", id="two"),
        pytest.param(b"2;x\r\n\r\n\r\n0;y=z\r\n\r\n", b"\r\n", b"", b"", id="extensions"),
        pytest.param(b"0\r\nA: 1\r\nb:\r\n\r\n", b"", b"A: 1\r\nb:\r\n", b"", id="trailers"),
        pytest.param(b"1\r\na\r\n0\r\n\r\nGET /", b"a", b"", b"GET /", id="surplus"),
        pytest.param(b"0\r\nA: 1\r\n\r\n\r\n", b"", b"A: 1\r\n", b"\r\n", id="surplus-after-trailers"),
    ],
)
def test_valid_bodies_are_decoded(sent: bytes, payload: bytes, trailers: bytes, surplus: bytes) -> None:
    chunks = decoder()
    assert chunks.feed(sent) == payload
    assert (chunks.done, chunks.trailers, chunks.surplus) == (True, trailers, surplus)


@given(
    payloads=st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    trailers=st.sampled_from([b"", b"X-Sum: 1\r\n", b"A:\r\nB: \xff\r\n"]),
    surplus=st.binary(max_size=8),
    cuts=st.lists(st.integers(0, 300), max_size=10),
)
def test_encoded_bodies_are_decoded_in_any_pieces(
    payloads: list[bytes], trailers: bytes, surplus: bytes, cuts: list[int]
) -> None:
    sent = b"".join(map(encode_chunk, payloads)) + encode_end(trailers)
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    chunks = decoder()
    got = b""
    for begin, end in pairwise(places):
        got += chunks.feed(sent[begin:end] + (surplus if end == len(sent) else b""))
    assert (got, chunks.trailers, chunks.surplus) == (b"".join(payloads), trailers, surplus)


@given(st.binary(max_size=60))
def test_noise_is_never_decoded_to_a_body_of_another_size(noise: bytes) -> None:
    chunks = decoder()
    try:
        payload = chunks.feed(noise)
    except ProtocolError:
        return
    assert len(payload) + len(chunks.surplus) <= len(noise)


@pytest.mark.parametrize(
    "sent",
    [b"{}", b" 1", b"1 ", b"1\t", b"+1", b"-1", b"0x1", b"1_0", b"", b";x", b"g", b"\xb2", b"1\x00", b"1\x0b",
     b"1\rx", b"1;\x7f", b"1;\r", b"1" * 16, b"0" * 20 + b"1" * 16],
)  # fmt: skip
def test_invalid_size_lines_are_refused(sent: bytes) -> None:
    with pytest.raises(ProtocolError):
        decoder().feed(sent + b"\r\n")


@pytest.mark.parametrize("sent", [b"1 ", b"1\t", b"1 \t;x", b"0" * 1000 + b"1", b"00001 "])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_patient_decoder_accepts_padded_size_lines(sent: bytes, end: bytes) -> None:
    chunks = ChunkedDecoder(MALFORMED_RESPONSE, 1000, patient=True)
    assert feed_all(chunks, [sent + end, b"a" + end, b"000 " + end, end]) == b"a"
    assert chunks.done


@pytest.mark.parametrize(
    "sent",
    [b"{}", b" 1", b"+1", b"-1", b"0x1", b"1_0", b"", b";x", b"g", b"1\x00", b"1\x0b", b"1\rx", b"1;\x7f",
     b"1 1", b"0 1", b"1\r", b" ", b"0" * 20 + b"1" * 16],
)  # fmt: skip
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_patient_decoder_still_refuses_broken_size_lines(sent: bytes, end: bytes) -> None:
    if sent == b"1\r" and end == b"\n":
        return  # that is CRLF
    with pytest.raises(ProtocolError):
        ChunkedDecoder(MALFORMED_RESPONSE, 1000, patient=True).feed(sent + end)


@given(st.binary(max_size=80), st.integers(0, 80))
def test_a_patient_decoder_decides_alike_however_bytes_arrive(noise: bytes, cut: int) -> None:
    sent = b"1\na\r\n0\r\n" + noise
    outcomes = []
    for pieces in ([sent], [sent[:cut], sent[cut:]], [sent[i : i + 1] for i in range(len(sent))]):
        chunks = ChunkedDecoder(MALFORMED_RESPONSE, 1000, patient=True)
        surplus = b""
        try:
            for piece in pieces:
                surplus += piece if chunks.done else b""
                if not chunks.done:
                    chunks.feed(piece)
            outcomes.append((chunks.done, chunks.trailers, chunks.surplus + surplus))
        except ProtocolError:
            outcomes.append((False, b"", b"malformed"))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize(
    ("limit", "accepted"), [pytest.param(6, True, id="at"), pytest.param(5, False, id="above")]
)
@pytest.mark.parametrize("piece", [1, 100], ids=["bytes", "whole"])
def test_trailers_are_bounded_in_total(limit: int, accepted: bool, piece: int) -> None:
    chunks = decoder(trailers_limit=limit * 2)
    sent = b"0\r\n" + b"A: 1\r\n" * 2 + b"\r\n"
    pieces = [sent[i : i + piece] for i in range(0, len(sent), piece)]
    if accepted:
        feed_all(chunks, pieces)
        assert chunks.done
        return
    with pytest.raises(ProtocolError):
        feed_all(chunks, pieces)


@pytest.mark.parametrize("sent", [b"5" + b";" * 2000, b"5;a\rb", b"0\r\nX: " + b"y" * 2000])
def test_an_endless_line_is_refused_before_its_end(sent: bytes) -> None:
    with pytest.raises(ProtocolError):
        feed_all(decoder(), (sent[i : i + 1] for i in range(len(sent))))


def test_extensions_are_bounded_over_the_whole_body() -> None:
    chunks = decoder()
    chunk = b"1;" + b"x" * 999 + b"\r\nz\r\n"
    assert feed_all(chunks, [chunk] * 16) == b"z" * 16
    with pytest.raises(ProtocolError):
        chunks.feed(chunk)


def test_a_large_chunk_is_passed_on_as_it_arrives() -> None:
    chunks = decoder()
    assert chunks.feed(b"fffffffffffffff\r\nabc") == b"abc"
    assert chunks.feed(b"x" * 70_000) == b"x" * 70_000
    assert not chunks.done


@pytest.mark.parametrize("limit", [0, 20])
def test_among_equal_chunks_the_one_beyond_the_limit_is_refused(limit: int) -> None:
    decoder = ChunkedDecoder(MALFORMED_REQUEST, 1000, payload_limit=limit)
    assert decoder.feed(b"2\r\nab\r\n" * 10) == b"ab" * 10
    if limit:
        with pytest.raises(ProtocolError, match="more than 20 bytes"):
            decoder.feed(b"2\r\nab\r\n" * 10)
    else:
        assert decoder.feed(b"2\r\nab\r\n" * 10) == b"ab" * 10


@pytest.mark.parametrize("sizes", [[1], [1, 2, 3], [64], [1000, 1], [3000]], ids=str)
def test_work_beyond_one_turn_continues_in_the_next(sizes: list[int]) -> None:
    payloads = [bytes([97 + number % 26]) * size for number in range(3000) for size in sizes]
    data = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in payloads) + b"0\r\nX: 1\r\n\r\nmore"
    decoder = ChunkedDecoder(MALFORMED_REQUEST, 1000)
    pieces = [decoder.feed(data)]
    turns = 1
    while decoder.more:
        pieces.append(decoder.feed(b""))
        turns += 1
    assert b"".join(pieces) == b"".join(payloads)
    assert (decoder.done, decoder.trailers, decoder.surplus) == (True, b"X: 1\r\n", b"more")
    assert turns <= 2 + len(payloads) // 125
    assert turns > 1 or len(sizes) == 1
