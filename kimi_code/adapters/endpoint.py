"""The chat-completions endpoint of one server: bodies in, decoded chunks out. Knows no reply and no retry."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from kimi_code.adapters import failures
from kimi_code.adapters.failures import Server
from kimi_code.adapters.http import HttpClient, Response
from kimi_code.adapters.retry import Clock, Transient
from kimi_code.adapters.sse import EventDecoder
from kimi_code.adapters.wire import (
    UNDECODABLE,
    BodyBuilder,
    ChunkPart,
    ModelEntry,
    ModelList,
    NotDecodable,
    ServerProps,
    decode_chunk,
)

_DONE = b"[DONE]"
_MAX_PLAIN = 64 << 20
_MAX_ERROR = 64 << 10
_MODELS_S = 5.0
_DRAIN_S = 1.0


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds without a single byte after which a connection counts as dead.

    `first` is before the first word: a server that is alone with a long prompt computes, and may say nothing
    meanwhile. `between` is between the words of an answer, where even experts read from disk are quicker.
    """

    first: float
    between: float


NEAR = Silence(first=900.0, between=120.0)
"""One's own server: 60 tokens a second over a prompt of 50,000 is 14 minutes."""
FAR = Silence(first=300.0, between=60.0)
"""A hosted service answers with headers or comments while a request waits."""
RUNTIME = Silence(first=60.0, between=60.0)
"""Our own runtime tells its progress every second, loading included."""


class FieldRefused(Exception):
    """The server refused an optional field, which will be left out."""


@dataclass(slots=True)
class Ending:
    """How far an answer came: whether it has begun to speak, and whether [DONE] was seen."""

    speaking: bool = False
    done: bool = False


class Endpoint:
    """Asks one server, once for each request."""

    def __init__(
        self, http: HttpClient, server: Server, body: BodyBuilder, silence: Silence, clock: Clock
    ) -> None:
        self._http = http
        self._server = server
        self._body = body
        self._silence = silence
        self._clock = clock

    async def models(self) -> ModelEntry | None:
        """This model's entry; an empty one where the server lists none of that name; None: no answer."""
        body = await self._fetch("/models")
        if body is None:
            return None
        try:
            listed = msgspec.json.decode(body, type=ModelList).data
        except UNDECODABLE:
            return ModelEntry()
        self._server.listed = tuple(entry.id for entry in listed)
        named = [entry for entry in listed if entry.id == self._server.model]
        if not named and (len(listed) == 1 or not self._server.model):
            named = listed[:1]  # a server of one model mostly takes any name for it
        return named[0] if named else ModelEntry()

    async def props(self) -> int | None:
        body = await self._fetch("/props")
        try:
            props = msgspec.json.decode(body or b"{}", type=ServerProps)
        except UNDECODABLE:
            return None
        settings = props.default_generation_settings
        return settings.n_ctx if settings is not None else None

    async def _fetch(self, path: str) -> bytes | None:
        """None: there was no answer, or none for now. A refusal is an empty object."""
        try:
            async with (
                asyncio.timeout(_MODELS_S),
                self._http.exchange("GET", path, first_s=_MODELS_S) as response,
            ):
                body = await response.read(_MAX_PLAIN)
                if response.status == 429 or response.status >= 500:
                    return None
                return body if response.status == 200 else b"{}"
        except (Transient, TimeoutError):
            return None

    async def parts(self, body: bytes, ending: Ending) -> AsyncGenerator[ChunkPart, None]:
        """The chunks of one answer. Raises Transient, or a ModelFailure that no retry would mend."""
        async with self._http.exchange(
            "POST", "/chat/completions", body, first_s=self._silence.first
        ) as response:
            if response.status != 200:
                raise await self._error(response)
            if response.content_type.startswith("application/json"):
                yield self._plain(await response.read(_MAX_PLAIN))
                ending.done = True
                return
            if "html" in response.content_type:
                raise failures.not_the_protocol(self._server, response.content_type, b"")
            async with aclosing(self._events(response, ending)) as parts:
                async for part in parts:
                    yield part

    async def _events(self, response: Response, ending: Ending) -> AsyncGenerator[ChunkPart, None]:
        decoder = EventDecoder()
        async with aclosing(response.chunks()) as chunks:
            async for data in chunks:
                for event in decoder.feed(data):
                    if not event:
                        continue
                    if event.startswith(_DONE):
                        ending.done = True
                        break
                    yield self._decode(event)
                if ending.done:
                    break
                response.silence = self._silence.between if ending.speaking else self._silence.first
            if ending.done:
                await _drain(response, chunks)

    def _decode(self, event: bytes) -> ChunkPart:
        try:
            part = decode_chunk(event)
        except NotDecodable as error:
            raise failures.malformed(self._server, "sent a part of its answer that is not JSON") from error
        if part.error:
            raise failures.from_error_object(part.error, self._server)
        return part

    def _plain(self, body: bytes) -> ChunkPart:
        part = self._decode(body)
        for choice in part.choices or ():
            choice.finish_reason = choice.finish_reason or "stop"
        if not part.choices:
            raise failures.malformed(self._server, "sent an answer without any choice in it")
        return part

    async def _error(self, response: Response) -> Exception:
        body = await response.read(_MAX_ERROR)
        if response.status in (400, 422) and self._body.give_up_field(body.decode(errors="replace")):
            return FieldRefused()
        if response.status in (400, 404, 422) and not self._server.listed:
            await self.models()
        return failures.from_status(response.status, response.headers, body, self._server, self._clock.wall())


async def _drain(response: Response, chunks: AsyncGenerator[bytes, None]) -> None:
    """Read to the end of the body, so that the connection can be used again."""
    response.silence = _DRAIN_S
    try:
        async for _ in chunks:
            pass
    except Transient:
        pass
