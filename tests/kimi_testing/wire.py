"""A scripted reply in the OpenAI chat-completions form, whole or as stream events. Knows no socket."""

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from kimi_testing.script import Fault, ScriptedCall, ScriptedReply, ScriptedUsage, written_text

_encode = msgspec.json.encode
_numbers = itertools.count(1)


class _Sent(msgspec.Struct):
    text: str
    thinking: str
    calls: list[dict[str, Any]]
    finish: str


def _arguments(call: ScriptedCall) -> str:
    return call.arguments if isinstance(call.arguments, str) else _encode(call.arguments).decode()


def _sent(reply: ScriptedReply) -> _Sent:
    calls, text = reply.all_calls, reply.text
    if reply.written_as is not None:
        text, calls = written_text(text, calls, reply.written_as), []
    made = [
        {
            "id": call.id or f"call_{next(_numbers)}",
            "type": "function",
            "function": {"name": call.name, "arguments": _arguments(call)},
        }
        for call in calls
    ]
    finish = reply.finish or ("tool_calls" if made else "stop")
    return _Sent(text=text, thinking=reply.thinking, calls=made, finish=finish)


def usage_object(reply: ScriptedReply, prompt: int, cached: int) -> dict[str, Any]:
    """Both spellings of cached tokens; tokens are counted as four bytes where the script does not say."""
    usage = reply.usage
    if usage is None:
        said = len(reply.text) + len(reply.thinking) + sum(len(_arguments(c)) for c in reply.all_calls)
        usage = ScriptedUsage(
            prompt=prompt, cached=cached, completion=1 + said // 4, thinking=len(reply.thinking) // 4
        )
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "cached_tokens": usage.cached,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking},
    }


def whole(replies: list[ScriptedReply], model: str, usage: dict[str, Any]) -> bytes:
    """The body of an answer that is not streamed."""
    choices: list[dict[str, Any]] = []
    for index, reply in enumerate(replies):
        sent = _sent(reply)
        message: dict[str, Any] = {"role": "assistant", "content": sent.text or None}
        if sent.thinking:
            message["reasoning_content"] = sent.thinking
        if sent.calls:
            message["tool_calls"] = sent.calls
        choices.append({"index": index, "message": message, "finish_reason": sent.finish})
    return _encode(
        {
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": choices,
            "usage": usage,
        }
    )


def events(
    replies: list[ScriptedReply], model: str, usage: dict[str, Any] | None, *, progress: bool
) -> list[bytes]:
    """The JSON of each event of a stream, without [DONE]. Choices are interleaved, as servers do."""
    out: list[bytes] = []
    if progress:
        for done, total in replies[0].progress:
            extra = {"prompt_progress": {"total": total, "cache": 0, "processed": done, "time_ms": 1}}
            out.append(_chunk(model, [], extra))
    streams = [_choice(index, reply, model) for index, reply in enumerate(replies)]
    for row in itertools.zip_longest(*streams):
        out.extend(event for event in row if event is not None)
    if usage is not None:
        out.append(_chunk(model, [], {"usage": usage}))
    return out


def _chunk(model: str, choices: list[dict[str, Any]], extra: dict[str, Any] | None = None) -> bytes:
    body: dict[str, Any] = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": choices,
    }
    return _encode(body | (extra or {}))


def _choice(index: int, reply: ScriptedReply, model: str) -> Iterator[bytes]:
    def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _chunk(model, [{"index": index, "delta": delta, "finish_reason": finish}])

    sent = _sent(reply)
    size = reply.pieces
    if reply.fault is not None and reply.fault.kind == "huge":
        size = max(len(sent.text), reply.fault.size)
        sent.text += "x" * (reply.fault.size - len(sent.text))
    yield event({"role": "assistant", "content": ""})
    for piece in _pieces(sent.thinking, size):
        yield event({"reasoning_content": piece})
    for piece in _pieces(sent.text, size):
        yield event({"content": piece})
    for number, call in enumerate(sent.calls):
        function = call["function"]
        head = call | {"index": number, "function": {"name": function["name"], "arguments": ""}}
        yield event({"tool_calls": [head]})
        for piece in _pieces(function["arguments"], size):
            yield event({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    yield event({}, sent.finish)


def _pieces(text: str, size: int) -> Iterator[str]:
    for at in range(0, len(text), size or len(text) or 1):
        yield text[at : at + size] if size else text


_CONTEXT_WORDS = {
    "vllm": "This model's maximum context length is {limit} tokens. However, you requested 99999 tokens "
    "in the messages. Please reduce the length of the messages.",
    "llama": "the request exceeds the available context size ({limit} tokens), try increasing it",
    "moonshot": "Invalid request: Your request exceeded model token limit: {limit} (requested: 99999)",
    "sglang": "The input (99999 tokens) is longer than the model's context length ({limit} tokens).",
    "openai": "Input tokens exceed the configured limit of {limit} tokens. Your messages resulted in "
    "99999 tokens.",
}


def error_body(fault: Fault) -> bytes:
    """The JSON of an error answer."""
    if fault.kind == "context":
        message = _CONTEXT_WORDS[fault.wording].format(limit=fault.limit)
        return _encode({"error": {"message": message, "type": "invalid_request_error", "code": 400}})
    message = fault.body or f"scripted error {fault.status}"
    return _encode({"error": {"message": message, "type": "scripted_error", "code": fault.status}})
