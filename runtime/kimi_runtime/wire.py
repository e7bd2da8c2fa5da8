"""The OpenAI chat-completions protocol as data: what a request may hold, and how answers are spelled.

Knows no model. Unknown fields are ignored, as other servers do; fields that would change the answer and
cannot be honoured are refused.
"""

import time
from typing import Any, Literal

import msgspec

from kimi_runtime.faults import BadRequest, ContextFull, RuntimeFault
from kimi_runtime.job import Finished, Progress

MAX_CANDIDATES = 128
MAX_TOOLS = 512
_MAX_DEPTH = 120
_MAX_BYTES = 4 << 20


class Function(msgspec.Struct, kw_only=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] = {}


class ToolDefinition(msgspec.Struct, kw_only=True):
    function: Function
    type: str = "function"


class NamedFunction(msgspec.Struct, kw_only=True):
    name: str


class NamedChoice(msgspec.Struct, kw_only=True):
    function: NamedFunction


class StreamOptions(msgspec.Struct, kw_only=True):
    include_usage: bool = False


class Thinking(msgspec.Struct, kw_only=True):
    """`keep`: "all" leaves the thoughts of earlier answers in the prompt. `budget_tokens`: of one thought."""

    type: Literal["enabled", "disabled", "adaptive"] = "enabled"
    keep: str | None = None
    budget_tokens: int | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """A request body, with the limits of each field checked by `check`."""

    messages: list[dict[str, Any]]
    model: str | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = 1
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    parallel_tool_calls: bool | None = None
    thinking: Thinking | None = None
    thinking_budget: int | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    return_progress: bool | None = False


def decode(body: bytes) -> ChatRequest:
    """Raises BadRequest with a sentence about the first thing that is wrong."""
    if len(body) > _MAX_BYTES:
        raise BadRequest(
            f"The request is larger than {_MAX_BYTES >> 20} MiB, which is more text than any context holds."
        )
    try:
        request = msgspec.json.decode(body, type=ChatRequest)
    except RecursionError:
        raise BadRequest("The request is nested too deeply.") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request is not a valid chat completion request: {error}.") from None
    _check(request)
    return request


def _check(request: ChatRequest) -> None:
    problems = (
        (not request.messages, "`messages` is empty"),
        (not 1 <= (request.n or 1) <= MAX_CANDIDATES, f"`n` must be 1 to {MAX_CANDIDATES}"),
        (not 0 <= (request.temperature or 0) <= 5, "`temperature` must be 0 to 5"),
        (
            request.top_p is not None and not 0 < request.top_p <= 1,
            "`top_p` must be more than 0 and at most 1",
        ),
        (not 0 <= (request.min_p or 0) <= 1, "`min_p` must be 0 to 1"),
        (token_limit(request) < 1, "`max_tokens` must be at least 1"),
        (bool(request.logprobs), "`logprobs` is not supported by this server"),
        (len(stops(request)) > 16, "`stop` may hold 16 strings at most"),
        (len(request.tools or []) > MAX_TOOLS, f"`tools` may hold {MAX_TOOLS} functions at most"),
        (
            any(_is_deep(tool.function.parameters) for tool in request.tools or []),
            f"The schema of a tool is nested more than {_MAX_DEPTH} levels deep",
        ),
        (_is_deep(request.messages), f"A message is nested more than {_MAX_DEPTH} levels deep"),
        (_is_deep(request.chat_template_kwargs), "`chat_template_kwargs` is nested too deeply"),
    )
    for wrong, sentence in problems:
        if wrong:
            raise BadRequest(f"{sentence}.")


def _is_deep(value: Any) -> bool:
    """Whether something is nested more deeply than what reads it later can bear."""
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for part in level
            if isinstance(part, dict | list)
            for item in (part.values() if isinstance(part, dict) else part)  # pyright: ignore
        ]
        if not level:
            return False
    return True


