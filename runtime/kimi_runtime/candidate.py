"""One answer being written: its tokens, its text, and when it must stop. Knows no batch."""

import codecs
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from kimi_runtime.cells import Sequence
from kimi_runtime.drafts import Drafter
from kimi_runtime.pool import Parked

EndReason = Literal["stop", "length", "loop"]

_LOOP_TOKENS = 200
_LOOP_REPEATS = 5
_MAX_PERIOD = 80


class Constraint(Protocol):
    """What the next tokens of one answer may be. Called from the engine's thread only."""

    def accept(self, token: int) -> None:
        """Note that the answer went on with this token."""
        ...

    def forced(self) -> list[int]:
        """Tokens that must come next whatever the model thinks; they are accepted with it."""
        ...

    def apply(self, row: NDArray[np.float32]) -> None:
        """Set the logits (vocabulary,) of what must not come next to minus infinity."""
        ...


class StopFinder:
    """Looks for stop strings in text that arrives in pieces; holds back what may be the beginning of one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """The text that is certain, and whether a stop string was reached (it is not part of the text)."""
        if not self._stops:
            return text, False
        whole = self._held + text
        found = [at for stop in self._stops if (at := whole.find(stop)) >= 0]
        if found:
            self._held = ""
            return whole[: min(found)], True
        keep = max(_overlap(whole, stop) for stop in self._stops)
        self._held = whole[len(whole) - keep :]
        return whole[: len(whole) - keep], False

    def rest(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def loops(tokens: list[int]) -> bool:
    """Whether the answer ends in the same cycle of tokens over and over: at least 200 tokens and 5 rounds
    of it."""
    if len(tokens) < _LOOP_TOKENS:
        return False
    tail = np.asarray(tokens[-_LOOP_REPEATS * _MAX_PERIOD :], dtype=np.int32)
    for period in range(1, _MAX_PERIOD + 1):
        span = max(_LOOP_TOKENS, _LOOP_REPEATS * period)
        if span > len(tail):
            return False
        part = tail[len(tail) - span :]
        if part[-1] == part[-1 - period] and np.array_equal(part[period:], part[:-period]):
            return True
    return False


class Candidate:
    """`index` numbers the candidates of a request; `pending` are tokens to be decoded next: chosen ones, and
    before them any whose state was lost. `rank` (priority, ticket): the lowest goes first. While it waits
    for its turn, `parked` holds its state."""

    def __init__(
        self,
        index: int,
        *,
        sequence: Sequence,
        limit: int,
        stops: tuple[str, ...],
        generator: np.random.Generator,
        constraint: Constraint | None,
        rank: tuple[int, int] = (0, 0),
        drafter: Drafter | None = None,
    ) -> None:
        self.index = index
        self.sequence = sequence
        self.limit = limit
        self.generator = generator
        self.constraint = constraint
        self.rank = rank
        self.drafter = drafter
        self.parked: Parked | None = None
        self.resumed_at = 0
        self.pending: list[int] = []
        self.tokens: list[int] = []
        self.end: EndReason | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._stops = StopFinder(stops)
        self._checked = 0

    def add(self, token: int, piece: Callable[[int], bytes], ends: Callable[[int], bool]) -> str:
        """Go on with `token` and what it forces. Returns the new text; `end` is set when the answer is
        over."""
        before = len(self.tokens)
        text = self._add_one(token, piece, ends)
        while self.end is None and self.constraint is not None and (forced := self.constraint.forced()):
            for following in forced:
                if self.end is None:
                    text += self._add_one(following, piece, ends)
        if self.drafter is not None:
            self.drafter.follow(self.tokens[before:])
        if self.end is None and len(self.tokens) - self._checked >= 32:
            self._checked = len(self.tokens)
            if loops(self.tokens):
                self.end = "loop"
        if self.end is not None:
            text += self._close()
        return text

    def _add_one(self, token: int, piece: Callable[[int], bytes], ends: Callable[[int], bool]) -> str:
        if ends(token):
            self.end = "stop"
            return ""
        if self.constraint is not None:
            self.constraint.accept(token)
        self.tokens.append(token)
        self.pending.append(token)
        text, stopped = self._stops.feed(self._decode(piece(token)))
        if stopped:
            self.end = "stop"
        elif len(self.tokens) >= self.limit:
            self.end = "length"
        return text

    def _close(self) -> str:
        text, stopped = self._stops.feed(self._decode(b"", True))
        return text if stopped else text + self._stops.rest()
