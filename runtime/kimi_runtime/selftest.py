"""A self-test of tool calls, after the manner of K2-Vendor-Verifier: schemas of many shapes, and what is
right for each. Knows no server and no model.

Two questions: does an answer end as it must (`tool_calls` where a call is required, and not where none may
be), and do the arguments satisfy their schema?
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

Choice = Literal["required", "named", "auto", "none"]
Schema = dict[str, Any]

_DEEPEST = 3
_NAMES = (
    "path",
    "count",
    "mode",
    "query",
    "tags",
    "limit",
    "when",
    "options",
    "ratio",
    "owner",
    "note",
    "id",
)
_WORDS = ("red", "green", "blue", "north", "south", "fast", "slow", "on", "off", "näh", "a b", "x/y")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One tool with its schema, and what the user asks for."""

    name: str
    schema: Schema
    prompt: str

    @property
    def tool(self) -> dict[str, Any]:
        about = {"name": self.name, "description": f"Does job {self.name}.", "parameters": self.schema}
        return {"type": "function", "function": about}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: how it was asked for, how it ended, and the calls in it as (name, text of arguments)."""

    case: str
    choice: Choice
    finish: str
    calls: tuple[tuple[str, str], ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`f1`: of tool calls where a call was required or forbidden. `accuracy`: valid of all `calls`; an answer
    that had to be a call and is none counts as a call that is not valid. `wrong`: a sentence for each that
    is."""

    schemas: int
    calls: int
    valid: int
    accuracy: float
    f1: float
    required: tuple[int, int]
    none: tuple[int, int]
    auto: tuple[int, int]
    wrong: tuple[str, ...]


def cases(count: int, seed: int = 1) -> list[Case]:
    """`count` tools of various shapes, the same for the same seed."""
    dice = random.Random(seed)
    made: list[Case] = []
    for number in range(count):
        name = f"tool_{number}"
        schema = _object(dice, 0, _SHAPES[number % len(_SHAPES)])
        made.append(
            Case(name=name, schema=schema, prompt=f"Call {name} once, with arguments that you make up.")
        )
    return made


def report(tried: Sequence[Case], outcomes: Sequence[Outcome]) -> Report:
    schemas = {case.name: case.schema for case in tried}
    wrong: list[str] = []
    calls = valid = 0
    for outcome in outcomes:
        found = outcome.calls
        for name, arguments in found:
            calls += 1
            if fault := _fault(name, arguments, schemas):
                wrong.append(f"{outcome.case} ({outcome.choice}): {fault}")
            else:
                valid += 1
        if not found and outcome.choice in ("required", "named"):
            calls += 1
            wrong.append(f"{outcome.case} ({outcome.choice}): no call, ended by {outcome.finish}")
    required = _agreement(outcomes, ("required", "named"), called=True)
    none = _agreement(outcomes, ("none",), called=False)
    true, missed, false = required[0], required[1] - required[0], none[1] - none[0]
    return Report(
        schemas=len({outcome.case for outcome in outcomes}),
        calls=calls,
        valid=valid,
        accuracy=valid / calls if calls else 0.0,
        f1=2 * true / max(1, 2 * true + missed + false),
        required=required,
        none=none,
        auto=_agreement(outcomes, ("auto",), called=True),
        wrong=tuple(wrong),
    )


def _agreement(outcomes: Sequence[Outcome], choices: tuple[Choice, ...], *, called: bool) -> tuple[int, int]:
    """How many of those asked for in this way ended with calls (or without), and how many there are."""
    chosen = [outcome for outcome in outcomes if outcome.choice in choices]
    return sum((outcome.finish == "tool_calls") == called for outcome in chosen), len(chosen)


def _fault(name: str, arguments: str, schemas: Mapping[str, Schema]) -> str:
    if name not in schemas:
        return f"there is no tool {name!r}"
    try:
        value = msgspec.json.decode(arguments)
    except msgspec.DecodeError as error:
        return f"the arguments are no JSON: {error}"
    return "" if is_valid(value, schemas[name]) else f"against the schema: {arguments[:200]}"


# ---------------------------------------------------------------- schemas


def _object(dice: random.Random, depth: int, first: Callable[[random.Random, int], Schema]) -> Schema:
    """An object with one argument of the given shape and a few of any."""
    names = dice.sample(_NAMES, dice.randint(1, 4))
    properties = {names[0]: first(dice, depth + 1)}
    for name in names[1:]:
        properties[name] = _any(dice, depth + 1)
    required = [name for name in names if name == names[0] or dice.random() < 0.6]
    schema: Schema = {"type": "object", "properties": properties, "required": required}
    if dice.random() < 0.5:
        schema["additionalProperties"] = False
    if depth == 0 and '"$ref"' in msgspec.json.encode(properties).decode():
        point = {"type": "object", "properties": {"x": {"type": "integer", "minimum": -9, "maximum": 9}}}
        schema["$defs"] = {"point": {**point, "required": ["x"], "additionalProperties": False}}
    return schema


