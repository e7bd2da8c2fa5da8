"""Arguments as families with tags write them: a string as it is, everything else as JSON. Knows no tags.

Which of both a text is follows from the argument's schema, so the reader and the grammar share it.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from kimi_runtime.dialects.rules import Rules, any_of, quoted
from kimi_runtime.dialects.texts import decode

Schema = Mapping[str, Any]

_ALL = frozenset({"string", "number", "integer", "boolean", "null", "array", "object"})
_STRING = frozenset({"string"})
_DEEPEST = 16
_LOOKS_LIKE_JSON = r"\s*([-0-9\[{\"]|true|false|null|NaN|Infinity).*"


def properties(schema: Schema) -> dict[str, Schema]:
    """The arguments that a tool's schema names."""
    found = schema.get("properties")
    if not isinstance(found, dict):
        return {}
    return {key: _schema(value) for key, value in cast(dict[str, Any], found).items()}


def required(schema: Schema) -> frozenset[str]:
    """The arguments that must be given."""
    found = schema.get("required")
    names = cast(list[Any], found) if isinstance(found, list) else []
    return frozenset(name for name in names if isinstance(name, str))


def value(text: str, argument: Schema, root: Schema) -> Any:
    """What the text of an argument stands for."""
    types = types_of(argument, root)
    if types == _STRING:
        return text
    try:
        found = decode(text)
    except ValueError:
        lower = text.strip().lower()  # as Python spells them
        words: dict[str, Any] = {"true": True, "false": False, "none": None}
        return words[lower] if lower in words and "string" not in types else text
    return found if "string" not in types or _type(found) & types else text


def writing(rules: Rules, argument: Schema, root: Schema, end: str, *, never: tuple[str, ...] = ()) -> str:
    """A right-hand side for an argument's text up to and with `end`; strings never match `never`."""
    mixed = types_of(argument, root) != _STRING
    # Where an argument may be something else, too, a text that looks like JSON would be read as that.
    never = (*never, _LOOKS_LIKE_JSON) if mixed else never
    return any_of(
        [*_ways(rules, argument, root, _End(text=end, never=never, mixed=mixed))] or [rules.literal(end)]
    )


class _End(msgspec.Struct, frozen=True):
    text: str
    never: tuple[str, ...]
    mixed: bool


def _ways(rules: Rules, argument: Schema, root: Schema, end: _End, depth: int = 0) -> list[str]:
    """Right-hand sides for each kind of value that an argument may have."""
    argument = _resolved(argument, root)
    for key in ("anyOf", "oneOf"):
        if isinstance(given := argument.get(key), list) and depth < _DEEPEST:
            rest = {name: value for name, value in argument.items() if name != key}
            parts = [{**rest, **_resolved(_schema(way), root)} for way in cast(list[Any], given)]
            return [way for part in parts for way in _ways(rules, part, root, end, depth + 1)]
    literal = rules.literal(end.text)
    types = types_of(argument, root)
    ways: list[str] = []
    if "string" in types:
        if choices := _choices(argument, root):
            ways += [f"{quoted(text)} {literal}" for text in choices if _is_sayable(text, end)]
        else:
            ways.append(_raw(rules, argument, end))
    if others := types - _STRING:
        ways.append(f"{rules.json(_without_strings(argument, root, others))} {literal}")
    return ways


def _is_sayable(text: Any, end: _End) -> bool:
    looks = isinstance(text, str) and end.mixed and re.fullmatch(_LOOKS_LIKE_JSON, text, re.DOTALL)
    return isinstance(text, str) and end.text not in text and not looks


def types_of(argument: Schema, root: Schema, depth: int = 0) -> frozenset[str]:
    """The JSON types that an argument may have."""
    argument = _resolved(argument, root)
    if depth > _DEEPEST:
        return _ALL
    found = _declared(argument)
    choices = _choices(argument, root)
    if choices:
        found &= frozenset[str]().union(*map(_type, choices))
    for key in ("anyOf", "oneOf"):
        if isinstance(ways := argument.get(key), list) and ways:
            found &= frozenset[str]().union(
                *(types_of(_schema(way), root, depth + 1) for way in cast(list[Any], ways))
            )
    if isinstance(parts := argument.get("allOf"), list):
        for part in cast(list[Any], parts):
            found &= types_of(_schema(part), root, depth + 1)
    return found


def _declared(argument: Schema) -> frozenset[str]:
    given = argument.get("type")
    names = [given] if isinstance(given, str) else cast(list[Any], given) if isinstance(given, list) else []
    known = _ALL.intersection(name for name in names if isinstance(name, str))
    return (known | {"integer"} if "number" in known else known) or _ALL


def _choices(argument: Schema, root: Schema) -> list[Any]:
    argument = _resolved(argument, root)
    if "const" in argument:
        return [argument["const"]]
    found = argument.get("enum")
    return cast(list[Any], found) if isinstance(found, list) else []


def _type(found: object) -> frozenset[str]:
    match found:
        case None:
            return frozenset({"null"})
        case bool():
            return frozenset({"boolean"})
        case int():
            return frozenset({"integer", "number"})
        case float():
            return frozenset({"number", "integer"} if found.is_integer() else {"number"})
        case str():
            return frozenset({"string"})
        case list():
            return frozenset({"array"})
        case _:
            return frozenset({"object"})


def _raw(rules: Rules, argument: Schema, end: _End) -> str:
    """Any text that the schema allows."""
    also: list[str] = []
    pattern = argument.get("pattern")
    if isinstance(pattern, str):
        left = "" if pattern.startswith("^") else "(?s:.*)"
        right = "" if pattern.endswith("$") and not pattern.endswith("\\$") else "(?s:.*)"
        also.append(f"{left}({pattern.removeprefix('^').removesuffix('$' if not right else '')}){right}")
    least, most = (argument.get(key) for key in ("minLength", "maxLength"))
    return rules.raw(
        end.text,
        least=least if isinstance(least, int) else 0,
        most=most if isinstance(most, int) else None,
        also=also,
        never=end.never,
    )


def _without_strings(argument: Schema, root: Schema, types: frozenset[str]) -> dict[str, Any]:
    """The schema of what is written as JSON."""
    resolved = dict(_resolved(argument, root))
    if "enum" in resolved:
        resolved["enum"] = [choice for choice in _choices(argument, root) if not isinstance(choice, str)]
    if "type" in resolved or not any(key in resolved for key in ("anyOf", "oneOf", "allOf", "enum", "const")):
        resolved["type"] = sorted(types)
    definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
    return {**resolved, **definitions}


def _resolved(argument: Schema, root: Schema) -> Schema:
    """The schema that a reference stands for; one that leads nowhere allows anything."""
    for _ in range(_DEEPEST):
        reference = argument.get("$ref")
        if not isinstance(reference, str):
            return argument
        if not reference.startswith("#/"):
            return {}
        target: Any = root
        for step in reference[2:].split("/"):
            target = cast(dict[str, Any], target).get(step) if isinstance(target, dict) else None
        argument = _schema(target)
    return {}


def _schema(given: Any) -> Schema:
    return cast(dict[str, Any], given) if isinstance(given, dict) else {}
