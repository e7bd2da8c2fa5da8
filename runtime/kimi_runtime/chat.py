"""From a chat request to an order for the engine, and from its events to answers. Knows no HTTP."""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from kimi_runtime.candidate import Constraint
from kimi_runtime.dialects import CallPart, Dialect, Part, Reader, ThinkingPart
from kimi_runtime.faults import BadRequest
from kimi_runtime.grammar import CallGrammars, Tool
from kimi_runtime.job import Ended, Order, Text
from kimi_runtime.sampling import SamplingOptions
from kimi_runtime.template import Prompter
from kimi_runtime.vocabulary import Vocabulary
from kimi_runtime.wire import ChatRequest, NamedChoice, stops, template_messages, token_limit

_MAX_TOP_K = 200


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

    def prepare(self, request: ChatRequest) -> Prepared:
        """Raises BadRequest and BadTemplate."""
        tools = [] if request.tool_choice == "none" else (request.tools or [])
        values: dict[str, Any] = {
            **(request.chat_template_kwargs or {}),
            "messages": template_messages(request.messages),
            "add_generation_prompt": True,
        }
        if tools:
            values["tools"] = [msgspec.to_builtins(tool) for tool in tools]
        prompt = self._prompter.prompt(values)
        order = Order(
            prompt=prompt,
            count=request.n or 1,
            base=self._prompter.base_length(values, prompt),
            limit=token_limit(request),
            sampling=_sampling(request),
            seed=request.seed,
            stops=stops(request),
            constraint=self._constraint(request, tools=bool(tools)),
        )
        names = frozenset(tool.function.name for tool in tools)
        thinking = self._vocabulary.decode(prompt[-4:]).rstrip().endswith("<think>")
        return Prepared(order=order, reader=lambda: self._dialect.reader(names, thinking=thinking))

    def _constraint(self, request: ChatRequest, *, tools: bool) -> Callable[[], Constraint] | None:
        choice = request.tool_choice
        forced = choice == "required" or isinstance(choice, NamedChoice)
        if not tools:
            if forced:
                raise BadRequest("`tool_choice` asks for a call, but the request names no tools.")
            return None
        offered = [Tool(name=t.function.name, parameters=t.function.parameters) for t in request.tools or []]
        if isinstance(choice, NamedChoice):
            offered = [tool for tool in offered if tool.name == choice.function.name]
            if not offered:
                raise BadRequest(
                    f"`tool_choice` names {choice.function.name!r}, which is not among the tools."
                )
        self._grammars.constraint(offered, from_start=forced)  # compiled here, not in the engine's thread
        return lambda: self._grammars.constraint(offered, from_start=forced)


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
                    "id": f"call_{secrets.token_hex(12)}",
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
