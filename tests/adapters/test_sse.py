"""Server-sent events, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_code.adapters.sse import EventDecoder
from kimi_code.errors import Malformed

STREAM = (
    b'\xef\xbb\xbf: hello\n\ndata: {"a": 1}\n\nevent: x\nid: 3\n'
    b'data:{"b":\ndata: 2}\n\nretry: 1\n\ndata: [DONE]\n\n'
)
EVENTS = [b'{"a": 1}', b'{"b":\n2}', b"[DONE]"]


def decode(*pieces: bytes) -> list[bytes]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_cut_at_every_byte(end: bytes) -> None:
    stream = STREAM.replace(b"\n", end)
    events = [event.replace(end, b"\n") for event in EVENTS]
    assert decode(stream) == events
    assert decode(*(stream[at : at + 1] for at in range(len(stream)))) == events
    for at in range(len(stream)):
        assert decode(stream[:at], stream[at:]) == events


def test_half_an_event_is_none() -> None:
    assert decode(b"data: 1\n\ndata: 2\n") == [b"1"]


def test_a_mark_in_the_middle_is_data() -> None:
    assert decode(b"data: 1\n\ndata: \xef\xbb\xbf2\n\n") == [b"1", b"\xef\xbb\xbf2"]


@pytest.mark.parametrize("line", [b"data: " + b"x" * 200, b"data: x\n" * 40, b": " + b"x" * 200])
def test_an_event_has_a_bound(line: bytes) -> None:
    decoder = EventDecoder(max_event=100)
    pieces = (line[at : at + 10] for at in range(0, len(line), 10))
    with pytest.raises(Malformed):
        list(map(decoder.feed, pieces))


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_p12_any_bytes_cut_in_any_way(pieces: list[bytes]) -> None:
    """No exception, and the cuts do not matter."""
    assert decode(*pieces) == decode(b"".join(pieces))


@given(
    st.lists(
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), max_size=8
    ),
    st.integers(1, 9),
)
def test_p12_what_was_sent_is_what_comes(texts: list[str], size: int) -> None:
    stream = b"".join(b"data: %b\n\n" % text.encode() for text in texts)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert decode(*pieces) == [text.encode() for text in texts]
