"""Any OpenAI-compatible server, and our own runtime, as a Model. Knows no tool and no terminal.

A silent connection is what ends a wait, never the wall clock: a server may take ten minutes over a prompt, so
long as it lives. An answer counts when its end was seen; one that was cut off is asked for again, and what it
had begun to call is not run.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from kimi_code.adapters import failures
from kimi_code.adapters.address import parse_address
from kimi_code.adapters.endpoint import FAR, NEAR, RUNTIME, Ending, Endpoint, FieldRefused, Silence
from kimi_code.adapters.failures import Server
from kimi_code.adapters.gather import Gathering, Offer
from kimi_code.adapters.http import HttpClient
from kimi_code.adapters.retry import Clock, Patience, Retries, SystemClock, Transient
from kimi_code.adapters.wire import (
    BodyBuilder,
    ChoicePart,
    Flavour,
)
from kimi_code.agent.ports import Chunk, ModelInfo, Reply, Request, Retrying, Working
from kimi_code.errors import Refused
from kimi_code.events import Usage

UNKNOWN_CONTEXT = 131_072
_MOONSHOT = ("moonshot.ai", "moonshot.cn", "kimi.com", "kimi.ai")
_STRICT = ("api.openai.com",)  # refuses fields it does not know


class OpenAIModel:
    """Implements `Model`. With `uds` the URL is only a name, and the server is our own runtime.

    An empty `model` means the first that the server lists. `context` (tokens) is the most to be used; the
    server's own limit is asked for and counts where it is lower.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str = "",
        *,
        uds: str | None = None,
        context: int | None = None,
        silence: Silence | None = None,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        address = parse_address(base_url, uds)
        api_key = api_key.strip()
        self._address = address
        self._server = Server(address.shown, model, api_key)
        self._http = HttpClient(address, api_key, self._server)
        self._context = context
        self._patience = patience or Patience()
        self._clock = clock or SystemClock()
        self._body = BodyBuilder(model, flavour=flavour_of(address.host), progress=uds is not None)
        self.silence = silence or (RUNTIME if uds else NEAR if address.near else FAR)
        self._endpoint = Endpoint(self._http, self._server, self._body, self.silence, self._clock)
        self._info: ModelInfo | None = None
        self._single = False

    def __repr__(self) -> str:
        return f"OpenAIModel({self._address.shown!r}, {self._server.model!r})"

    # ------------------------------------------------------------ open, close

    async def open(self) -> ModelInfo:
        """Ask the server what its context is. Asked once; a server that does not answer is asked again.

        Never fails: what is wrong with the server shows in `stream`, where retries can be told.
        """
        if self._info is not None:
            return self._info
        entry = await self._endpoint.models()
        if entry is None:
            return self._describe(None, None)
        if not self._server.model and entry.id:
            self._server.model = self._body.model = entry.id
        context = entry.context
        if entry.is_llama_server:
            self._body.progress = True
            context = context or await self._endpoint.props()
        self._info = self._describe(context, entry.billions)
        return self._info

    def _describe(self, context: int | None, billions: float | None) -> ModelInfo:
        sizes = [size for size in (context, self._context) if size]
        return ModelInfo(
            name=self._server.model or "default",
            context=min(sizes) if sizes else UNKNOWN_CONTEXT,
            local=self._address.uds is not None,
            billions=billions,
        )

    async def close(self) -> None:
        await self._http.close()

    # ------------------------------------------------------------ one answer

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """One answer, attempt after attempt until the retries are spent."""
        await self._need_name()
        retries = Retries(self._patience, self._clock)
        while True:
            body = self._body.build(request)
            offer = Offer(request.tools, self._body.ids)
            try:
                async with aclosing(self._attempt(body, offer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except FieldRefused:
                continue
            except Transient as failed:
                delay = retries.next_delay(failed)
                error = failed.failure.message
            yield Retrying(attempt=retries.attempt, delay_s=round(delay, 3), error=error)
            await self._clock.sleep(delay)

    async def _need_name(self) -> None:
        if not self._server.model:
            await self.open()

    async def _attempt(self, body: bytes, offer: Offer) -> AsyncGenerator[Chunk, None]:
        gathering, ending = Gathering(), Ending()
        try:
            async with aclosing(self._endpoint.parts(body, ending)) as parts:
                async for part in parts:
                    if (progress := part.prompt_progress) is not None:
                        yield Working(phase=progress.phase, done=progress.processed, total=progress.total)
                    for choice in part.choices or ():
                        if not choice.index and (delta := gathering.add(choice)) is not None:
                            ending.speaking = True
                            yield delta
                    if part.usage is not None:
                        gathering.usage = part.usage
        except Transient:
            # After the finish reason nothing that goes wrong matters: only the usage was still to come.
            if gathering.finish is None:
                raise
        self._require_end(gathering, ending)
        yield self._reply(gathering, offer, gathering.usage.usage() if gathering.usage else Usage())

    def _require_end(self, gathering: Gathering, ending: "Ending") -> None:
        """A finish reason is an end. [DONE] alone is one where no call could have been cut off."""
        if gathering.finish is not None or (ending.done and gathering.has_whole_calls()):
            return
        what = "broke off in the middle of a tool call" if gathering.pending else "ended its answer too early"
        raise failures.broken(self._server, what)

    def _reply(self, gathering: Gathering, offer: Offer, usage: Usage) -> Reply:
        if gathering.thinking_field:
            self._body.thinking_field = gathering.thinking_field
        return gathering.reply(offer, usage)

    # ------------------------------------------------------------ several answers

    async def sample(self, request: Request, count: int) -> AsyncGenerator[Reply, None]:
        """One request with `n` where the server can; what it leaves out is asked for singly, all at once."""
        told = 0
        if count > 1 and not self._single:
            async with aclosing(self._sample_together(request, count)) as replies:
                async for reply in replies:
                    told += 1
                    yield reply
        if told < count:
            async with aclosing(self._sample_singly(request, told, count)) as replies:
                async for reply in replies:
                    yield reply

    async def _sample_together(self, request: Request, count: int) -> AsyncGenerator[Reply, None]:
        await self._need_name()
        retries = Retries(self._patience, self._clock)
        told = 0
        while told < count:
            body = self._body.build(_reseeded(request, told), count=count - told)
            offer = Offer(request.tools, self._body.ids)
            before = told
            try:
                async with aclosing(self._choices(body, offer)) as replies:
                    async for reply in replies:
                        told += 1
                        yield reply
            except FieldRefused:
                continue
            except Refused:
                if told or self._address.uds is not None:
                    raise
                self._single = True  # it may be `n` that it does not like
                return
            except Transient as failed:
                await self._clock.sleep(retries.next_delay(failed))
                continue
            if told - before == 1 and told < count:
                self._single = True  # it does not know `n`
                return

    async def _choices(self, body: bytes, offer: Offer) -> AsyncGenerator[Reply, None]:
        """Replies as their choices end; the last waits for the usage, which servers tell for all together."""
        gatherings: dict[int, Gathering] = {}
        ending, shares = Ending(), _Shares()
        held: Gathering | None = None
        try:
            async with aclosing(self._endpoint.parts(body, ending)) as parts:
                async for part in parts:
                    if part.usage is not None:
                        shares.total = part.usage.usage()
                    for choice in part.choices or ():
                        ending.speaking = True
                        gathering = gatherings.setdefault(choice.index or 0, Gathering())
                        if not _ends(gathering, choice):
                            continue
                        if held is not None:
                            yield self._reply(held, offer, shares.of(held))
                        held = gathering
        except Transient:
            if held is not None:
                yield self._reply(held, offer, shares.of(held))
            raise
        if held is None:
            raise failures.broken(self._server, "ended its answer too early")
        yield self._reply(held, offer, shares.rest(held))

    async def _sample_singly(self, request: Request, first: int, count: int) -> AsyncGenerator[Reply, None]:
        done: asyncio.Queue[Reply | BaseException] = asyncio.Queue()

        async def one(number: int) -> None:
            try:
                async with aclosing(self.stream(_reseeded(request, number))) as chunks:
                    async for chunk in chunks:
                        if isinstance(chunk, Reply):
                            done.put_nowait(chunk)
            except BaseException as error:
                done.put_nowait(error)
                raise

        tasks = [asyncio.create_task(one(number)) for number in range(first, count)]
        try:
            for _ in tasks:
                result = await done.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Shares:
    """Who used which tokens, where a server tells it for all answers together."""

    def __init__(self) -> None:
        self.total = Usage()
        self._spent = Usage()

    def of(self, gathering: Gathering) -> Usage:
        """What the server told for this answer alone."""
        usage = gathering.usage.usage() if gathering.usage is not None else Usage()
        self._spent += usage
        return usage

    def rest(self, gathering: Gathering) -> Usage:
        """What no other answer was charged with."""
        if gathering.usage is not None:
            return gathering.usage.usage()
        total, spent = self.total, self._spent
        return Usage(
            prompt=max(0, total.prompt - spent.prompt),
            cached=max(0, total.cached - spent.cached),
            completion=max(0, total.completion - spent.completion),
            thinking=max(0, total.thinking - spent.thinking),
        )


def _ends(gathering: Gathering, choice: ChoicePart) -> bool:
    """Take the part; whether the answer ended with it."""
    open_before = gathering.finish is None
    gathering.add(choice)
    return open_before and gathering.finish is not None


def _reseeded(request: Request, number: int) -> Request:
    """The request for answer `number`: with a seed of its own, where a seed is given."""
    seed = request.sampling.seed
    if seed is None or number == 0:
        return request
    sampling = msgspec.structs.replace(request.sampling, seed=seed + number)
    return msgspec.structs.replace(request, sampling=sampling)


def flavour_of(host: str) -> Flavour:
    """How the server at `host` is told to think."""

    def of(names: tuple[str, ...]) -> bool:
        return any(host == name or host.endswith("." + name) for name in names)

    if of(_MOONSHOT):
        return "moonshot"
    return "plain" if of(_STRICT) else "template"
