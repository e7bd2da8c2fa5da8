"""Finds tool calls that a model wrote as text. Knows the usual spellings, no tool and no server.

Understood, when nothing but calls follows to the end of the reply:

    <tool_call>{"name": ..., "arguments": {...}}</tool_call>              Hermes, Qwen
    <tool_call><function=NAME><parameter=KEY>value</parameter></function></tool_call>    Qwen3-Coder
    <function=NAME>{...}</function>                                       Llama
    <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{...}...   Kimi
    ```json {"name": ..., "arguments": {...}} ```    or the bare object, or a list of them, as the whole reply

Only names of tools that the request offered count. A call quoted in prose, or inside an open code fence, is
no call.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

import msgspec

from kimi_code.adapters.repair import NotReadable, read_arguments, read_object

_MAX_CALLS = 64
_SECTIONS = ("<|tool_calls_section_begin|>", "<|tool_call_section_begin|>")
_SECTION_ENDS = ("<|tool_calls_section_end|>", "<|tool_call_section_end|>")
_BEGIN, _ARGUMENT, _END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_FUNCTION = re.compile(r"<function=([\w.-]{1,128})>")
_TAG_LINE = re.compile(r"^[ \t]*<tool_call>", re.MULTILINE)
_FUNCTION_LINE = re.compile(r"^[ \t]*<function=", re.MULTILINE)
_FUNCTION_END = "</function>"
_PARAMETER = re.compile(r"<parameter=([\w.-]{1,128})>")
_PARAMETER_END = "</parameter>"
_FENCED = re.compile(r"```(?:json|tool_call|tool|tool_code)?[ \t]*\n")
_KIMI_ID = re.compile(r"(?:functions\.)?([\w-]{1,128}?)(?::(\d+))?\Z")


class TextCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call found in text; `id` is empty where the spelling has none."""

    name: str
    arguments: dict[str, Any]
    id: str = ""


Tools = Mapping[str, Collection[str]]
"""The tools that the request offered: name -> those of its parameters that are plain text."""
Found = tuple[str, list[TextCall]]
_NOTHING: list[TextCall] = []


class _NoCall(Exception):
    """What was found is not a call of a known tool."""


def find_calls(text: str, tools: Tools) -> Found:
    """The text before the calls, and the calls; (text, []) where there are none."""
    if not tools:
        return text, _NOTHING
    for search in (_kimi_section, _tagged, _functions, _objects):
        at, calls = search(text, tools)
        if calls:
            return text[:at].rstrip(), calls
    return text, _NOTHING


def _kimi_section(text: str, tools: Tools) -> tuple[int, list[TextCall]]:
    """Special tokens need no line of their own: no prose holds them unless it quotes them in a fence."""
    starts = [at for mark in (*_SECTIONS, _BEGIN) if (at := text.find(mark)) >= 0]
    if not starts or _in_fence(text, start := min(starts)):
        return 0, _NOTHING
    calls: list[TextCall] = []
    body = text[start:]
    for mark in (*_SECTIONS, *_SECTION_ENDS):
        body = body.replace(mark, "")
    before, *parts = body.split(_BEGIN)
    if before.strip() or len(parts) > _MAX_CALLS:
        return 0, _NOTHING
    for part in parts:
        inside, ended, after = part.partition(_END)
        head, argued, arguments = inside.partition(_ARGUMENT)
        known = _KIMI_ID.match(head.strip())
        if not argued or not ended or after.strip() or known is None or known[1] not in tools:
            return 0, _NOTHING
        given = head.strip() if known[2] is not None else ""
        calls.append(TextCall(name=known[1], arguments=read_arguments(arguments), id=given))
    return start, calls


def _tagged(text: str, tools: Tools) -> tuple[int, list[TextCall]]:
    start = _first_at_line_start(text, _TAG_LINE)
    if start is None:
        return 0, _NOTHING
    calls: list[TextCall] = []
    body = text[start:]
    while body := body.strip():
        if not body.startswith(_OPEN) or len(calls) >= _MAX_CALLS:
            return 0, _NOTHING
        inside, ended, body = body[len(_OPEN) :].partition(_CLOSE)
        try:
            calls.extend(_read_tag(inside.strip(), tools, whole=bool(ended)))
        except (_NoCall, NotReadable):
            return 0, _NOTHING
    return start, calls