def _any(dice: random.Random, depth: int) -> Schema:
    shapes = _SHAPES if depth < _DEEPEST else _LEAVES
    return dice.choice(shapes)(dice, depth)


def _string(dice: random.Random, depth: int) -> Schema:
    del depth
    return {"type": "string", "minLength": dice.randint(0, 2), "maxLength": dice.randint(3, 24)}


def _pattern(dice: random.Random, depth: int) -> Schema:
    del depth
    patterns = ("^[a-z]{2,8}$", "^[A-Z]{3}-[0-9]{2,4}$", "^#[0-9a-f]{6}$", "^(ab|cd){1,3}$")
    return {"type": "string", "pattern": dice.choice(patterns)}


def _choice(dice: random.Random, depth: int) -> Schema:
    del depth
    return {"type": "string", "enum": dice.sample(_WORDS, dice.randint(1, 6))}


def _mixed_choice(dice: random.Random, depth: int) -> Schema:
    del depth
    return {"enum": dice.sample([1, 2.5, True, None, "auto", "none!"], 4)}


def _constant(dice: random.Random, depth: int) -> Schema:
    del depth
    return {"const": dice.choice(["v1", 7, False])}


def _integer(dice: random.Random, depth: int) -> Schema:
    del depth
    low = dice.randint(-50, 50)
    return {"type": "integer", "minimum": low, "maximum": low + dice.choice([0, 5, 500, 10**6])}


def _number(dice: random.Random, depth: int) -> Schema:
    del depth
    return {"type": "number", "minimum": 0, "maximum": dice.choice([1, 10, 250])}


def _boolean(dice: random.Random, depth: int) -> Schema:
    del dice, depth
    return {"type": "boolean"}


def _nullable(dice: random.Random, depth: int) -> Schema:
    del depth
    return {"type": [dice.choice(["integer", "boolean"]), "null"], "minimum": 0, "maximum": 99}


def _list(dice: random.Random, depth: int) -> Schema:
    low = dice.randint(0, 2)
    items = _any(dice, depth + 1) if depth < _DEEPEST else _integer(dice, depth)
    return {"type": "array", "items": items, "minItems": low, "maxItems": low + 2}


def _nested(dice: random.Random, depth: int) -> Schema:
    return _object(dice, depth, dice.choice(_LEAVES))


def _either(dice: random.Random, depth: int) -> Schema:
    return {"anyOf": [_choice(dice, depth), _integer(dice, depth), {"type": "null"}]}


def _reference(dice: random.Random, depth: int) -> Schema:
    del dice, depth
    return {"$ref": "#/$defs/point"}


_LEAVES = (_string, _pattern, _choice, _mixed_choice, _constant, _integer, _number, _boolean, _nullable)
_SHAPES = (*_LEAVES, _list, _nested, _either, _reference)


# ---------------------------------------------------------------- validity


def is_valid(value: Any, schema: Schema, root: Schema | None = None) -> bool:
    """Whether a value satisfies a schema of the kind made here (not every keyword of JSON Schema)."""
    root = schema if root is None else root
    if reference := schema.get("$ref"):
        return is_valid(value, root["$defs"][str(reference).rpartition("/")[2]], root)
    if "const" in schema and not _same(value, schema["const"]):
        return False
    if "enum" in schema and not any(_same(value, choice) for choice in schema["enum"]):
        return False
    if "anyOf" in schema and not any(is_valid(value, way, root) for way in schema["anyOf"]):
        return False
    types: Any = schema.get("type", [])
    if types and not any(_is(value, name) for name in ([types] if isinstance(types, str) else types)):
        return False
    return _within(value, schema, root)


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _is(value: Any, name: str) -> bool:
    match name:
        case "integer":
            return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "null":
            return value is None
        case _:
            return isinstance(value, {"string": str, "boolean": bool, "array": list, "object": dict}[name])


def _within(value: Any, schema: Schema, root: Schema) -> bool:
    """Whether sizes and parts are as they should be."""
    if isinstance(value, str):
        fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return fits and ("pattern" not in schema or re.search(schema["pattern"], value) is not None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if isinstance(value, list):
        items = cast(list[Any], value)
        fits = schema.get("minItems", 0) <= len(items) <= schema.get("maxItems", len(items))
        return fits and all(is_valid(item, schema.get("items", {}), root) for item in items)
    if isinstance(value, dict):
        return _fields_fit(cast(dict[str, Any], value), schema, root)
    return True


def _fields_fit(fields: dict[str, Any], schema: Schema, root: Schema) -> bool:
    known: dict[str, Schema] = schema.get("properties", {})
    if any(name not in fields for name in schema.get("required", [])):
        return False
    if schema.get("additionalProperties") is False and not fields.keys() <= known.keys():
        return False
    return all(is_valid(fields[name], known[name], root) for name in fields.keys() & known.keys())
