"""Records to JSON lines and back. Knows no file and no state."""

from typing import Any, Union

import msgspec

from kimi_code.events import FACTS, SIGNALS, Fact, Signal


class BadRecord(ValueError):
    """A line that is not a record."""


class UnknownFact(Fact, frozen=True, kw_only=True, tag="unknown"):
    """A fact of a newer version, kept as it was."""

    raw: dict[str, Any]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its envelope. `time` is in seconds since 1970; `seq` is the position in the log."""

    seq: int
    time: float
    session: str
    agent: str
    event: Fact | Signal


class _Envelope(msgspec.Struct, kw_only=True):
    type: str
    seq: int
    time: float
    session: str
    agent: str


_TAGS = {kind.__struct_config__.tag: kind for kind in (*FACTS, *SIGNALS)}
_DECODER = msgspec.json.Decoder(Union[tuple(_TAGS.values())])  # noqa: UP007
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ENCODER = msgspec.json.Encoder()


def encode(record: Record) -> bytes:
    """One flat JSON object, no newline."""
    if isinstance(record.event, UnknownFact):
        return _ENCODER.encode(record.event.raw)
    fields = msgspec.to_builtins(record.event)
    head = {"type": fields.pop("type"), "seq": record.seq, "time": record.time}
    return _ENCODER.encode({**head, "session": record.session, "agent": record.agent, **fields})


def decode(line: bytes) -> Record:
    """Raises BadRecord."""
    try:
        envelope = _ENVELOPE.decode(line)
        event = (
            _DECODER.decode(line) if envelope.type in _TAGS else UnknownFact(raw=msgspec.json.decode(line))
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(str(error)) from error
    return Record(
        seq=envelope.seq, time=envelope.time, session=envelope.session, agent=envelope.agent, event=event
    )
