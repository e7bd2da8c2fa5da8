"""From a chat request to an order for the engine, and from its events to answers. Knows no HTTP."""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from kimi_runtime.candidate import Constraint
from kimi_runtime.dialects import CallPart, Dialect, Part, Reader, ThinkingPart, Tools
from kimi_runtime.faults import BadRequest
from kimi_runtime.grammar import CallGrammars, Tool
from kimi_runtime.job import Ended, Order, Text
from kimi_runtime.sampling import SamplingOptions
from kimi_runtime.template import Prompter, arguments_as_text
from kimi_runtime.thinking import budget, switches
from kimi_runtime.vocabulary import Vocabulary
from kimi_runtime.wire import ChatRequest, NamedChoice, stops, template_messages, token_limit

_MAX_TOP_K = 200
_TAIL = 16
"""Tokens at the end of a prompt in which a thought may be opened."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request made ready: what the engine shall do, and a reader for each of its answers."""

    order: Order
    reader: Callable[[], Reader]


class Chat:
    """Everything about one model that requests and answers need. `prepare` may run in any thread."""

    def __init__(
        self, vocabulary: Vocabulary, prompter: Prompter, dialect: Dialect, grammars: CallGrammars
    ) -> None:
        self._vocabulary = vocabulary
        self._prompter = prompter
        self._dialect = dialect
        self._grammars = grammars
        self._arguments_as_text = arguments_as_text(prompter.source)

    def prepare(self, request: ChatRequest) -> Prepared:
        """Raises BadRequest and BadTemplate."""
        tools = [] if request.tool_choice == "none" else (request.tools or [])
        messages = template_messages(request.messages, arguments_as_text=self._arguments_as_text)
        values: dict[str, Any] = {
            **switches(request),
            "messages": self._dialect.replay(messages),
            "add_generation_prompt": True,
        }
        if tools:
            values["tools"] = [msgspec.to_builtins(tool) for tool in tools]
        prompt = self._prompter.prompt(values)
        end = self._vocabulary.decode(prompt[-_TAIL:]).rstrip()
        thinking = end.endswith(self._dialect.thought.opener)
        order = Order(
            prompt=prompt,
            count=request.n or 1,
            base=self._prompter.base_length(values, prompt),
            limit=token_limit(request),
            sampling=_sampling(request),
            seed=request.seed,
            stops=stops(request),
            constraint=self._constraint(request, tools=bool(tools), thinking=thinking),
        )
        schemas = {tool.function.name: tool.function.parameters for tool in tools}
        before = sum(len(message.get("tool_calls") or []) for message in messages)
        return Prepared(order=order, reader=lambda: self._reader(schemas, thinking, before))

    def _reader(self, tools: Tools, thinking: bool, before: int) -> Reader:
        return _Numbered(self._dialect.reader(tools, thinking=thinking), self._dialect, before)

    def _constraint(
        self, request: ChatRequest, *, tools: bool, thinking: bool
    ) -> Callable[[], Constraint] | None:
        choice = request.tool_choice
        forced = choice == "required" or isinstance(choice, NamedChoice)
        if forced and not tools:
            raise BadRequest("`tool_choice` asks for a call, but the request names no tools.")
        room = budget(request)
        if not tools and room is None:
            return None
        offered = _offered(request) if tools else []
        many = request.parallel_tool_calls is not False and not isinstance(choice, NamedChoice)

        def constraint() -> Constraint:
            return self._grammars.constraint(
                offered, from_start=forced, many=many, thinking=thinking, budget=room
            )

        constraint()  # compiled here, not in the engine's thread
        return constraint


class _Numbered:
    """A reader whose calls get the ids that the family wants, counted over the conversation."""

    def __init__(self, reader: Reader, dialect: Dialect, before: int) -> None:
        self._reader = reader
        self._dialect = dialect
        self._count = before

    def feed(self, text: str) -> list[Part]:
        return self._named(self._reader.feed(text))

    def close(self) -> list[Part]:
        return self._named(self._reader.close())

    def _named(self, parts: list[Part]) -> list[Part]:
        named: list[Part] = []
        for part in parts:
            if isinstance(part, CallPart):
                part = msgspec.structs.replace(part, id=self._dialect.call_id(part.name, self._count))
                self._count += 1
            named.append(part)
        return named


def _offered(request: ChatRequest) -> list[Tool]:
    """The tools that may be called. Raises BadRequest."""
    offered = [Tool(name=t.function.name, parameters=t.function.parameters) for t in request.tools or []]
    if isinstance(request.tool_choice, NamedChoice):
        name = request.tool_choice.function.name
        offered = [tool for tool in offered if tool.name == name]
        if not offered:
            raise BadRequest(f"`tool_choice` names {name!r}, which is not among the tools.")
    return offered


def _sampling(request: ChatRequest) -> SamplingOptions:
    default = SamplingOptions()
    return SamplingOptions(
        temperature=default.temperature if request.temperature is None else request.temperature,
        top_k=min(request.top_k or default.top_k, _MAX_TOP_K),
        top_p=default.top_p if request.top_p is None else request.top_p,
        min_p=request.min_p or 0.0,
    )


class Answer:
    """One answer as it grows, in the protocol's words."""

    def __init__(self, index: int, reader: Reader) -> None:
        self.index = index
        self.text = ""
        self.thinking = ""
        self.calls: list[dict[str, Any]] = []
        self.finish = ""
        self._reader = reader

    def feed(self, event: Text) -> list[dict[str, Any]]:
        """The deltas that this text makes."""
        return self._deltas(self._reader.feed(event.text))

    def end(self, event: Ended) -> list[dict[str, Any]]:
        deltas = self._deltas(self._reader.close())
        self.finish = "length" if event.reason != "stop" else "tool_calls" if self.calls else "stop"
        return deltas

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.thinking:
            message["reasoning_content"] = self.thinking
        if self.calls:
            message["tool_calls"] = self.calls
        elif not self.text:
            message["content"] = ""
        return message

    def _deltas(self, parts: list[Part]) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = []
        for part in parts:
            if isinstance(part, CallPart):
                call = {
                    "id": part.id or f"call_{secrets.token_hex(12)}",
                    "type": "function",
                    "function": {"name": part.name, "arguments": part.arguments},
                }
                deltas.append({"tool_calls": [{"index": len(self.calls), **call}]})
                self.calls.append(call)
            elif isinstance(part, ThinkingPart):
                self.thinking += part.text
                deltas.append({"reasoning_content": part.text})
            else:
                self.text += part.text
                deltas.append({"content": part.text})
        return deltas
