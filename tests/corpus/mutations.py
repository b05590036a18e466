"""Corpus cases damaged at random: bytes removed, inserted or doubled."""

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.corpus.cases import Case


@st.composite
def mutations(draw: st.DrawFn, cases: Sequence[Case], pieces: Sequence[bytes]) -> tuple[Case, bytes, int]:
    """A case, its damaged bytes (`pieces` may be inserted), and where to split them."""
    case = draw(st.sampled_from(cases))
    sent = case.sent
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(sent)))
        end = draw(st.integers(begin, min(begin + 20, len(sent))))
        put = draw(st.sampled_from([b"", sent[begin:end] * 2, *pieces]))
        sent = sent[:begin] + put + sent[end:]
    return case, sent, draw(st.integers(0, len(sent)))
