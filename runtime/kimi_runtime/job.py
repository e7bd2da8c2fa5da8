"""What the engine is asked and what it tells: requests as tokens, answers as events. Knows no protocol."""

import threading
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from kimi_runtime.candidate import Candidate, Constraint, EndReason
from kimi_runtime.cells import Sequence
from kimi_runtime.drafts import Places
from kimi_runtime.faults import RuntimeFault
from kimi_runtime.sampling import SamplingOptions


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """`count` answers to one prompt of tokens. `base`: how many tokens at its beginning are worth keeping
    on disk.

    `limit`: tokens of each answer at most. `constraint` makes a fresh one for each answer. `priority`: the
    lower goes first; a person who waits has 0, an agent in the background more.
    """

    prompt: list[int]
    count: int = 1
    base: int = 0
    limit: int = 1 << 30
    sampling: SamplingOptions = SamplingOptions()
    seed: int | None = None
    stops: tuple[str, ...] = ()
    constraint: Callable[[], Constraint] | None = None
    priority: int = 0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of the prompt: all, taken from a cache, done so far (those included); milliseconds since it
    began."""

    total: int
    cached: int
    processed: int
    time_ms: float


class Text(msgspec.Struct, frozen=True, kw_only=True):
    index: int
    text: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """One answer is complete."""

    index: int
    reason: EndReason
    tokens: int


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """All answers are complete. Tokens, and milliseconds for the prompt and for the answers."""

    prompt: int
    cached: int
    completion: int
    prompt_ms: float
    predicted_ms: float


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    fault: RuntimeFault


Event = Progress | Text | Ended | Finished | Failed


class Job:
    """An order on its way. `sink` is called from the engine's thread with events, in order; the last is
    Finished or Failed unless the job was cancelled.

    `waiting` are the numbers of answers not begun, `running` those being written, `parked` those that wait
    for their turn to go on; `ticket` orders jobs of one priority.
    """

    def __init__(self, order: Order, sink: Callable[[list[Event]], None]) -> None:
        self.order = order
        self.sink = sink
        self.trunk: Sequence | None = None
        self.cached = 0
        self.started_at = 0.0
        self.prefilled_at = 0.0
        self.first_row: NDArray[np.float32] | None = None
        self.ticket = 0
        self.places: Places | None = None
        self.waiting = list(range(order.count))
        self.running: list[Candidate] = []
        self.parked: list[Candidate] = []
        self.completion = 0
        self._cancelled = threading.Event()

    @property
    def rank(self) -> tuple[int, int]:
        """Who goes first: the lower."""
        return self.order.priority, self.ticket

    @property
    def is_over(self) -> bool:
        return not (self.waiting or self.running or self.parked)

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop within one step; from any thread. No event follows."""
        self._cancelled.set()

    def tell(self, *events: Event) -> None:
        if not self.cancelled:
            self.sink(list(events))
