"""A language model that follows a script, in process: the `Model` of tests and demos. Knows no network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Literal

import msgspec

from kimi_code.agent.ports import Chunk, Delta, ModelInfo, Reply, Request, Working
from kimi_code.errors import ModelFailure
from kimi_code.events import Call, Usage
from kimi_testing.script import Player, Scene, Script, ScriptedCall, ScriptedReply, written_text

Scripted = ScriptedReply | ModelFailure
_OTHER_FAULT = "The scripted server failed."


def say(text: str, *, thinking: str = "") -> ScriptedReply:
    """A reply of text alone."""
    return ScriptedReply(text=text, thinking=thinking)


def call(name: str, /, **arguments: Any) -> ScriptedReply:
    """A reply of one call."""
    return ScriptedReply(calls=[ScriptedCall(name=name, arguments=arguments)])


class ScriptedModel:
    """Implements `Model`. `script` is replies in order (a failure is raised), a Script, or a callable.

    `requests` holds what it was asked, `opened` and `closed` count. After the last reply it says "Done."
    (a Script says otherwise with `then`).
    """

    def __init__(
        self,
        script: Iterable[Scripted] | Script | Callable[[Request], Scripted],
        *,
        name: str = "scripted",
        context: int = 32768,
        local: bool = False,
        billions: float | None = None,
    ) -> None:
        self._info = ModelInfo(name=name, context=context, local=local, billions=billions)
        self._next = _source(script)
        self.requests: list[Request] = []
        self.opened = 0
        self.closed = 0

    async def open(self) -> ModelInfo:
        self.opened += 1
        return self._info

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        scripted = self._take(request)
        for done, total in scripted.progress:
            yield Working(phase="prefill", done=done, total=total)
        await asyncio.sleep(scripted.delay_s)
        reply = self._reply(scripted, request)
        for text in _pieces(reply.thinking, scripted.pieces):
            yield Delta(thinking=text)
        for text in _pieces(reply.text, scripted.pieces):
            yield Delta(text=text)
        yield reply

    async def sample(self, request: Request, count: int) -> AsyncIterator[Reply]:
        """The `choices` of one reply where it has them, else one reply for each."""
        first = self._take(request)
        for number in range(count):
            if first.choices:
                scripted = first.choices[number % len(first.choices)]
            else:
                scripted = first if number == 0 else self._take(request)
            await asyncio.sleep(scripted.delay_s)
            yield self._reply(scripted, request)

    async def close(self) -> None:
        self.closed += 1

    def _take(self, request: Request) -> ScriptedReply:
        self.requests.append(request)
        scripted = self._next(request)
        if isinstance(scripted, ModelFailure):
            raise scripted
        if scripted.fault is not None:
            raise ModelFailure(scripted.fault.body or _OTHER_FAULT)
        return scripted

    def _reply(self, scripted: ScriptedReply, request: Request) -> Reply:
        text, calls = scripted.text, scripted.all_calls
        if scripted.written_as is not None:
            text, calls = written_text(text, calls, scripted.written_as), []
        made = tuple(
            Call(
                id=each.id or f"call_{len(self.requests)}_{number}",
                name=each.name,
                arguments=_arguments(each.arguments),
            )
            for number, each in enumerate(calls)
        )
        return Reply(
            text=text,
            thinking=scripted.thinking,
            calls=made,
            usage=_usage(scripted, request),
            finish=_finish(scripted.finish, bool(made)),
        )


def obedient(*, context: int = 32768) -> ScriptedModel:
    """Does whatever a user or a tool result says between `<<RUN>>` and `<</RUN>>`: a call as JSON."""
    return ScriptedModel(Script(obedient=True), name="obedient", context=context)


def _source(
    script: Iterable[Scripted] | Script | Callable[[Request], Scripted],
) -> Callable[[Request], Scripted]:
    if isinstance(script, Script):
        player = Player(script)
        return lambda request: player.next(_scene(request))
    if callable(script):
        return script
    replies = iter(script)
    return lambda request: next(replies, ScriptedReply(text="Done."))


def _scene(request: Request) -> Scene:
    last = next((m.text for m in reversed(request.messages) if m.role in ("user", "tool")), "")
    return Scene(last_text=last, answers=sum(m.role == "assistant" for m in request.messages))


def _arguments(arguments: dict[str, Any] | str) -> dict[str, Any]:
    return msgspec.json.decode(arguments, type=dict[str, Any]) if isinstance(arguments, str) else arguments


def _usage(scripted: ScriptedReply, request: Request) -> Usage:
    said = scripted.usage
    if said is not None:
        return Usage(
            prompt=said.prompt, cached=said.cached, completion=said.completion, thinking=said.thinking
        )
    prompt = len(request.system) + sum(len(message.text) for message in request.messages)
    return Usage(prompt=prompt // 4, completion=1 + len(scripted.text + scripted.thinking) // 4)


def _finish(finish: str, calls: bool) -> Literal["stop", "calls", "length"]:
    if finish == "length":
        return "length"
    return "calls" if calls else "stop"


def _pieces(text: str, size: int) -> Iterable[str]:
    step = size or len(text) or 1
    return (text[at : at + step] for at in range(0, len(text), step))
