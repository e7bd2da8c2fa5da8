"""A scripted server, and a model that talks to it with a clock that does not wait."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import settings

from kimi_code.adapters.endpoint import Silence
from kimi_code.adapters.openai import OpenAIModel
from kimi_testing.clock import FakeClock
from kimi_testing.script import Script, ScriptedReply
from kimi_testing.server import ScriptedServer

# The machine may be busy: how long an example takes says nothing. The same examples in every run of the gate.
settings.register_profile("gate", deadline=None, derandomize=True, database=None)
settings.load_profile("gate")

Serve = Callable[..., Awaitable[tuple[ScriptedServer, OpenAIModel]]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def key() -> str:
    return "sk-very-secret-key-1234567890"


@pytest.fixture
def carrier() -> str:
    """Which client carries the requests: `direct`, or `hosted`, with the server itself as the proxy."""
    return "direct"


@pytest.fixture
async def serve(
    clock: FakeClock, key: str, carrier: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Serve, None]:
    """`await serve(*replies, script=..., silence_s=..., ...)`: the server, and the model."""
    async with AsyncExitStack() as stack:

        async def start(
            *replies: ScriptedReply, script: Script | None = None, silence_s: float = 20.0, **fields: Any
        ) -> tuple[ScriptedServer, OpenAIModel]:
            script = script or Script(replies=list(replies), then="fail", **fields)
            server = await stack.enter_async_context(ScriptedServer(script))
            silence = Silence(first=silence_s, between=silence_s)
            url = server.url
            if carrier == "hosted":
                monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
                url = "http://models.invalid/v1"
            model = OpenAIModel(url, "scripted", key, silence=silence, clock=clock)
            stack.push_async_callback(model.close)
            return server, model

        yield start
