"""`kimi-code models check`: does a model call tools rightly? Asks it through the worker that serves runs.

Each schema gets calls that are required (half of them by name); one request in ten is asked once more
without a choice made for it, and once where no call may be. Schema accuracy is 100 % by construction; this
says whether it is so.
"""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kimi_code.config import paths
from kimi_code.errors import Interrupted, ModelFailure, ModelMissing
from kimi_runtime import catalogue, store
from kimi_runtime.failures import RuntimeFailure

if TYPE_CHECKING:
    import httpx2

    from kimi_runtime.selftest import Case, Choice, Outcome, Report

_SCHEMAS = 100
_AT_ONCE = 8
_CALL_TOKENS = 1024
_TEXT_TOKENS = 48


def check(
    model: Annotated[
        str, typer.Argument(metavar="NAME|FILE.gguf", help="The model to check.")
    ] = catalogue.DEFAULT,
    calls: Annotated[int, typer.Option("--calls", min=1, help="How many calls to ask for.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Another seed asks for other calls.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that a model's tool calls end as they must and satisfy their schemas.

    Exit code 0 when every call does.
    """
    try:
        path = store.resolve(model, paths.models_dir())
        if path is None:
            raise ModelMissing(
                f"There is no model {model!r} on this machine.", hint="See: kimi-code models list"
            )
        found = asyncio.run(_run(path, calls, seed))
    except RuntimeFailure as error:
        raise ModelFailure(error.message, hint=error.hint) from error
    except KeyboardInterrupt:
        raise Interrupted("Stopped.") from None
    _show(path.stem, found, as_json=as_json)
    if found.valid < found.calls:
        raise typer.Exit(1)


async def _run(path: Path, calls: int, seed: int) -> "Report":
    import httpx2

    from kimi_runtime.selftest import cases, report
    from kimi_runtime.spawn import ensure_worker

    socket = await ensure_worker(path, run_dir=paths.run_dir(), cache_dir=paths.cache_dir(), ctx=None)
    tried = cases(min(calls, _SCHEMAS), seed)
    gate = asyncio.Semaphore(_AT_ONCE)
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://runtime", timeout=httpx2.Timeout(1800)
    ) as client:

        async def ask(at: int, choice: "Choice", count: int) -> list["Outcome"]:
            async with gate:
                return await _ask(client, tried, at, choice, count, seed)

        asked = [
            ask(at, "named" if at % 2 else "required", calls // len(tried) + (at < calls % len(tried)))
            for at in range(len(tried))
        ]
        for at in range(0, len(tried), 10):
            asked += [ask(at, "auto", 1), ask(at, "none", 1)]
        try:
            answered = await asyncio.gather(*asked)
        except httpx2.HTTPError as error:
            raise ModelFailure(
                f"The worker did not answer: {type(error).__name__}.", hint="Try again."
            ) from error
    return report(tried, [outcome for outcomes in answered for outcome in outcomes])


async def _ask(
    client: "httpx2.AsyncClient", tried: list["Case"], at: int, choice: "Choice", count: int, seed: int
) -> list["Outcome"]:
    """`count` answers to one request that offers the tool and two others."""
    from kimi_runtime.selftest import Outcome

    case = tried[at]
    offered = {case.name: case, **{other.name: other for other in (tried[at - 1], tried[at - 2])}}
    named = {"type": "function", "function": {"name": case.name}}
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": case.prompt}],
        "tools": [one.tool for one in offered.values()],
        "tool_choice": named if choice == "named" else choice,
        "parallel_tool_calls": False,
        "temperature": 1.0,
        "seed": seed * 1000 + at,
        "n": count,
        "max_tokens": _TEXT_TOKENS if choice == "none" else _CALL_TOKENS,
    }
    if choice == "auto":
        body["max_tokens"] = _CALL_TOKENS // 4
    response = await client.post("/v1/chat/completions", json=body)
    answer = response.json()
    if response.status_code != 200:
        raise ModelFailure(f"The worker refused a request: {answer['error']['message']}")
    outcomes: list[Outcome] = []
    for one in answer["choices"]:
        calls: list[dict[str, Any]] = one["message"].get("tool_calls") or []
        made: list[dict[str, str]] = [call["function"] for call in calls]
        found = tuple((function["name"], function["arguments"]) for function in made)
        outcomes.append(Outcome(case=case.name, choice=choice, finish=one["finish_reason"], calls=found))
    return outcomes


def _show(name: str, found: "Report", *, as_json: bool) -> None:
    if as_json:
        import msgspec

        typer.echo(json.dumps({"model": name, **msgspec.to_builtins(found)}, indent=2))
        return
    rows = [
        ("schema accuracy", f"{found.accuracy:.1%}  ({found.valid} of {found.calls} calls)"),
        ("schemas", str(found.schemas)),
        ("tool call F1", f"{found.f1:.3f}"),
        ("call required", f"{found.required[0]} of {found.required[1]} ended with a call"),
        ("no call allowed", f"{found.none[0]} of {found.none[1]} ended without one"),
        ("left to the model", f"{found.auto[0]} of {found.auto[1]} ended with a call"),
    ]
    for label, value in rows:
        typer.echo(f"{label:<19}{value}")
    for sentence in found.wrong[:10]:
        typer.echo(f"  {sentence}")
