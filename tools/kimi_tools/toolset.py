"""The tools of one agent, as a model sees them and as it calls them. Knows no model.

Validation and clipping happen here, once.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kimi_prompts import load
from kimi_tools.arguments import convert
from kimi_tools.base import Effect, Hands, Outcome, Tool, ToolFailure
from kimi_tools.edit import Edit
from kimi_tools.files import sweep
from kimi_tools.glob import Glob
from kimi_tools.grep import Grep
from kimi_tools.read import Read
from kimi_tools.schema import parameters
from kimi_tools.text import size, visible
from kimi_tools.todo import TodoList
from kimi_tools.write import Write

CONTENT_BYTES = 34_000
"""What a model gets of one call at most; Read bounds its windows itself, at 60 kB."""

_LIMITS = {"Read": 70_000}
_SPILL_BYTES = 50_000_000
_DESCRIBED = {
    "Read": {"line_offset": "first line, from 1; negative: from the end"},
    "Glob": {"pattern": "`*.py` at any depth, `src/**/*.py`"},
    "Bash": {"timeout": "seconds"},
}


def core_tools(bash: Tool) -> tuple[Tool, ...]:
    """The seven tools that every session has. `bash` is given, since it needs a box."""
    return (Read(), Write(), Edit(), Glob(), Grep(), bash, TodoList())


class Toolset:
    """Calls by name. One agent's: its hands remember what was read."""

    def __init__(self, tools: Sequence[Tool], hands: Hands) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._hands = hands
        self._numbers = itertools.count(1)
        sweep(hands)

    @property
    def hands(self) -> Hands:
        return self._hands

    def specs(self) -> tuple[dict[str, Any], ...]:
        """name, description and parameters (a JSON Schema) of each tool: the same bytes every time."""
        return tuple(
            {
                "name": name,
                "description": load(f"tools/{name}"),
                "parameters": parameters(tool.Arguments, _DESCRIBED.get(name)),
            }
            for name, tool in self._tools.items()
        )

    def validate(self, name: str, arguments: dict[str, Any]) -> msgspec.Struct:
        """The arguments as the tool's Struct; raises ToolFailure that says what to change."""
        return convert(name, self._tool(name).Arguments, arguments)

    def effect(self, name: str, arguments: dict[str, Any]) -> Effect:
        """What a call would do; raises ToolFailure (OutsideWorkspace where it is refused for safety)."""
        return self._tool(name).effect(self._hands, self.validate(name, arguments))

    async def run(self, name: str, arguments: dict[str, Any], output: Callable[[str], None]) -> Outcome:
        """Do it; raises ToolFailure. What is too long for a model is kept in a file that Read can read."""
        checked = self.validate(name, arguments)
        try:
            outcome = await self._tool(name).run(self._hands, checked, output)
        except OSError as failure:
            raise ToolFailure(f"{name} failed: {failure.strerror or failure}.") from failure
        content = self._clip(name, visible(outcome.content))
        return outcome if content == outcome.content else msgspec.structs.replace(outcome, content=content)

    def _tool(self, name: str) -> Tool:
        tool = self._tools.get(name)
        if tool is None:
            raise ToolFailure(f"There is no tool {name!r}. The tools are: {', '.join(self._tools)}.")
        return tool

    def _clip(self, name: str, text: str) -> str:
        limit = _LIMITS.get(name, CONTENT_BYTES)
        if len(text) * 4 <= limit:
            return text
        data = text.encode(errors="replace")
        if len(data) <= limit:
            return text
        head = _until_line_end(data[: limit * 2 // 3])
        tail = _from_line_start(data[-(limit // 3) :])
        missing = len(data) - len(head) - len(tail)
        where = self._spill(name, data)
        note = f"[... {missing:,} bytes left out of {len(data):,}{where} ...]"
        return "\n".join((head.decode(errors="ignore"), note, tail.decode(errors="ignore")))

    def _spill(self, name: str, data: bytes) -> str:
        folder = self._hands.spill
        path = folder / f"{name}-{os.getpid()}-{id(self):x}-{next(self._numbers)}.txt"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path, data[:_SPILL_BYTES])
        except OSError as failure:
            return f"; it could not be kept ({failure.strerror})"
        what = "all of it" if len(data) <= _SPILL_BYTES else f"the first {size(_SPILL_BYTES)}"
        return f"; {what}: {path}"


def _create(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _until_line_end(data: bytes) -> bytes:
    end = data.rfind(b"\n", len(data) - 400)
    return data[:end] if end >= 0 else data


def _from_line_start(data: bytes) -> bytes:
    start = data.find(b"\n", 0, 400)
    return data[start + 1 :] if start >= 0 else data
