"""JSON Schema of a tool's arguments, as short as it can be: every session begins with it. Knows no tool."""

import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean"}


def parameters(arguments: type[msgspec.Struct], described: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The schema of a Struct, all in one piece: no $ref, no titles, no defaults.

    described: what a field's name does not say. Raises TypeError for a type that tools do not use.
    """
    texts = described or {}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in msgspec.structs.fields(arguments):
        described_type = _of(field.type)
        if field.encode_name in texts:
            described_type["description"] = texts[field.encode_name]
        properties[field.encode_name] = described_type
        if field.required:
            required.append(field.encode_name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema


def _of(kind: Any) -> dict[str, Any]:
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    origin = typing.get_origin(kind)
    parts = typing.get_args(kind)
    if origin is typing.Annotated:
        return _of(parts[0])
    if origin is Literal:
        return {"type": "string", "enum": list(parts)}
    if origin in (list, tuple):
        return {"type": "array", "items": _of(parts[0])}
    if origin in (typing.Union, types.UnionType):
        (one,) = (part for part in parts if part is not type(None))
        return _of(one)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return parameters(kind)
    raise TypeError(f"no schema for {kind}")
