"""When to try again, and when to give up. Knows no server: it counts failures and seconds.

Three kinds of failure have budgets of their own:

    connect   no connection: 20 s in all, so that an unreachable server ends a run well within a minute
    busy      429 and 5xx: 45 s, or 5 min where the server itself says how long to wait
    broken    a connection that died, a cut stream, an answer that is not the protocol: 4 repeats
    silent    nothing came for as long as one waits for this server: 2 repeats
"""

import asyncio
import email.utils
import random
import time
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from kimi_code.errors import ModelFailure

Kind = Literal["connect", "busy", "broken", "silent"]


class Clock(Protocol):
    """Time for retries; tests bring their own."""

    def now(self) -> float:
        """Seconds, monotonic."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, for Retry-After dates."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The real one."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Budgets. Delays double from `first_s` up to `most_s`; jitter takes off up to a half."""

    connect_s: float = 20.0
    busy_s: float = 45.0
    told_s: float = 300.0
    repeats: int = 4
    silent_repeats: int = 2
    first_s: float = 0.5
    most_s: float = 10.0


class Transient(Exception):
    """An attempt failed in a way that may pass. `failure` is what a person is told if it does not."""

    def __init__(self, failure: ModelFailure, kind: Kind, *, wait_s: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.kind: Kind = kind
        self.wait_s = wait_s


class Retries:
    """Of one request."""

    def __init__(self, patience: Patience, clock: Clock) -> None:
        self._patience = patience
        self._clock = clock
        self._began: float | None = None
        self._broken = 0
        self._silent = 0
        self.attempt = 0

    def next_delay(self, failed: Transient) -> float:
        """Seconds to wait before the next attempt. Raises the failure when the budget is spent."""
        now = self._clock.now()
        if self._began is None:
            self._began = now
        self.attempt += 1
        patience = self._patience
        delay = min(patience.most_s, patience.first_s * 2 ** min(self.attempt - 1, 16))
        delay *= random.uniform(0.5, 1.0)
        if failed.kind in ("broken", "silent"):
            self._broken += 1
            self._silent += failed.kind == "silent"
            if self._broken > patience.repeats or self._silent > patience.silent_repeats:
                raise failed.failure
            return delay
        budget = patience.connect_s if failed.kind == "connect" else patience.busy_s
        if failed.wait_s is not None:
            delay = failed.wait_s
            budget = patience.told_s
        if now - self._began + delay > budget:
            raise failed.failure
        return delay


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Seconds that a server asks to wait: Retry-After in seconds or as a date, or retry-after-ms."""
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - wall)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None
