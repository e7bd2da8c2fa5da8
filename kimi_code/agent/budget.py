"""How much a turn may spend: steps, tokens, seconds. Knows no clock but the one it is given."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from kimi_code.events import EndReason, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None is no limit. A step is one model reply; tokens are prompt + completion; seconds are wall time."""

    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None


class Budget:
    """What one turn has spent of its limits."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._began = clock()
        self.steps = 0
        self.usage = Usage()

    def spend(self, usage: Usage, *, steps: int = 1) -> None:
        self.steps += steps
        self.usage = self.usage + usage

    @property
    def elapsed(self) -> float:
        return self._clock() - self._began

    @property
    def seconds_left(self) -> float | None:
        if self.limits.seconds is None:
            return None
        return max(0.0, self.limits.seconds - self.elapsed)

    @property
    def steps_left(self) -> int | None:
        return None if self.limits.steps is None else max(0, self.limits.steps - self.steps)

    def spent(self) -> tuple[EndReason, str] | None:
        """Why nothing more may be asked of the model, None while something may."""
        limits = self.limits
        if limits.steps is not None and self.steps >= limits.steps:
            return "step_limit", f"{self.steps} of {limits.steps} steps were used"
        tokens = self.usage.prompt + self.usage.completion
        if limits.tokens is not None and tokens >= limits.tokens:
            return "token_limit", f"{tokens} of {limits.tokens} tokens were used"
        if limits.seconds is not None and self.elapsed >= limits.seconds:
            return "time_limit", f"{limits.seconds:g} s are over"
        return None
