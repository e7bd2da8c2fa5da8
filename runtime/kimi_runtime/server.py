"""The OpenAI protocol over HTTP: chat completions, models, health. Knows what to ask of the engine, not how
it works."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from kimi_runtime import wire
from kimi_runtime.chat import Answer, Chat, Prepared
from kimi_runtime.engine import Engine
from kimi_runtime.faults import BadRequest, RuntimeFault
from kimi_runtime.job import Ended, Event, Failed, Finished, Job, Progress, Text

_BEAT_S = 1.0
_MAX_BODY = 64 << 20


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What GET /v1/models says. Sizes in tokens, weights and bytes."""

    name: str
    n_ctx: int
    n_ctx_train: int
    n_params: int
    size: int


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded model with all that requests need."""

    engine: Engine
    chat: Chat
    facts: ModelFacts


class Service:
    """State shared by the routes: the backend once it is loaded, how far loading is, and when it was last
    used."""

    def __init__(self) -> None:
        self.backend: Backend | None = None
        self.fault: RuntimeFault | None = None
        self.loaded = 0.0
        self.active = 0
        self.last_used = time.monotonic()

    def ready(self) -> Backend:
        """Raises RuntimeFault while the model is not loaded."""
        if self.fault is not None:
            raise self.fault
        if self.backend is None:
            raise _Loading(f"The model is being loaded ({self.loaded:.0%}).", hint="Try again in a moment.")
        return self.backend

    @contextlib.contextmanager
    def in_use(self) -> Generator[None]:
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            self.last_used = time.monotonic()


class _Loading(RuntimeFault):
    status = 503
    code = "loading"


class _Listener:
    """Carries events from the engine's thread into the event loop."""

    def __init__(self, wants_progress: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[list[Event]] = asyncio.Queue()
        self._wants_progress = wants_progress

    def sink(self, events: list[Event]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed when the worker ends
            self._loop.call_soon_threadsafe(self._queue.put_nowait, events)

    async def next(self, timeout: float | None = None) -> list[Event] | None:
        """The next events; None when there were none in time."""
        try:
            async with asyncio.timeout(timeout):
                return await self._queue.get()
        except TimeoutError:
            return None


def build_app(service: Service) -> Starlette:
    async def chat_completions(request: Request) -> Response:
        try:
            backend = service.ready()
            body = wire.decode(await _read_body(request))
            prepared = await asyncio.to_thread(backend.chat.prepare, body)
            listener = _Listener(bool(body.return_progress))
            job = backend.engine.submit(prepared.order, listener.sink)
        except RuntimeFault as fault:
            return _json(wire.error_body(fault), fault.status)
        completion = Completion(backend.facts.name, body, prepared, listener, job)
        if body.stream:
            return StreamingResponse(_guarded(service, completion), media_type="text/event-stream")
        with service.in_use():
            return await _answer_whole(request, completion)

    async def models(_: Request) -> Response:
        try:
            facts = service.ready().facts
        except RuntimeFault as fault:
            return _json(wire.error_body(fault), fault.status)
        meta = {
            "n_ctx": facts.n_ctx,
            "n_ctx_train": facts.n_ctx_train,
            "n_params": facts.n_params,
            "size": facts.size,
        }
        model = {"id": facts.name, "object": "model", "created": 0, "owned_by": "kimi-code", "meta": meta}
        return _json({"object": "list", "data": [model]})

    async def health(_: Request) -> Response:
        try:
            service.ready()
        except _Loading:
            return _json({"status": "loading", "progress": round(service.loaded, 3)}, 503)
        except RuntimeFault as fault:
            return _json({"status": "failed", **wire.error_body(fault)}, fault.status)
        return _json({"status": "ok"})

    routes = [
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
    ]
    return Starlette(routes=routes)


class Completion:
    """One request being answered: its events become chunks, or one object at the end."""

    def __init__(
        self, model: str, request: wire.ChatRequest, prepared: Prepared, listener: _Listener, job: Job
    ) -> None:
        self.job = job
        self.listener = listener
        self.answers = [Answer(index, prepared.reader()) for index in range(prepared.order.count)]
        self.done: Finished | None = None
        self._told_at = 0.0
        self._request = request
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": wire.created(),
            "model": request.model or model,
        }

    def result(self) -> dict[str, Any]:
        assert self.done is not None
        choices = [
            {"index": a.index, "message": a.message(), "finish_reason": a.finish, "logprobs": None}
            for a in self.answers
        ]
        return {
            **self._head,
            "object": "chat.completion",
            "choices": choices,
            "usage": wire.usage(self.done),
            "timings": wire.timings(self.done),
        }

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events, at least one line a second."""
        last: Progress | None = None
        for answer in self.answers:
            yield self._chunk(answer.index, {"role": "assistant", "content": ""})
        while self.done is None:
            events = await self.listener.next(_BEAT_S)
            if events is None:
                yield self._beat(last)
                continue
            for event in events:
                if isinstance(event, Failed):
                    yield _event(wire.error_body(event.fault))
                    return
                if isinstance(event, Progress):
                    last = event
                    self._told_at = time.monotonic()
                    if self._request.return_progress:
                        yield self._progress(event)
                    continue
                last = None
                for chunk in self._chunks(event):
                    yield chunk
        yield b"data: [DONE]\n\n"

    def take(self, event: Event) -> list[tuple[int, dict[str, Any], str | None]]:
        """Deltas of an event as (index, delta, finish reason)."""
        if isinstance(event, Text):
            return [(event.index, delta, None) for delta in self.answers[event.index].feed(event)]
        if isinstance(event, Ended):
            answer = self.answers[event.index]
            deltas = [(event.index, delta, None) for delta in answer.end(event)]
            return [*deltas, (event.index, {}, answer.finish)]
        if isinstance(event, Finished):
            self.done = event
        return []

    def _chunks(self, event: Event) -> list[bytes]:
        chunks = [self._chunk(index, delta, finish) for index, delta, finish in self.take(event)]
        options = self._request.stream_options
        if self.done is not None and options is not None and options.include_usage:
            about = {"usage": wire.usage(self.done), "timings": wire.timings(self.done)}
            chunks.append(_event({**self._head, "object": "chat.completion.chunk", "choices": [], **about}))
        return chunks

    def _chunk(self, index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def _progress(self, event: Progress) -> bytes:
        about = {"prompt_progress": wire.progress(event)}
        return _event({**self._head, "object": "chat.completion.chunk", "choices": [], **about})

    def _beat(self, last: Progress | None) -> bytes:
        """A sign of life: the progress once more while the prompt is read, a comment otherwise."""
        if last is not None and self._request.return_progress:
            waited = (time.monotonic() - self._told_at) * 1e3
            return self._progress(msgspec.structs.replace(last, time_ms=last.time_ms + waited))
        return b": working\n\n"


async def _guarded(service: Service, completion: Completion) -> AsyncGenerator[bytes, None]:
    """Whatever ends the stream - the answer, a failure, a client that left - ends the job."""
    with service.in_use():
        try:
            async for chunk in completion.stream():
                yield chunk
        finally:
            completion.job.cancel()


async def _answer_whole(request: Request, completion: Completion) -> Response:
    watcher = asyncio.create_task(_disconnected(request))
    try:
        while completion.done is None:
            events = await completion.listener.next(_BEAT_S)
            if watcher.done():
                return Response(status_code=499)
            for event in events or []:
                if isinstance(event, Failed):
                    return _json(wire.error_body(event.fault), event.fault.status)
                completion.take(event)
        return _json(completion.result())
    finally:
        completion.job.cancel()
        watcher.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise BadRequest("The request is larger than 64 MiB.")
    return bytes(body)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