def token_limit(request: ChatRequest) -> int:
    given = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    return 1 << 30 if given is None else given


def stops(request: ChatRequest) -> tuple[str, ...]:
    if isinstance(request.stop, str):
        return (request.stop,)
    return tuple(request.stop or ())


def template_messages(
    messages: list[dict[str, Any]], *, arguments_as_text: bool = False
) -> list[dict[str, Any]]:
    """Messages as chat templates expect them: plain text contents, call arguments as objects or as text."""
    return [_template_message(message, arguments_as_text) for message in messages]


def _template_message(message: dict[str, Any], arguments_as_text: bool) -> dict[str, Any]:
    role = message.get("role")
    if role not in ("system", "developer", "user", "assistant", "tool"):
        raise BadRequest(f"A message has the role {role!r}; it must be system, user, assistant or tool.")
    changed = {
        **message,
        "role": "system" if role == "developer" else role,
        "content": _text(message.get("content")),
    }
    if calls := message.get("tool_calls"):
        changed["tool_calls"] = [_template_call(call, arguments_as_text) for call in calls]
    else:
        changed.pop("tool_calls", None)
    if role == "assistant" and "reasoning_content" not in message and message.get("reasoning"):
        changed["reasoning_content"] = message["reasoning"]  # as some servers call it
    return changed


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    try:
        parts = msgspec.convert(content, list[dict[str, Any]])
    except msgspec.ValidationError:
        raise BadRequest("The content of a message must be a text or a list of parts.") from None
    if any(part.get("type") != "text" for part in parts):
        raise BadRequest("This model reads text only; a message holds an image or another kind of part.")
    return "\n".join(str(part.get("text", "")) for part in parts)


def _template_call(call: Any, arguments_as_text: bool) -> dict[str, Any]:
    try:
        function: dict[str, Any] = dict(call["function"])
        function["arguments"] = _arguments(function.get("arguments") or "{}", arguments_as_text)
        return {**call, "function": function}
    except (TypeError, KeyError, ValueError):
        raise BadRequest(
            "A tool call in a message is not of the form {id, type, function: {name, arguments}}."
        ) from None


def _arguments(given: Any, as_text: bool) -> Any:
    """What is no JSON stays the text it is."""
    if isinstance(given, str) == as_text:
        return given
    if as_text:
        return msgspec.json.encode(given).decode()
    try:
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError):
        return given


def error_body(fault: RuntimeFault) -> dict[str, Any]:
    kind = "invalid_request_error" if fault.status < 500 else "server_error"
    about: dict[str, Any] = {"message": fault.message, "type": kind, "code": fault.code, "param": None}
    if fault.hint:
        about["hint"] = fault.hint
    if isinstance(fault, ContextFull):
        about |= {"n_ctx": fault.limit, "n_prompt_tokens": fault.needed}
    return {"error": about}


def usage(done: Finished) -> dict[str, Any]:
    return {
        "prompt_tokens": done.prompt,
        "completion_tokens": done.completion,
        "total_tokens": done.prompt + done.completion,
        "prompt_tokens_details": {"cached_tokens": done.cached},
    }


def timings(done: Finished) -> dict[str, float | int]:
    """Milliseconds and tokens per second, named as llama-server does."""
    fresh = done.prompt - done.cached
    return {
        "cache_n": done.cached,
        "prompt_n": fresh,
        "prompt_ms": round(done.prompt_ms, 1),
        "prompt_per_second": round(fresh / max(done.prompt_ms, 0.001) * 1e3, 2),
        "predicted_n": done.completion,
        "predicted_ms": round(done.predicted_ms, 1),
        "predicted_per_second": round(done.completion / max(done.predicted_ms, 0.001) * 1e3, 2),
    }


def progress(event: Progress) -> dict[str, float | int]:
    return {
        "total": event.total,
        "cache": event.cached,
        "processed": event.processed,
        "time_ms": round(event.time_ms, 1),
    }


def created() -> int:
    return int(time.time())