def _read_tag(inside: str, tools: Tools, *, whole: bool) -> Iterator[TextCall]:
    if inside.startswith("<function="):
        if not whole and not inside.endswith(_FUNCTION_END):
            raise _NoCall
        yield from _read_functions(inside, tools)
    else:
        # Without its closing tag the object itself must be complete: nothing may be mended.
        yield _from_object(read_object(inside, mend=whole), tools)


def _functions(text: str, tools: Tools) -> tuple[int, list[TextCall]]:
    start = _first_at_line_start(text, _FUNCTION_LINE)
    if start is None:
        return 0, _NOTHING
    try:
        return start, list(_read_functions(text[start:], tools))
    except _NoCall:
        return 0, _NOTHING


def _read_functions(body: str, tools: Tools) -> Iterator[TextCall]:
    count = 0
    while body := body.strip():
        opened = _FUNCTION.match(body)
        inside, ended, body = body.partition(_FUNCTION_END)
        count += 1
        if opened is None or not ended or opened[1] not in tools or count > _MAX_CALLS:
            raise _NoCall
        inside = inside[opened.end() :].strip()
        if inside.startswith("<"):
            arguments = _read_parameters(inside, tools[opened[1]])
        else:
            arguments = read_arguments(inside)
        yield TextCall(name=opened[1], arguments=arguments)


def _read_parameters(body: str, texts: Collection[str]) -> dict[str, Any]:
    """Values are text; where the tool takes something else, the text is that as JSON."""
    found: dict[str, Any] = {}
    while body := body.strip():
        opened = _PARAMETER.match(body)
        inside, ended, body = body.partition(_PARAMETER_END)
        if opened is None or not ended or opened[1] in found or len(found) >= _MAX_CALLS:
            raise _NoCall
        value = inside[opened.end() :].removeprefix("\n").removesuffix("\n")
        found[opened[1]] = value if opened[1] in texts else _parameter(value)
    return found


def _parameter(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def _objects(text: str, tools: Tools) -> tuple[int, list[TextCall]]:
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        start, body = 0, stripped
    elif stripped.endswith("```"):
        opened = _last_fence(stripped)
        if opened is None:
            return 0, _NOTHING
        start = opened.start() + len(text) - len(text.lstrip())
        body = stripped[opened.end() : -3].strip()
    else:
        return 0, _NOTHING
    try:
        return start, _read_objects(body, tools)
    except (_NoCall, NotReadable):
        return 0, _NOTHING


def _read_objects(body: str, tools: Tools) -> list[TextCall]:
    if not body.startswith("["):
        return [_from_object(read_object(body), tools)]
    try:
        listed = msgspec.json.decode(body, type=list[dict[str, Any]])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _NoCall from error
    if len(listed) > _MAX_CALLS:
        raise _NoCall
    return [_from_object(each, tools) for each in listed]


def _from_object(value: dict[str, Any], tools: Tools) -> TextCall:
    """`{"name", "arguments"}` (or parameters), or the same inside "function"; nothing else beside an id."""
    nested = value.get("function")
    if isinstance(nested, dict) and not set(value) - {"function", "type", "id", "index"}:
        value = cast("dict[str, Any]", nested)
    name = value.get("name")
    keys = set(value) - {"name", "id", "type"}
    if not isinstance(name, str) or name not in tools or len(keys) != 1:
        raise _NoCall
    key = keys.pop()
    arguments = value[key]
    if key not in ("arguments", "parameters"):
        raise _NoCall
    if isinstance(arguments, str):
        arguments = read_arguments(arguments)
    if not isinstance(arguments, dict):
        raise _NoCall
    return TextCall(name=name, arguments=cast("dict[str, Any]", arguments))


def _last_fence(text: str) -> re.Match[str] | None:
    """The fence that the closing one at the end of `text` belongs to, at the start of a line."""
    at = text.rfind("```", 0, len(text) - 3)
    if at < 0 or (at and text[at - 1] != "\n") or _in_fence(text, at):
        return None
    return _FENCED.match(text, at)


def _first_at_line_start(text: str, mark: re.Pattern[str]) -> int | None:
    """Where the first `mark` stands at the beginning of a line, unless in an open code fence."""
    found = mark.search(text)
    return None if found is None or _in_fence(text, found.start()) else found.start()


def _in_fence(text: str, at: int) -> bool:
    return sum(line.lstrip().startswith("```") for line in text[:at].split("\n")) % 2 == 1
