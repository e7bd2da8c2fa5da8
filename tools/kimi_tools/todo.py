"""The TodoList tool: keeps the plan. Knows no file."""

from collections.abc import Callable
from typing import Literal

import msgspec

from kimi_tools.base import Effect, Hands, Outcome, ToolFailure

_MARKS = {"pending": "[ ]", "in_progress": "[>]", "done": "[x]"}
_MAX_TODOS = 100


class TodoItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str
    status: Literal["pending", "in_progress", "done"] = "pending"


class TodoListArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    todos: list[TodoItem]


class TodoList:
    """The whole list is given each time; the outcome's details carry it as `todos`."""

    name = "TodoList"
    Arguments = TodoListArguments

    def effect(self, hands: Hands, args: TodoListArguments) -> Effect:
        return Effect(kind="none", target=f"{len(args.todos)} steps")

    async def run(self, hands: Hands, args: TodoListArguments, output: Callable[[str], None]) -> Outcome:
        if len(args.todos) > _MAX_TODOS:
            raise ToolFailure(f"A plan has at most {_MAX_TODOS} steps: keep to the large ones.")
        if any(not todo.title.strip() for todo in args.todos):
            raise ToolFailure("Each step needs a title.")
        lines = [f"{_MARKS[todo.status]} {todo.title.strip()}" for todo in args.todos]
        return Outcome(
            content="\n".join(lines) or "The plan is empty.",
            details={"todos": [{"title": todo.title, "status": todo.status} for todo in args.todos]},
        )
