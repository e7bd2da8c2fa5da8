"""How a request asks for thoughts, and what a template is told of it. Knows no family.

Three ways are in use: `thinking` as Moonshot has it, `chat_template_kwargs` as vLLM and SGLang have it, and
`reasoning_effort` as OpenAI has it. Templates know one name or the other and ignore the rest.
"""

from typing import Any

from kimi_runtime.faults import BadRequest
from kimi_runtime.wire import ChatRequest

_SWITCHES = ("thinking", "enable_thinking")


def switches(request: ChatRequest) -> dict[str, Any]:
    """Values for the template: thoughts on or off (nothing: as the template likes), earlier thoughts kept
    or not, effort. What `chat_template_kwargs` says counts most."""
    given = dict(request.chat_template_kwargs or {})
    values: dict[str, Any] = {}
    if (wanted := _wanted(request, given)) is not None:
        values |= dict.fromkeys(_SWITCHES, wanted)
    if request.thinking is not None and request.thinking.keep == "all":
        values |= {"preserve_thinking": True, "clear_thinking": False}
    if request.reasoning_effort not in (None, "none"):
        values["reasoning_effort"] = request.reasoning_effort
    return {**values, **given}


def budget(request: ChatRequest) -> int | None:
    """Tokens that a thought may have; None: as many as it likes. Raises BadRequest."""
    tokens = request.thinking_budget
    if tokens is None and request.thinking is not None:
        tokens = request.thinking.budget_tokens
    if tokens is not None and tokens < 0:
        raise BadRequest("A thinking budget must be 0 or more tokens.")
    return tokens


def _wanted(request: ChatRequest, given: dict[str, Any]) -> bool | None:
    for name in _SWITCHES:
        if isinstance(value := given.get(name), bool):
            return value
    if request.thinking is not None:
        return None if request.thinking.type == "adaptive" else request.thinking.type == "enabled"
    return None if request.reasoning_effort is None else request.reasoning_effort != "none"
