"""Records and lines: every event goes both ways, what is not known is kept, the schemas tell the truth."""

import json

import jsonschema
import msgspec
import pytest

from kimi_code.events import (
    FACTS,
    SIGNALS,
    AssistantMessage,
    Call,
    CallFinished,
    CallRequested,
    Fact,
    Signal,
    UserMessage,
)
from kimi_code.session.codec import (
    UNENCODABLE,
    BadRecord,
    Record,
    UnknownFact,
    as_object,
    decode,
    encode,
    event_schemas,
    plain_data,
)

KINDS = (*FACTS, *SIGNALS)
SAMPLES = {
    str: "text – ü \u2028 \x1b[31m \x00",
    int: 7,
    float: 1.5,
    bool: True,
}


def _record(event: Fact | Signal, seq: int = 3) -> Record:
    return Record(seq=seq, time=1795603200.25, session="s1", agent="main", event=event)


def _example(kind: type[Fact] | type[Signal]) -> Fact | Signal:
    """An event with a value in every required field."""
    values = {}
    for field in msgspec.structs.fields(kind):
        if not field.required:
            continue
        origin = getattr(field.type, "__origin__", field.type)
        literal = getattr(field.type, "__args__", (None,))[0]
        values[field.name] = SAMPLES.get(origin, literal)
        if origin in (list, dict):
            values[field.name] = origin()
        elif "None" in str(field.type):
            values[field.name] = None
    return msgspec.convert({"type": kind.__struct_config__.tag, **values}, kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_goes_to_a_line_and_back_and_fits_its_schema(kind: type[Fact] | type[Signal]) -> None:
    record = _record(_example(kind))
    line = encode(record)
    assert b"\n" not in line
    assert decode(line) == record
    schema = event_schemas()
    jsonschema.validate(json.loads(line), schema)
    own = {**schema["$defs"][kind.__struct_config__.tag], "$defs": schema["$defs"]}
    jsonschema.validate(json.loads(line), own)


def test_the_envelope_comes_first_and_in_order() -> None:
    line = encode(_record(UserMessage(text="hi")))
    assert list(json.loads(line)) == [
        "type", "seq", "time", "session", "agent", "text", "attachments", "origin",
    ]  # fmt: skip


def test_no_event_has_a_field_that_the_envelope_has() -> None:
    for kind in KINDS:
        assert not set(kind.__struct_fields__) & {"type", "seq", "time", "session", "agent"}, kind


def test_a_schema_refuses_an_event_without_its_envelope() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"type": "turn.started", "turn": 1}, event_schemas())


def test_m13_an_unknown_type_is_kept_as_it_was() -> None:
    line = b'{"type":"dream.started","seq":4,"time":12,"session":"s","agent":"main","depth":[1,{"a":null}]}'
    record = decode(line)
    assert isinstance(record.event, UnknownFact)
    assert (record.seq, record.event.raw["depth"], record.event.problem) == (4, [1, {"a": None}], "")
    assert encode(record) == line


def test_an_unknown_fact_in_another_log_gets_the_envelope_of_that() -> None:
    line = b'{"type":"dream.started","seq":4,"time":12,"session":"s","agent":"main","depth":1}'
    moved = msgspec.structs.replace(decode(line), seq=9, session="other")
    assert json.loads(encode(moved)) == {**json.loads(line), "seq": 9, "session": "other"}


def test_m13_unknown_fields_are_tolerated() -> None:
    line = b'{"type":"turn.started","seq":0,"time":1.0,"session":"s","agent":"main","turn":2,"mood":"good"}'
    assert decode(line).event == decode(line.replace(b',"mood":"good"', b"")).event


def test_m13_a_known_type_with_fields_of_another_version_is_kept_and_says_so() -> None:
    line = b'{"type":"turn.ended","seq":0,"time":1.0,"session":"s","agent":"main","turn":2,"reason":"bored"}'
    record = decode(line)
    assert isinstance(record.event, UnknownFact)
    assert "turn.ended" in record.event.problem
    assert encode(record) == line


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"null",
        b"[1]",
        b"\x00\x00\x00",
        b'{"type":"turn.started"}',
        b'{"type":"turn.started","seq":"0","time":1.0,"session":"s","agent":"main","turn":2}',
        b'{"type":"turn.started","seq":0,"time":1.0,"session":"s","agent":"main","turn":2',
        b'{"type":"turn.started","seq":0,"time":1.0,"session":"s","agent":"main","turn":2}}',
        b'{"type":"error","seq":0,"time":1.0,"session":"s","agent":"main","code":"\xff","message":""}',
        b"[" * 100_000,
        b'{"type":"x","seq":0,"time":1.0,"session":"s","agent":"m","a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_is_no_record_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(BadRecord):
        decode(line)


def test_every_beginning_of_a_line_is_no_record() -> None:
    line = encode(_record(CallFinished(id="c", name="Bash", status="ok", content="ü {}", details={"a": [1]})))
    for end in range(len(line)):
        with pytest.raises(BadRecord):
            decode(line[:end])


def test_what_json_cannot_hold_is_replaced() -> None:
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    arguments = {"path": "a\ud83d.py", "whole": "\U0001f600", "deep": deep}
    facts = [
        CallRequested(id="c", name="Read", arguments=arguments),
        AssistantMessage(text="\udc80", calls=[Call(id="c", name="Read", arguments=arguments)]),
    ]
    for fact in facts:
        with pytest.raises(UNENCODABLE):
            encode(_record(fact))
        record = decode(encode(_record(plain_data(fact))))
        assert type(record.event) is type(fact)
        assert "\ud83d" not in str(record.event)
        assert "\U0001f600" in str(record.event)
        assert "nested too deeply" in str(record.event)


def test_plain_facts_come_out_of_plain_data_as_they_went_in() -> None:
    fact = CallFinished(id="c", name="B", status="ok", content="ü", details={"a": [1, None, {"b": "c"}]})
    assert plain_data(fact) == fact


def test_as_object_is_the_line() -> None:
    record = _record(UserMessage(text="hi"))
    assert as_object(record) == json.loads(encode(record))
