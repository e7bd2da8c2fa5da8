"""Runs one task without a screen: submit it, show what is told, return the exit code."""

import asyncio
import signal
from collections.abc import Callable

from kimi_code.agent.engine import Engine
from kimi_code.commands import Interrupt, Say, Stop
from kimi_code.events import ErrorRaised, Fact, Result
from kimi_code.headless.output import Output, complain, explain
from kimi_code.session.codec import Record

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_task(
    engine: Engine, opening: tuple[Fact, ...], task: Say, output: Output, show: Callable[[Record], None]
) -> int:
    """The exit code of the contract. A signal ends the turn in order; it is resumable then."""
    exit_code = 1

    def follow(record: Record) -> None:
        nonlocal exit_code
        show(record)  # first: it clears its last line before the answer is written
        output.show(record)
        if isinstance(record.event, ErrorRaised):
            complain(record.event)
        if isinstance(record.event, Result):
            exit_code = record.event.exit_code
            explain(record.event)

    engine.session.log.listen(follow)
    for fact in opening:
        engine.session.append(fact)
    loop = asyncio.get_running_loop()
    for number in _ENDINGS:
        loop.add_signal_handler(number, lambda: engine.submit(Interrupt()))
    try:
        engine.submit(task)
        engine.submit(Stop())
        await engine.run()
    finally:
        for number in _ENDINGS:
            loop.remove_signal_handler(number)
    return exit_code
