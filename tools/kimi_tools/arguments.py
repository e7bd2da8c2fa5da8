"""Arguments as a model sends them, brought into the form a tool asks for. Knows no tool in particular.

Forgiven are harmless slips: a number as text, a well-known other name of a field, null for what may be
left out, a list as text. Nothing is ever dropped: a field that a tool does not have is an error.
"""

import types
import typing
from typing import Any, cast

import msgspec

from kimi_tools.base import ToolFailure

_OTHER_NAMES = {
    "path": ("file_path", "filepath", "filename", "file_name", "file", "directory", "dir"),
    "content": ("contents", "text", "file_text", "new_content"),
    "old_string": ("old_str", "old_text", "old", "search"),
    "new_string": ("new_str", "new_text", "new", "replace"),
    "line_offset": ("offset", "start_line"),
    "n_lines": ("limit", "num_lines"),
    "head_limit": ("limit", "max_results"),
    "pattern": ("regex", "query"),
    "glob": ("include", "file_pattern"),
    "command": ("cmd", "script"),
    "todos": ("items", "todo_list", "plan"),
    "title": ("content", "task", "text", "name"),
    "-i": ("i", "ignore_case", "case_insensitive"),
    "-n": ("n", "line_numbers"),
    "-A": ("A", "after", "after_context"),
    "-B": ("B", "before", "before_context"),
    "-C": ("C", "context"),
}
_OTHER_VALUES = {
    "status": {"completed": "done", "complete": "done", "todo": "pending", "in progress": "in_progress"},
    "mode": {"write": "overwrite", "w": "overwrite", "a": "append"},
}


def convert(name: str, kind: type[msgspec.Struct], arguments: dict[str, Any]) -> msgspec.Struct:
    """Arguments of the tool `name` as its Struct; raises ToolFailure that names the wrong field."""
    given = _object(name, kind, arguments)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as failure:
        where = str(failure).partition(" - at `$.")[2].rstrip("`")
        what = str(failure).partition(" - at ")[0].replace("`", "")
        raise ToolFailure(
            f"{name}: {f'{where}: ' if where else ''}{what}. {allowed(name, kind)}"
        ) from failure


def allowed(name: str, kind: type[msgspec.Struct]) -> str:
    fields = msgspec.structs.fields(kind)
    names = [f"{field.encode_name} (required)" if field.required else field.encode_name for field in fields]
    return f"{name} takes: {', '.join(names)}."


def _object(name: str, kind: type[msgspec.Struct], arguments: dict[str, Any]) -> dict[str, Any]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    given = {_renamed(key, fields, arguments): value for key, value in arguments.items()}
    unknown = [key for key in given if key not in fields]
    if unknown:
        raise ToolFailure(f"{name} has no field {', '.join(map(repr, unknown))}. {allowed(name, kind)}")
    missing = [key for key, field in fields.items() if field.required and given.get(key) is None]
    if missing:
        raise ToolFailure(f"{name}: {', '.join(missing)} is missing. {allowed(name, kind)}")
    return {
        key: _value(name, key, fields[key].type, value) for key, value in given.items() if value is not None
    }


def _renamed(key: str, fields: typing.Container[str], arguments: dict[str, Any]) -> str:
    if key in fields:
        return key
    for ours, others in _OTHER_NAMES.items():
        if key in others and ours in fields and ours not in arguments:
            return ours
    return key


def _value(name: str, key: str, kind: Any, value: Any) -> Any:
    if isinstance(value, str) and key in _OTHER_VALUES:
        value = _OTHER_VALUES[key].get(value.lower(), value)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = (part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is not list:
        return value
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    item = typing.get_args(kind)[0]
    items = cast(list[Any], value)
    if not isinstance(value, list) or not (isinstance(item, type) and issubclass(item, msgspec.Struct)):
        return items
    return [_item(f"{name}.{key}", item, each) for each in items]


def _item(name: str, kind: type[msgspec.Struct], value: Any) -> Any:
    """A bare text stands for an object's one required field."""
    required = [field.encode_name for field in msgspec.structs.fields(kind) if field.required]
    if isinstance(value, str) and len(required) == 1:
        return {required[0]: value}
    return _object(name, kind, cast(dict[str, Any], value)) if isinstance(value, dict) else value
