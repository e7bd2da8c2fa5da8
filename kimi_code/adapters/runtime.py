"""The embedded runtime as a Model: starts its worker, asks it as any server, restarts it when it dies."""

from collections.abc import AsyncGenerator
from pathlib import Path

from kimi_code.adapters.openai import OpenAIModel
from kimi_code.adapters.retry import Patience
from kimi_code.agent.ports import Chunk, ModelInfo, Reply, Request, Retrying
from kimi_code.errors import ModelFailure, Unreachable
from kimi_runtime.failures import RuntimeFailure
from kimi_runtime.spawn import ensure_worker

_RESTARTS = 2


class LocalModel:
    """Implements `Model` for a GGUF file. `billions`: its parameter count, where known."""

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        billions: float | None,
        run_dir: Path,
        cache_dir: Path,
        context: int | None,
        idle_s: float,
    ) -> None:
        self._path = path
        self._name = name
        self._billions = billions
        self._run_dir = run_dir
        self._cache_dir = cache_dir
        self._context = context
        self._idle_s = idle_s
        self._server: OpenAIModel | None = None

    async def open(self) -> ModelInfo:
        server = await self._ensure()
        info = await server.open()
        return ModelInfo(name=self._name, context=info.context, local=True, billions=self._billions)

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        for restart in range(_RESTARTS + 1):
            server = await self._ensure()
            try:
                async for chunk in server.stream(request):
                    yield chunk
                return
            except Unreachable as dead:
                await self._drop()
                if restart == _RESTARTS:
                    raise
                yield Retrying(attempt=restart + 1, delay_s=0.0, error=f"the runtime ended: {dead.message}")

    async def sample(self, request: Request, count: int) -> AsyncGenerator[Reply, None]:
        done = 0
        for restart in range(_RESTARTS + 1):
            server = await self._ensure()
            try:
                async for reply in server.sample(request, count - done):
                    done += 1
                    yield reply
                return
            except Unreachable:
                await self._drop()
                if restart == _RESTARTS:
                    raise

    async def close(self) -> None:
        await self._drop()

    async def _drop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _ensure(self) -> OpenAIModel:
        if self._server is None:
            try:
                socket = await ensure_worker(
                    self._path,
                    run_dir=self._run_dir,
                    cache_dir=self._cache_dir,
                    ctx=self._context,
                    idle_s=self._idle_s,
                )
            except RuntimeFailure as failure:
                raise ModelFailure(failure.message, hint=failure.hint) from failure
            self._server = OpenAIModel(
                "http://runtime/v1", self._name, uds=str(socket), patience=Patience(connect_s=2)
            )
        return self._server
