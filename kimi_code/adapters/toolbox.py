"""kimi_tools as a Toolbox. Translates calls, intents and outcomes; decides nothing."""

from collections.abc import Callable
from typing import Any

import msgspec

from kimi_code.adapters.repair import raw_problem
from kimi_code.agent.ports import BadCall, Intent, ToolResult, ToolSpec
from kimi_code.events import Call, Todo
from kimi_tools.base import ToolFailure
from kimi_tools.paths import OutsideWorkspace
from kimi_tools.toolset import Toolset


class LocalToolbox:
    """Implements `Toolbox` over a Toolset."""

    def __init__(self, toolset: Toolset) -> None:
        self._toolset = toolset
        self._specs = tuple(msgspec.convert(spec, ToolSpec) for spec in toolset.specs())

    def specs(self) -> tuple[ToolSpec, ...]:
        return self._specs

    def intent(self, call: Call) -> Intent:
        if (problem := raw_problem(call.arguments)) is not None:
            raise BadCall(problem)
        try:
            effect = self._toolset.effect(call.name, call.arguments)
        except OutsideWorkspace as failure:
            raise BadCall(str(failure), denied=True) from failure
        except ToolFailure as failure:
            raise BadCall(str(failure)) from failure
        return Intent(effect=effect.kind, target=effect.target, paths=effect.paths, command=effect.command)

    async def run(self, call: Call, output: Callable[[str], None]) -> ToolResult:
        try:
            outcome = await self._toolset.run(call.name, call.arguments, output)
        except ToolFailure as failure:
            return ToolResult(status="error", content=str(failure))
        return ToolResult(
            status="error" if outcome.is_error else "ok",
            content=outcome.content,
            details=outcome.details,
            changed=outcome.changed,
            todos=_todos(outcome.details),
        )


def _todos(details: dict[str, Any]) -> tuple[Todo, ...] | None:
    todos = details.get("todos")
    return None if todos is None else tuple(msgspec.convert(todo, Todo) for todo in todos)
