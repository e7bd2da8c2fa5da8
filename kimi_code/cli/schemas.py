"""The JSON Schema of the lines that stream-json prints. Knows the events, not who prints them."""

from typing import Any

import msgspec

from kimi_code.events import FACTS, SIGNALS

_ENVELOPE = {
    "seq": {"type": "integer", "minimum": 0, "description": "Per agent, one per fact."},
    "time": {"type": "number", "description": "Seconds since 1970."},
    "session": {"type": "string"},
    "agent": {"type": "string"},
}


def event_schemas() -> dict[str, Any]:
    """One schema that every line fulfils; `$defs` holds those of the single events, by type."""
    kinds = (*FACTS, *SIGNALS)
    _, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    names = {kind.__name__: str(kind.__struct_config__.tag) for kind in kinds}
    definitions: dict[str, Any] = {}
    for name, schema in parts.items():
        if name in names:
            schema["properties"] = {
                "type": schema["properties"].pop("type"),
                **_ENVELOPE,
                **schema["properties"],
            }
            schema["required"] = [*_ENVELOPE, *schema["required"]]
        definitions[names.get(name, name)] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of kimi-code",
        "oneOf": [{"$ref": f"#/$defs/{tag}"} for tag in names.values()],
        "$defs": definitions,
    }
