"""Where commands wait until the loop reaches a point at which it can take them. Knows no face."""

import asyncio
from collections import deque

from kimi_code.commands import Say
from kimi_code.events import Decision


class Inbox:
    """What a person said while a turn runs, and the answers that calls wait for."""

    def __init__(self) -> None:
        self._said: deque[Say] = deque()
        self._waiting: dict[str, asyncio.Future[tuple[Decision, str]]] = {}

    def say(self, message: Say) -> None:
        self._said.append(message)

    def take(self) -> Say | None:
        return self._said.popleft() if self._said else None

    def answer(self, approval: str, decision: Decision, by: str) -> bool:
        """False where nothing waits for that answer (it came twice, or too late)."""
        waiting = self._waiting.pop(approval, None)
        if waiting is None or waiting.done():
            return False
        waiting.set_result((decision, by))
        return True

    async def wait_for_answer(self, approval: str) -> tuple[Decision, str]:
        future: asyncio.Future[tuple[Decision, str]] = asyncio.get_running_loop().create_future()
        self._waiting[approval] = future
        try:
            return await future
        finally:
            self._waiting.pop(approval, None)
