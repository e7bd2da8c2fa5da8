"""Records to JSON lines and back. Knows no file and no state.

A line is `{"type", "seq", "time", "session", "agent", ...fields of the event}`, in this order. `time` is a
number: seconds since 1970, UTC.
"""

from typing import Any, Union, cast

import msgspec

from kimi_code.events import FACTS, SIGNALS, Fact, Signal


class BadRecord(ValueError):
    """A line that is not a record."""


class UnknownFact(Fact, frozen=True, kw_only=True, tag="unknown"):
    """A fact that this version does not know, kept and encoded again as it was.

    `problem` is empty where the type is new, and says what is wrong where a known type has other fields.
    """

    raw: dict[str, Any]
    problem: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its envelope. `time` is in seconds since 1970; `seq` is the position in the log."""

    seq: int
    time: float
    session: str
    agent: str
    event: Fact | Signal


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    time: float
    session: str
    agent: str


class _Envelope(_Place, frozen=True, kw_only=True):
    type: str


_KINDS = {str(kind.__struct_config__.tag): kind for kind in (*FACTS, *SIGNALS)}
_EVENTS = msgspec.json.Decoder(Union[tuple(_KINDS.values())])  # noqa: UP007
_ENVELOPES = msgspec.json.Decoder(_Envelope)
_OBJECTS = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()
# msgspec writes the tag of a struct first: what follows it are the fields.
_HEADS = {kind: b'{"type":"%b"' % tag.encode() for tag, kind in _KINDS.items()}

# Text that is no Unicode, and nesting that a later reader might not be able to follow.
UNENCODABLE = (UnicodeEncodeError, RecursionError)
_DEEPEST = 100


def encode(record: Record) -> bytes:
    """One flat JSON object, no newline. Raises UNENCODABLE, and TypeError for what is not plain data."""
    event = record.event
    place = _Place(seq=record.seq, time=record.time, session=record.session, agent=record.agent)
    if isinstance(event, UnknownFact):
        envelope = msgspec.structs.asdict(place)
        changed = {key: value for key, value in envelope.items() if event.raw.get(key) != value}
        return _ENCODER.encode({**event.raw, **changed})
    head, fields = _HEADS[type(event)], _ENCODER.encode(event)
    if fields.count(b"{") + fields.count(b"[") > _DEEPEST and _nested(msgspec.to_builtins(event), _DEEPEST):
        raise RecursionError
    return b"%b,%b%b" % (head, _ENCODER.encode(place)[1:-1], fields[len(head) :])


def decode(line: bytes) -> Record:
    """Raises BadRecord where the line is not an object with an envelope."""
    try:
        envelope = _ENVELOPES.decode(line)
        event = _event(line, envelope.type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(str(error)) from error
    return Record(
        seq=envelope.seq, time=envelope.time, session=envelope.session, agent=envelope.agent, event=event
    )


def _event(line: bytes, kind: str) -> Fact | Signal:
    if kind not in _KINDS:
        return UnknownFact(raw=_OBJECTS.decode(line))
    try:
        return _EVENTS.decode(line)
    except msgspec.ValidationError as error:
        # Complete JSON of a known type, with fields of another version: a torn write cannot look like this.
        return UnknownFact(raw=_OBJECTS.decode(line), problem=f"{kind}: {error}")


def as_object(record: Record) -> dict[str, Any]:
    """The record as it is on the wire."""
    return _OBJECTS.decode(encode(record))


def plain_data(fact: Fact) -> Fact:
    """The fact without what JSON cannot hold: lone surrogates are replaced, too deep nesting is cut."""
    return _plain(fact, 0)


def _nested(value: Any, room: int) -> bool:
    if isinstance(value, dict):
        value = list(cast(dict[str, Any], value).values())
    if not isinstance(value, list):
        return False
    return room == 0 or any(_nested(each, room - 1) for each in cast(list[Any], value))


def _plain(value: Any, depth: int) -> Any:
    if depth >= _DEEPEST and isinstance(value, dict | list | tuple):
        return "[nested too deeply]"
    if isinstance(value, str):
        return (
            value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value)
        return msgspec.structs.replace(value, **{k: _plain(v, depth + 1) for k, v in fields.items()})
    if isinstance(value, dict):
        pairs = cast(dict[Any, Any], value).items()
        return {_plain(key, depth): _plain(each, depth + 1) for key, each in pairs}
    if isinstance(value, list | tuple):
        return [_plain(each, depth + 1) for each in cast(list[Any], value)]
    return value


_ENVELOPE_SCHEMA: dict[str, Any] = {
    "seq": {"type": "integer", "minimum": 0, "description": "Per agent, one per fact."},
    "time": {"type": "number", "description": "Seconds since 1970, UTC."},
    "session": {"type": "string"},
    "agent": {"type": "string"},
}


def event_schemas() -> dict[str, Any]:
    """One JSON Schema that every line fulfils; `$defs` holds those of the single events, by type."""
    kinds = tuple(_KINDS.values())
    _, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    names = {kind.__name__: tag for tag, kind in _KINDS.items()}
    definitions: dict[str, Any] = {}
    for name, schema in parts.items():
        if name in names:
            fields = schema["properties"]
            schema["properties"] = {"type": fields.pop("type"), **_ENVELOPE_SCHEMA, **fields}
            schema["required"] = [*_ENVELOPE_SCHEMA, *schema["required"]]
        definitions[names.get(name, name)] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of kimi-code",
        "oneOf": [{"$ref": f"#/$defs/{tag}"} for tag in names.values()],
        "$defs": definitions,
    }
