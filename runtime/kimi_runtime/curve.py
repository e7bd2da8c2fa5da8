"""How long a step takes by the number of its tokens: guessed, measured, then corrected by every step.

On few cores the curve is far from a line (16 tokens cost little more than 4), and everything that chooses
how much to put into a step needs it. Knows no model.
"""

import bisect
from pathlib import Path

import msgspec

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MEASURED = SIZES[:7]
"""What is worth measuring before it is needed; larger steps are observed when prompts are read."""

_GUESS = (1.0, 1.9, 3.6, 6.5, 9.0, 13.0, 22.0, 41.0, 77.0, 154.0)
_BYTES_PER_S = 12e9
_WEIGHT = 0.2
_NEAR = 1.25


class StepCurve:
    """Seconds of a step by its tokens."""

    def __init__(self, model_bytes: int) -> None:
        self._seconds = [factor * model_bytes / _BYTES_PER_S for factor in _GUESS]
        self._seen = [False] * len(SIZES)

    @property
    def is_measured(self) -> bool:
        return all(self._seen[: len(MEASURED)])

    def observe(self, tokens: int, seconds: float) -> None:
        """Note how long a step took."""
        at = min(range(len(SIZES)), key=lambda i: abs(SIZES[i] - tokens))
        if not SIZES[at] / _NEAR <= tokens <= SIZES[at] * _NEAR:
            return
        seconds *= SIZES[at] / tokens
        if self._seen[at]:
            self._seconds[at] += _WEIGHT * (seconds - self._seconds[at])
            return
        # The first figure corrects the guesses for the sizes that were not seen yet, too.
        factor = seconds / self._seconds[at]
        self._seconds = [
            old if seen else old * factor for old, seen in zip(self._seconds, self._seen, strict=True)
        ]
        self._seconds[at] = seconds
        self._seen[at] = True

    def seconds(self, tokens: int) -> float:
        """Expected seconds of a step of so many tokens; never less for more."""
        at = bisect.bisect_left(SIZES, tokens)
        if at == 0:
            return self._seconds[0]
        below = max(self._seconds[:at])
        if at == len(SIZES):
            return below * tokens / SIZES[-1]
        low, high = SIZES[at - 1], SIZES[at]
        above = max(below, self._seconds[at])
        return below + (above - below) * (tokens - low) / (high - low)

    def most(self, seconds: float, base: int, limit: int) -> int:
        """How many tokens, at most `limit`, can join a step of `base` tokens so that it ends in time."""
        for size in reversed(SIZES):
            if size <= limit and self.seconds(base + size) <= seconds:
                return min(size, limit)
        return 0

    def save(self, path: Path) -> None:
        """Keep the figures for the next start; a full disk is no error."""
        try:
            path.write_bytes(msgspec.json.encode([self._seconds, self._seen]))
        except OSError:
            return

    def restore(self, path: Path) -> None:
        """Take the figures of an earlier start, if they can be read."""
        try:
            seconds, seen = msgspec.json.decode(path.read_bytes(), type=tuple[list[float], list[bool]])
        except (OSError, msgspec.DecodeError):
            return
        if len(seconds) == len(seen) == len(SIZES) and min(seconds) > 0:
            self._seconds, self._seen = seconds, seen
