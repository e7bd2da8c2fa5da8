"""Short ways to ask a model something in a test. Knows the port, no implementation."""

from kimi_code.agent.ports import Chunk, Message, Model, Reply, Request, Retrying, Sampling, ToolSpec

BASH = ToolSpec(
    name="Bash",
    description="Run a command.",
    parameters={
        "type": "object",
        "properties": {"command": {"type": "string"}, "timeout": {"type": "integer"}},
        "required": ["command"],
    },
)


def ask(text: str = "hi", *more: Message, sampling: Sampling | None = None, tools: bool = True) -> Request:
    """A request that offers Bash: `text` from the user, then `more`."""
    return Request(
        system="You help.",
        tools=(BASH,) if tools else (),
        messages=(Message(role="user", text=text), *more),
        sampling=sampling or Sampling(),
    )


async def collect(
    model: Model, request: Request | None = None, *, into: list[Chunk] | None = None
) -> list[Chunk]:
    """All chunks of one answer; `into` keeps those before a failure."""
    chunks: list[Chunk] = [] if into is None else into
    async for chunk in model.stream(request or ask()):
        chunks.append(chunk)  # noqa: PERF401 - what came before a failure must stay
    return chunks


async def reply_of(model: Model, request: Request | None = None) -> Reply:
    """The answer; AssertionError when the last chunk is none."""
    last = (await collect(model, request))[-1]
    assert isinstance(last, Reply)
    return last


def retries_in(chunks: list[Chunk]) -> list[Retrying]:
    return [chunk for chunk in chunks if isinstance(chunk, Retrying)]
