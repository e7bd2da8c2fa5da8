"""Calls under a grammar: always well-formed, whatever the logits say; hostile schemas end quickly."""

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from jsonschema import validate

from kimi_runtime.constraint import AnswerConstraint
from kimi_runtime.dialects import CallPart
from kimi_runtime.dialects.hermes import Hermes
from kimi_runtime.grammar import CallGrammars, Tool, bounded
from kimi_runtime.vocabulary import Vocabulary

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string", "maxLength": 12},
        "n_lines": {"type": "integer", "minimum": 0, "maximum": 9999},
        "mode": {"enum": ["a", "b"]},
    },
    "required": ["path", "mode"],
}
READ = Tool(name="Read", parameters=SCHEMA)
STOP = Tool(name="Stop", parameters={"type": "object", "properties": {}})


@pytest.fixture(scope="module")
def grammars(vocabulary: Vocabulary) -> CallGrammars:
    return CallGrammars(vocabulary, Hermes())


def write(constraint: AnswerConstraint, vocabulary: Vocabulary, seed: int, opened: bool) -> tuple[str, int]:
    """The text of a call that random logits write under the constraint, and how many tokens were forced."""
    generator = np.random.default_rng(seed)
    tokens: list[int] = []
    forced = 0

    def go_on(token: int) -> None:
        nonlocal forced
        constraint.accept(token)
        tokens.append(token)
        for following in constraint.forced():
            if vocabulary.ends(following):
                return
            constraint.accept(following)
            tokens.append(following)
            forced += 1

    if opened:
        go_on(vocabulary.encode("<tool_call>")[0])
    while constraint.active and len(tokens) < 400:
        row = generator.standard_normal(vocabulary.size).astype(np.float32)
        constraint.apply(row)
        if not constraint.active:
            break
        if vocabulary.ends(token := int(row.argmax())):
            break
        go_on(token)
    return vocabulary.decode(tokens), forced


@pytest.mark.parametrize("from_start", [False, True])
def test_random_logits_write_valid_calls(
    grammars: CallGrammars, vocabulary: Vocabulary, from_start: bool
) -> None:
    names: set[str] = set()
    for seed in range(8):
        constraint = grammars.constraint([READ, STOP], from_start=from_start, many=False)
        text, forced = write(constraint, vocabulary, seed, opened=not from_start)
        assert text.startswith("<tool_call>\n{")
        assert text.endswith("}\n</tool_call>")
        assert forced > 10
        reader = Hermes().reader({"Read": SCHEMA, "Stop": {}})
        (call,) = [*reader.feed(text), *reader.close()]
        assert isinstance(call, CallPart)
        validate(json.loads(call.arguments), SCHEMA if call.name == "Read" else STOP.parameters)
        names.add(call.name)
    assert names <= {"Read", "Stop"}


def test_free_text_is_not_touched_before_a_call_and_after_it(
    grammars: CallGrammars, vocabulary: Vocabulary
) -> None:
    constraint = grammars.constraint([READ], from_start=False)
    row = np.arange(vocabulary.size, dtype=np.float32)
    for token in vocabulary.encode("Some {text} <tool_c"):
        constraint.accept(token)
        constraint.apply(row)
        assert constraint.forced() == []
    assert np.isfinite(row).all()
    write(constraint, vocabulary, 1, opened=True)
    constraint.apply(row)
    assert np.isfinite(row).all()
    constraint.accept(vocabulary.encode("<tool_call>")[0])
    assert constraint.active


def recursive() -> dict[str, Any]:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "v": {"type": "integer"}}}
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema, "b": schema}}
    return schema


HOSTILE: dict[str, dict[str, Any]] = {
    "recursive": recursive(),
    "endless reference": {"$ref": "#"},
    "foreign reference": {"type": "object", "properties": {"a": {"$ref": "https://example.com/x.json"}}},
    "huge enum": {"type": "object", "properties": {"a": {"enum": [f"value {i}" for i in range(100_000)]}}},
    "deep": deep(11),
    "wide": {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(50_000)}},
    "evil pattern": {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "((a{1,999}){1,999}){1,999}"}},
    },
    "huge length": {"type": "object", "properties": {"a": {"type": "string", "minLength": 10**9}}},
    "nonsense": {"type": 7, "properties": "x"},
    "impossible": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    "a name for a key": {"type": "object", "properties": {'"%json {': {"type": "string"}}},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
async def test_j09_a_hostile_schema_falls_back(
    grammars: CallGrammars, vocabulary: Vocabulary, schema: dict[str, Any]
) -> None:
    async with asyncio.timeout(30):
        tools = [Tool(name="Odd", parameters=schema), STOP]
        constraint = await asyncio.to_thread(grammars.constraint, tools, from_start=True)
    assert constraint.active
    row = np.zeros(vocabulary.size, dtype=np.float32)
    constraint.apply(row)
    assert 0 < np.isfinite(row).sum() < vocabulary.size


def test_a_large_schema_becomes_any_object() -> None:
    assert bounded(HOSTILE["huge enum"])["type"] == "object"
    assert "properties" not in bounded(HOSTILE["huge enum"])
    assert bounded(SCHEMA)["properties"] == SCHEMA["properties"]


def test_odd_tool_names_are_quoted(grammars: CallGrammars, vocabulary: Vocabulary) -> None:
    tool = Tool(name='a"b\\c\n', parameters={"type": "object", "properties": {}})
    text, _ = write(grammars.constraint([tool], from_start=True, many=False), vocabulary, 1, opened=False)
    body = text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    assert json.loads(body)["name"] == tool.name
