"""A TOML text as a checked table, with errors that name file, line, key and what was expected.

Knows the schema, not which file is stronger.
"""

import difflib
import re
import tomllib
from typing import Any, get_args

import msgspec

from kimi_code.config.rule import BadRule, parse_rule
from kimi_code.config.schema import Config, Mode
from kimi_code.errors import UsageError

MAX_BYTES = 1 << 20
_AT = r"(?s)^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$"
_UNKNOWN = r"(?s)Object contains unknown field `(.*)`"
_MISSING = r"(?s)Object missing required field `(.*)`"
_TYPES = (("object", "a table"), ("str", "a string"), ("int", "a whole number"), ("float", "a number"),
          ("bool", "true or false"), ("array", "a list"))  # fmt: skip
_HINT = "See: kimi-code config schema"

Table = dict[str, Any]


def read_table(name: str, data: bytes) -> Table:
    """The table of a config.toml. `name` is what errors call it. Raises UsageError."""
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{name} is larger than {MAX_BYTES >> 20} MiB.", hint="It cannot be a configuration."
        )
    try:
        text = data.decode("utf-8-sig")
        table = tomllib.loads(text)
    except UnicodeDecodeError as failure:
        line = data.count(b"\n", 0, failure.start) + 1
        raise UsageError(
            f"{name}, line {line}: this is not UTF-8 text.", hint="Save it as UTF-8."
        ) from failure
    except tomllib.TOMLDecodeError as failure:
        raise UsageError(f"{name}{_toml_failure(str(failure))}", hint="It must be TOML.") from failure
    except RecursionError as failure:
        raise UsageError(f"{name}: its values are nested too deeply.", hint=_HINT) from failure
    try:
        msgspec.convert(table, Config)
    except msgspec.ValidationError as failure:
        raise _explain(name, text, table, str(failure)) from failure
    _check_rules(name, text, table)
    return table


def _toml_failure(message: str) -> str:
    """`What (at line 3, column 5)` as `, line 3: what`."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL)
    if match is None:
        return f": {message}."
    where = f", line {match[2]}" if match[2] else ", at its end"
    return f"{where}: {match[1][:1].lower()}{match[1][1:]}."


def _check_rules(name: str, text: str, table: Table) -> None:
    for kind in ("allow", "ask", "deny"):
        for rule in table.get("permission", {}).get(kind, ()):
            try:
                parse_rule(rule)
            except BadRule as failure:
                line = _line_holding(text, rule) or _line_of(text, ["permission", kind])
                raise UsageError(
                    f"{_where(name, line)}permission.{kind} holds {rule!r}: {failure}.",
                    hint='Write rules like "Bash(git status *)", "Read(src/**)" or "mcp__server__*".',
                ) from failure


def _explain(name: str, text: str, table: Table, message: str) -> UsageError:
    match = re.match(_AT, message)
    what = match["what"] if match else message
    keys = _keys(table, (match["path"] or "") if match else "")
    if unknown := re.fullmatch(_UNKNOWN, what):
        keys.append(unknown[1])
        near = difflib.get_close_matches(unknown[1], _siblings(keys[:-1]), n=1)
        meant = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(_siblings(keys[:-1]))}."
        what = f"there is no setting {'.'.join(keys)}{meant}"
    elif missing := re.fullmatch(_MISSING, what):
        what = f"{'.'.join(keys)} needs {missing[1]}."
    elif what.startswith("Invalid enum value"):
        what = f"{'.'.join(keys)} is {_value(table, keys)!r}; expected one of: {', '.join(get_args(Mode))}."
    else:
        for name_here, name_there in _TYPES:
            what = what.replace(f"`{name_here}`", name_there)
        what = f"{'.'.join(keys)}: {what[:1].lower()}{what[1:]}."
    return UsageError(f"{_where(name, _line_of(text, keys))}{what}", hint=_HINT)


def _where(name: str, line: int) -> str:
    return f"{name}, line {line}: " if line else f"{name}: "


def _keys(table: Table, path: str) -> list[str]:
    """A path of msgspec as keys; `[...]` stands for a name that it does not tell: the first that is wrong."""
    keys: list[str] = []
    for key, index in re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", path):
        if key:
            keys.append(key)
        elif index == "..." and keys == ["providers"]:
            keys.append(_first_bad_provider(table))
    return keys


def _first_bad_provider(table: Table) -> str:
    for name, provider in table["providers"].items():
        try:
            msgspec.convert({"providers": {name: provider}}, Config)
        except msgspec.ValidationError:
            return name
    return "NAME"


def _siblings(keys: list[str]) -> list[str]:
    """The settings that may stand in the table `keys`."""
    kind: Any = Config
    for key in keys:
        if kind is Config and key == "providers":
            kind = dict
        elif kind is dict:
            kind = get_args(Config.__annotations__["providers"])[1]
        else:
            kind = kind.__annotations__.get(key, Config)
    return [] if kind is dict else list(kind.__struct_fields__)


def _value(table: Table, keys: list[str]) -> object:
    value: Any = table
    for key in keys:
        value = value[key]
    return value


def _line_holding(text: str, value: str) -> int:
    """The line where a string's text stands, 0 where it is written in another way."""
    at = max(text.find(f"{quote}{value}{quote}") for quote in "\"'")
    return text.count("\n", 0, at) + 1 if at >= 0 else 0


def _line_of(text: str, keys: list[str]) -> int:
    """The line that sets `keys`, as far as simple reading tells, else its table's line, else 0."""
    table: list[str] = []
    best = (0, 0)
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?\s*([^\[\]]+?)\s*\]", line):
            table = _dotted(header[1])
            found = table
        elif assignment := re.match(r"\s*([\w\-.\"' ]+?)\s*=", line):
            found = table + _dotted(assignment[1])
        else:
            continue
        if found == keys[: len(found)] and len(found) > best[0]:
            best = (len(found), number)
    return best[1]


def _dotted(text: str) -> list[str]:
    return [part.strip().strip("\"'") for part in text.split(".")]
